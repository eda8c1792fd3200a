"""Records whose key came before, over all chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.fingerprints import content_key
from artifacts.ids import as_words
from artifacts.paths import Store
from artifacts.publish import Publication, found_or_made
from artifacts.schemas import tagged
from artifacts.tables import read_parquet, write_parquet
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.outcomes import CorpusTask

VERSION = 3  # of find_duplicates
# ids sorted at once when looking for equal keys; more go in ranges of their first byte
IDS_AT_A_TIME = 64_000_000

_DUPLICATES = tagged(
    "signals",
    [pa.field("chunk", pa.int64(), nullable=False), pa.field("row", pa.int64(), nullable=False)],
)


@dataclass(frozen=True)
class DuplicateRows:
    """Rows to take out of each chunk: chunk number -> row numbers."""

    rows: dict[int, tuple[int, ...]]
    computed: bool
    units: tuple[str, ...]


def find_duplicates(task: CorpusTask, compute: bool = True) -> DuplicateRows | None:
    """Rows whose id an earlier row (by source, path, offset) has already."""
    store = Store(task.root)
    inputs = {
        "work": "find_duplicates",
        "version": VERSION,
        "documents": [chunk.records.checksum for chunk in task.chunks],
    }

    def make(unit: Publication) -> None:
        chunk, row = _duplicate_rows(store, task.chunks)
        write_parquet(
            unit, "duplicates.parquet", _DUPLICATES, [pa.table({"chunk": chunk, "row": row})]
        )

    made = found_or_made(store, f"selection/unique/{content_key(inputs)}", inputs, make, compute)
    if made is None:
        return None
    table = read_parquet(store, made[0].file("duplicates.parquet").name, "signals")
    rows: dict[int, list[int]] = {}
    for number, row in zip(table["chunk"].to_pylist(), table["row"].to_pylist(), strict=True):
        rows.setdefault(number, []).append(row)
    return DuplicateRows(
        {number: tuple(sorted(found)) for number, found in rows.items()}, made[1], (made[0].prefix,)
    )


def _duplicate_rows(
    store: Store, chunks: Sequence[Chunk]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Equal ids are found by sorting; chunks are in (source, path, offset) order, so the first
    stays.
    """
    total = sum(chunk.records.rows for chunk in chunks)
    ranges = 1
    while total / ranges > IDS_AT_A_TIME and ranges < 256:
        ranges *= 2
    found = [np.empty((0, 2), np.int64)]
    for number in range(ranges):
        words, places = [], []
        for chunk in chunks:
            ids = as_words(
                read_parquet(store, chunk.records.name, "documents", ["id"])["id"].combine_chunks()
            )
            inside = _in_range(ids, number, ranges)
            words.append(ids[inside])
            places.append(np.stack([np.full(len(inside), chunk.number), inside], axis=1))
        found.append(_repeats(np.concatenate(words), np.concatenate(places)))
    rows = np.concatenate(found)
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    return rows[:, 0], rows[:, 1]


def _in_range(ids: NDArray[np.uint64], number: int, ranges: int) -> NDArray[np.int64]:
    first_byte = (ids[:, 0] >> np.uint64(56)).astype(np.int64)
    return np.flatnonzero(first_byte * ranges // 256 == number)


def _repeats(words: NDArray[np.uint64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    order = np.lexsort((places[:, 1], places[:, 0], words[:, 1], words[:, 0]))
    ordered = words[order]
    repeated = np.zeros(len(order), np.bool_)
    repeated[1:] = (ordered[1:] == ordered[:-1]).all(axis=1)
    return places[order[repeated]]
