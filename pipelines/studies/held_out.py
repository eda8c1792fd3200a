"""What training shards hold of the held-out documents, looked at before losses are compared.

Two ways of being held: with the same text, which stops an experiment, and nearly, where one
document of the training shards holds at least half of the word n-grams of a held-out one
(:mod:`dedup.ngrams`). Those that are held nearly are counted by source, and the counts stand beside
what the experiment found; they are kept below ``studies/held-out`` under the checksums of all
shards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from artifacts.errors import UserError
from artifacts.fingerprints import canonical_json, content_key, load_json
from artifacts.paths import Store
from artifacts.records import Record
from dedup.ngrams import NgramIndex
from mixtures.parts.open_parts import files_of, open_shards
from mixtures.spec.bands import shown_beside
from pipelines.evaluation.contamination import largest_shares, shard_texts
from pipelines.studies.base import Ground, held_out_digests
from trainer.experiments.findings import Table

OVERLAP = 0.5
"""The share of a document's word n-grams from which it counts as held."""

FOLDER = "held-out"
RULE = 1
"""Of what is kept; another rule of counting has another number."""


class NearlyHeld(Record):
    """Held-out ``documents`` of a source, how many of them are ``searched`` for (they have words
    enough), and how many of these are ``held``, by any document of the training shards and by
    those of each source.
    """

    source: str
    documents: int
    searched: int
    held: int
    held_by: dict[str, int] = {}

    @property
    def share(self) -> float | None:
        """Of those searched for, the part that is held."""
        return self.held / self.searched if self.searched else None


def check_held_out(ground: Ground) -> None:
    """Raises: UserError when a held-out document's text is in the training shards, with how many
    are.
    """
    training = {name: _hashes(str(folder)) for name, folder in ground.materials.folders.items()}
    for name, folder in sorted(ground.held_out.items()):
        hashes = _hashes(str(folder))
        for source in _others(ground, folder):
            same = pc.sum(pc.is_in(hashes, value_set=training[source])).as_py()
            if same:
                raise UserError(
                    "held-out documents are in the training shards, so losses on them say nothing",
                    file=str(folder),
                    field=name,
                    found=f"{same:,} of {len(hashes):,} documents are in {source}",
                    fix="add exact_dedup to the recipe's stages, and run it again",
                )


def held_nearly(ground: Ground, store: Store) -> list[NearlyHeld]:
    """Of every held-out source how many documents training shards hold nearly; computed once for
    the same shards, and kept in ``store``.
    """
    name = f"{FOLDER}/{_key(ground)}.json"
    kept = _kept(store, name)
    if kept is None:
        kept = _measured(ground)
        rows = [one.model_dump(mode="json") for one in kept]
        store.write(name, canonical_json(rows) + b"\n")
    return kept


def held_out_table(found: Sequence[NearlyHeld]) -> Table:
    """What of the held-out documents training shards hold, as a table."""
    rows = tuple(
        (
            one.source,
            one.documents,
            one.searched,
            one.held,
            one.share,
            ", ".join(f"{name} {count}" for name, count in one.held_by.items() if count),
        )
        for one in found
    )
    return Table(
        title="Held-out documents that training shards nearly hold",
        columns=("source", "documents", "searched for", "held", "share", "held by"),
        rows=rows,
        note=f"Held: one document of the training shards has at least {OVERLAP:.0%} of its word "
        "n-grams. A loss on such a document is partly memory. No text is in both as it stands.",
    )


def _key(ground: Ground) -> str:
    folders = ground.materials.folders
    return content_key(
        {
            "rule": RULE,
            "overlap": OVERLAP,
            "algorithm": _index([]).algorithm,
            "tokenizer": ground.materials.tokenizer.hash,
            "held_out": held_out_digests(ground.held_out),
            "training": held_out_digests(folders),
            "whole": sorted(
                name
                for name, folder in ground.held_out.items()
                if len(_others(ground, folder)) < len(folders)
            ),
        }
    )


def _kept(store: Store, name: str) -> list[NearlyHeld] | None:
    """What was kept under a name; None where nothing is that can be read."""
    if not store.exists(name):
        return None
    try:
        return [NearlyHeld.model_validate(row) for row in load_json(store.read(name))]
    except (ValueError, TypeError, ValidationError):
        return None


def _measured(ground: Ground) -> list[NearlyHeld]:
    """Every training source is read once, for all held-out ones."""
    tokenizer = ground.materials.tokenizer
    folders = sorted(ground.held_out.items())
    texts = {
        name: [text for part in shard_texts(folder, tokenizer) for text in part.to_pylist()]
        for name, folder in folders
    }
    indexes = {name: _index(rows) for name, rows in texts.items()}
    held: dict[str, dict[str, Any]] = {name: {} for name in indexes}
    for source, training in sorted(ground.materials.folders.items()):
        wanted = [name for name, folder in folders if source in _others(ground, folder)]
        shares = largest_shares([indexes[name] for name in wanted], training, tokenizer)
        for name, most in zip(wanted, shares, strict=True):
            held[name][source] = (most >= OVERLAP) & (indexes[name].item_ngrams > 0)
    return [_counted(name, indexes[name], len(texts[name]), held[name]) for name in indexes]


def _counted(name: str, index: NgramIndex, documents: int, held: Mapping[str, Any]) -> NearlyHeld:
    any_of = np.zeros(documents, bool)
    for mask in held.values():
        any_of |= mask
    return NearlyHeld(
        source=shown_beside(name),
        documents=documents,
        searched=int((index.item_ngrams > 0).sum()),
        held=int(any_of.sum()),
        held_by={source: int(mask.sum()) for source, mask in held.items()},
    )


def _index(texts: Sequence[str]) -> NgramIndex:
    return NgramIndex.build(pa.array(texts, pa.large_string()))


def _others(ground: Ground, folder: Path | str) -> dict[str, Path | str]:
    """All training shards but the held-out ones themselves, as of a source held out whole."""
    return {
        name: other for name, other in ground.materials.folders.items() if str(other) != str(folder)
    }


def _hashes(folder: str) -> pa.Array:
    """The hashes of a source's texts."""
    files = files_of(open_shards(folder))
    columns: list[pa.Array] = []
    for part in range(len(files.manifest.parts)):
        for number in range(len(files.index(part).batches)):
            columns.append(files.record(part, number)["text_hash"])
            files.release(part, number)
    return pa.concat_arrays(columns)
