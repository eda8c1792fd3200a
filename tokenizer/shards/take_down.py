"""Take documents out of a source that is written: tombstones, so that nothing else moves.

    stones = find_documents(folder, ids)            # where they lie
    take_down(folder, stones, "asked for by its author")

A tombstone keeps a document's row and its length in tokens; readers show it to nobody and count no
loss on it. The parts stay as they are, and the manifest is replaced whole, so a kill leaves the old
or the new one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from artifacts.paths import Store
from tokenizer.shards.manifest import MANIFEST_NAME, Tombstone, read_manifest
from tokenizer.shards.reader import map_table


@dataclass(frozen=True)
class Place:
    """Where a document lies: ``id`` (32 hex digits), part file, row in the part."""

    id: str
    part: str
    row: int


def find_documents(folder: Path | str, ids: Iterable[bytes]) -> list[Place]:
    """Places of those of these documents (16-byte ids) that the source holds, in its order; removed
    ones too.

    Only the column of ids is read. Raises: UserError when a part is missing or unreadable.
    """
    wanted = pa.array(sorted(set(ids)), pa.binary(16))
    found: list[Place] = []
    for part in read_manifest(folder).parts:
        column = map_table(Path(folder) / part.file, "shard").column("id")
        for row in np.flatnonzero(pc.is_in(column, value_set=wanted).to_numpy()).tolist():
            found.append(Place(column[row].as_py().hex(), part.file, row))
    return found


def take_down(folder: Path | str, places: Iterable[Place], reason: str) -> int:
    """Write tombstones for these documents; returns how many are new. One that was removed before
    keeps its reason.
    """
    manifest = read_manifest(folder)
    removed = {(stone.part, stone.row) for stone in manifest.tombstones}
    stones = [
        Tombstone(part=place.part, row=place.row, id=place.id, reason=reason)
        for place in dict.fromkeys(places)
    ]
    new = [stone for stone in stones if (stone.part, stone.row) not in removed]
    if new:
        order = {part.file: number for number, part in enumerate(manifest.parts)}
        together = sorted(
            (*manifest.tombstones, *new),
            key=lambda stone: (order.get(stone.part, len(order)), stone.row),
        )
        Store(folder).write(
            MANIFEST_NAME, manifest.model_copy(update={"tombstones": tuple(together)}).to_json()
        )
    return len(new)
