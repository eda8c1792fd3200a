"""Overlap of the corpus with benchmarks: how much, and which documents hold most of an item."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.corpus.chunk_columns import ChunkColumns

FULLEST = 8
BINS = 20  # over the share of an item, 0 to 1


@dataclass(frozen=True, order=True)
class Overlap:
    """A document that holds part of a benchmark item; ordered fullest first, then by id."""

    missing: float  # 1 - share of the item's n-grams the document holds
    id: tuple[int, int]
    chunk: int
    row: int
    item: int  # number of the item in the benchmark files
    first_offset: int  # byte of the text where the first shared n-gram starts
    kept: bool

    @property
    def fraction(self) -> float:
        return 1 - self.missing


@dataclass
class BenchmarkOverlaps:
    """Counts over all measured documents, a chunk at a time. ``fractions`` is over documents with
    any shared n-gram.
    """

    measured: int = 0
    touched: int = 0
    fractions: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    fullest: list[Overlap] = field(default_factory=list)

    def add(self, columns: ChunkColumns) -> None:
        read = {
            name: columns.column(f"benchmark_{name}")
            for name in ("matched", "fullest_fraction", "fullest_item", "first_offset")
        }
        if any(values is None for values in read.values()):
            return
        matched, fraction, item, offset = (_plain(values) for values in read.values())
        rows = np.flatnonzero(matched > 0)
        self.measured += len(matched)
        self.touched += len(rows)
        self.fractions += np.bincount(
            np.clip((fraction[rows] * BINS).astype(np.int64), 0, BINS - 1), minlength=BINS
        )
        order = rows[
            np.lexsort((columns.ids[rows, 1], columns.ids[rows, 0], -fraction[rows]))[:FULLEST]
        ]
        found = [
            Overlap(
                1 - float(fraction[row]),
                (int(columns.ids[row, 0]), int(columns.ids[row, 1])),
                columns.chunk.number,
                int(row),
                int(item[row]),
                int(offset[row]),
                bool(columns.kept[row]),
            )
            for row in order
        ]
        self.fullest = sorted([*self.fullest, *found])[:FULLEST]


def _plain(values: pa.ChunkedArray | None) -> NDArray[np.float64]:
    plain: NDArray[np.float64] = pc.cast(pc.fill_null(values, 0), pa.float64()).to_numpy()
    return plain
