"""The verdict on one shard: who goes, in whose favour, on what evidence."""

from __future__ import annotations

import contextlib
import mmap
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.ids import as_words
from artifacts.paths import Store
from artifacts.publish import Publication
from artifacts.schemas import ID
from dedup.lsh import candidate_groups, cluster_roots
from dedup.runs import least_rows
from dedup.shingles import ShingleSets
from dedup.verify import greedy_keep
from pipelines.keep_policy import KeepPolicy, keep_ranks
from pipelines.near.part_files import Made, Parts, by_number, made_parts, read_parts, write_parts

VERSION = 1
HELD_SETS = 512 << 20  # bytes of shingle sets a task holds in memory; the sets of a larger shard are mapped from a scratch file

REMOVALS = pa.schema(
    [
        pa.field("row", pa.uint32(), nullable=False),
        pa.field("id", ID, nullable=False),
        pa.field("kept_id", ID, nullable=False),
        pa.field("similarity", pa.float32(), nullable=False),
        pa.field("bands_hit", pa.int32(), nullable=False),
        pa.field("cluster", ID, nullable=False),
        pa.field("cluster_size", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True)
class VerifyTask:
    """One shard. ``files``: what was gathered of the chunks that have candidates in it, with their numbers, ascending."""

    root: str
    step: str
    shard: int
    files: tuple[tuple[int, Parts], ...]
    policy: KeepPolicy
    threshold: float
    max_comparisons: int
    similarity: str


def verify(task: VerifyTask, compute: bool = True) -> Made | None:
    """Parts by chunk: the rows that go, each with its evidence."""
    inputs = {
        "work": "verify", "version": VERSION, "shard": task.shard, "policy": task.policy.text, "threshold": task.threshold,
        "max_comparisons": task.max_comparisons, "similarity": task.similarity,
        "files": [[number, parts.ref.checksum] for number, parts in task.files],
    }  # fmt: skip
    store = Store(task.root)

    def make(unit: Publication) -> None:
        chunk, table, sets_of = _shard(store, task)
        keys = table["bands"].combine_chunks()
        keys = keys.flatten().to_numpy().reshape(len(table), keys.type.list_size)
        words = as_words(table["id"].combine_chunks())
        groups = candidate_groups(keys, np.ones(len(table), np.bool_))
        columns = {key.column: pl.Series(table[key.column]) for key in task.policy.keys}
        with _held(sets_of) as sets:
            ranks = keep_ranks(task.policy, words, columns)
            verdict = greedy_keep(ranks, groups, sets, task.threshold, task.max_comparisons, task.similarity)
        unit.facts.update(comparisons=verdict.compared, comparisons_skipped=verdict.skipped, documents_bounded=verdict.bounded)
        names = least_rows(cluster_roots(groups, len(table)), words)
        ids, gone = table["id"].combine_chunks(), pa.array(verdict.document)
        found = [table["row"].combine_chunks().take(gone), ids.take(gone), ids.take(pa.array(verdict.kept_document))]
        found += [pa.array(verdict.similarity), pa.array(verdict.bands_hit), ids.take(pa.array(names[verdict.document]))]
        removals = pa.RecordBatch.from_arrays([*found, pa.array(verdict.cluster_size)], schema=REMOVALS)
        write_parts(unit, REMOVALS, by_number(removals, chunk[verdict.document]))

    return made_parts(store, f"{task.step}-removals", inputs, make, compute)


def _shard(store: Store, task: VerifyTask) -> tuple[NDArray[np.int64], pa.Table, list[pa.LargeListArray]]:
    """The chunk of each row, all columns but the sets, and the sets in pieces."""
    batches, numbers = [], []
    for number, parts in task.files:
        _, batch = next(read_parts(store, parts, [task.shard]))
        batches.append(batch)
        numbers.append(np.full(batch.num_rows, number, np.int64))
    small = pa.concat_tables([pa.Table.from_batches([batch]).drop_columns("shingles") for batch in batches], promote_options="default")
    return np.concatenate(numbers), small, [batch["shingles"] for batch in batches]


@contextlib.contextmanager
def _held(pieces: list[pa.LargeListArray]) -> Iterator[ShingleSets]:
    """The sets one behind the other, in memory or in a scratch file that is gone when the block ends."""
    lengths = [np.diff(piece.offsets.to_numpy()) for piece in pieces]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))])
    total = int(offsets[-1])
    with contextlib.ExitStack() as scratch:
        if total * 8 <= HELD_SETS:
            hashes = np.empty(total, np.uint64)
        else:
            file = scratch.enter_context(tempfile.TemporaryFile())
            file.truncate(total * 8)
            hashes = np.frombuffer(mmap.mmap(file.fileno(), total * 8), np.uint64)
        start = 0
        for piece in pieces:
            values = piece.flatten().to_numpy()
            hashes[start : start + len(values)] = values
            start += len(values)
        yield ShingleSets(offsets, hashes)
