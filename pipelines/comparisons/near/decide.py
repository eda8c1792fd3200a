"""What follows from the removals of all shards: the evidence, and the new selection of every
chunk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from artifacts.fingerprints import content_key
from artifacts.ids import as_words
from artifacts.ledger import Entry
from artifacts.paths import Store
from artifacts.publish import FileRef, Publication, found_or_made
from artifacts.schemas import EVIDENCE, SELECTION
from artifacts.tables import write_parquet
from pipelines.comparisons.between_sources import in_favour_of
from pipelines.comparisons.exchange import Parts, read_parts
from pipelines.comparisons.near.shard import REMOVALS
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.selection import drop

VERSION = 1  # of a chunk's selection
REASON = "near_duplicate"


@dataclass(frozen=True)
class EvidenceTask:
    """``key`` and ``inputs`` identify the comparison as a whole; ``removals``: of every shard;
    ``sources``: of each chunk, by its number; ``facts``: what the parts counted.
    """

    root: str
    step: str
    key: str
    inputs: dict[str, Any]
    removals: tuple[Parts, ...]
    sources: dict[int, str]
    facts: dict[str, Any]


@dataclass(frozen=True)
class EvidenceFile:
    ref: FileRef
    facts: dict[str, Any]
    computed: bool
    units: tuple[str, ...]


@dataclass(frozen=True)
class ChooseTask:
    """A chunk whose documents took part. ``removals``: of the shards that have rows of it."""

    root: str
    step: str
    key: str
    chunk: Chunk
    removals: tuple[Parts, ...]


@dataclass(frozen=True)
class Chosen:
    """The chunk with its new selection, and what the step did to it."""

    chunk: Chunk
    entry: Entry
    computed: bool
    units: tuple[str, ...]


def evidence(task: EvidenceTask, compute: bool = True) -> EvidenceFile | None:
    """All removals as one table, sorted by the removed document's id."""
    store = Store(task.root)

    def make(unit: Publication) -> None:
        found = [part for parts in task.removals for part in read_parts(store, parts)]
        table = pa.Table.from_batches([batch for _, batch in found], REMOVALS)
        names = sorted(set(task.sources.values()), key=task.inputs["sources"].index)
        place = np.zeros(max(task.sources) + 1, np.int64)
        for number, source in task.sources.items():
            place[number] = names.index(source)
        removed = np.repeat(
            place[[number for number, _ in found]], [batch.num_rows for _, batch in found]
        )
        kept = place[table["kept_chunk"].to_numpy()]
        unit.facts.update({**task.facts, **in_favour_of(names, removed, kept)})
        table = table.select(EVIDENCE.names)
        words = as_words(table["id"].combine_chunks())
        write_parquet(
            unit,
            "evidence.parquet",
            EVIDENCE,
            [table.take(pa.array(np.lexsort((words[:, 1], words[:, 0]))))],
        )

    made = found_or_made(store, f"evidence/{task.step}/{task.key}", task.inputs, make, compute)
    return (
        None
        if made is None
        else EvidenceFile(
            made[0].file("evidence.parquet"), made[0].facts, made[1], (made[0].prefix,)
        )
    )


def choose(task: ChooseTask, compute: bool = True) -> Chosen | None:
    """The chunk's selection without the rows that go."""
    store, chunk = Store(task.root), task.chunk
    inputs = {"work": "choose", "version": VERSION, "comparison": task.key, "chunk": chunk.number}

    def make(unit: Publication) -> None:
        gone = np.zeros(chunk.signals["size"].rows, np.bool_)
        for parts in task.removals:
            for _, batch in read_parts(store, parts, [chunk.number]):
                gone[batch["row"].to_numpy()] = True
        selection, entry = drop(store, chunk, task.step, gone, REASON)
        write_parquet(unit, "selection.parquet", SELECTION, [selection])
        unit.facts["entry"] = entry.to_json()

    made = found_or_made(
        store, f"selection/{task.step}/{content_key(inputs)}", inputs, make, compute
    )
    if made is None:
        return None
    moved = replace(chunk, selection=made[0].file("selection.parquet"))
    return Chosen(moved, Entry.from_json(made[0].facts["entry"]), made[1], (made[0].prefix,))
