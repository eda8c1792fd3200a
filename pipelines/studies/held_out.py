"""Whether held-out documents are in the training shards, looked at before losses are compared."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from artifacts.errors import UserError
from mixtures.parts.open_parts import files_of, open_shards
from pipelines.studies.base import Ground

SHOWN_IDS = 3


@dataclass(frozen=True)
class HeldOutOverlap:
    """Held-out ``documents`` of a source and how many of them (``same``) stand in training shards
    with the same text.
    """

    source: str
    documents: int
    same: int


def check_held_out(ground: Ground) -> list[HeldOutOverlap]:
    """Raises: UserError when a held-out document's text is in the training shards, with how many
    are.
    """
    training = {name: _texts(str(folder)) for name, folder in ground.materials.folders.items()}
    found = []
    for name, folder in sorted(ground.held_out.items()):
        texts = _texts(str(folder))
        for source, shown in training.items():
            if str(ground.materials.folders[source]) == str(folder):
                continue  # a source that is held out whole
            same = pc.sum(pc.is_in(texts, value_set=shown)).as_py()
            if same:
                raise UserError(
                    "held-out documents are in the training shards, so losses on them say nothing",
                    file=str(folder),
                    field=name,
                    found=f"{same:,} of {len(texts):,} documents are in {source}",
                    fix="add exact_dedup to the recipe's stages, and run it again",
                )
        found.append(HeldOutOverlap(name, len(texts), 0))
    return found


def _texts(folder: str) -> pa.Array:
    """The hashes of a source's texts."""
    files = files_of(open_shards(folder))
    columns: list[pa.Array] = []
    for part in range(len(files.manifest.parts)):
        for number in range(len(files.index(part).batches)):
            columns.append(files.record(part, number)["text_hash"])
            files.release(part, number)
    return pa.concat_arrays(columns)
