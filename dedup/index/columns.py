"""What an index of near-duplicates holds of its documents, as columns, and how values are found in
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.ids import binary16
from dedup.index.lookup import key_table
from dedup.words import Hashes, Rows

Reasons = NDArray[np.uint8]


@dataclass(frozen=True)
class NewDocuments:
    """A batch in keep order, row 0 the most wanted: ids and text hashes (n, 2) uint64, their 16
    bytes as two numbers; keys (n, bands) uint64; has_signature (n,). No two ids are equal.
    """

    ids: Hashes
    hashes: Hashes
    keys: Hashes
    has_signature: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def of(
        ids: pa.FixedSizeBinaryArray,
        hashes: pa.FixedSizeBinaryArray,
        keys: Hashes,
        has_signature: NDArray[np.bool_],
    ) -> NewDocuments:
        """The same from Arrow columns of 16 bytes."""
        return NewDocuments(halves(ids), halves(hashes), keys, has_signature)

    def take(self, rows: Rows | NDArray[np.bool_]) -> NewDocuments:
        """Some of the rows, in the order given."""
        return NewDocuments(
            self.ids[rows], self.hashes[rows], self.keys[rows], self.has_signature[rows]
        )


@dataclass(frozen=True)
class Removed:
    """Removed documents of a batch: ids, hashes (r, 2); who stands for each: number of the batch
    (from 0) and row among its kept documents; similarity float32, bands_hit uint16, reason uint8
    (EXACT or NEAR).
    """

    ids: Hashes
    hashes: Hashes
    batch: NDArray[np.uint32]
    row: NDArray[np.uint32]
    similarity: NDArray[np.float32]
    bands_hit: NDArray[np.uint16]
    reason: Reasons

    @staticmethod
    def none() -> Removed:
        """No documents."""
        pairs, words = np.zeros((0, 2), np.uint64), np.zeros(0, np.uint32)
        return Removed(
            pairs,
            pairs,
            words,
            words,
            np.zeros(0, np.float32),
            np.zeros(0, np.uint16),
            np.zeros(0, np.uint8),
        )


@dataclass(frozen=True)
class Segment:
    """What an index holds of one batch: its kept documents in keep order, ids and hashes (k, 2), a
    column of k keys per band; and the removed ones. Arrays may be views of mapped files.
    """

    ids: Hashes
    hashes: Hashes
    bands: tuple[Hashes, ...]
    removed: Removed

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def kept_of(
        new: NewDocuments, kept: NDArray[np.bool_], removed: Removed | None = None
    ) -> Segment:
        """The segment of a batch after its decision."""
        columns = tuple(
            np.ascontiguousarray(new.keys[kept, band]) for band in range(new.keys.shape[1])
        )
        return Segment(
            new.ids[kept], new.hashes[kept], columns, Removed.none() if removed is None else removed
        )


def halves(column: pa.FixedSizeBinaryArray) -> Hashes:
    """A column of 16 bytes as (n, 2) uint64 without a copy; the order of numbers is not that of
    bytes.
    """
    if len(column) == 0:
        return np.zeros((0, 2), np.uint64)
    raw: Hashes = np.frombuffer(column.buffers()[1], np.uint64, 2 * len(column), 16 * column.offset)
    return raw.reshape(-1, 2)


def as_bytes(pairs: Hashes) -> pa.FixedSizeBinaryArray:
    """The inverse of :func:`halves`."""
    return binary16(np.ascontiguousarray(pairs).tobytes())


def starts_of(earlier: Sequence[Segment]) -> Rows:
    """Number of each segment's first kept document, and of all kept documents: (segments + 1,)."""
    return np.cumsum([0, *[len(segment) for segment in earlier]]).astype(np.int64)


def find16(columns: Sequence[Hashes], wanted: Hashes) -> Rows:
    """Row in the columns (each (k, 2), laid end to end) of the first value equal to each of
    ``wanted`` (n, 2), -1 without one.
    """
    found = np.full(len(wanted), -1, np.int64)
    if not len(columns):
        return found
    order = np.argsort(wanted[:, 0], kind="stable")
    ordered = wanted[order, 0]
    distinct, first, counts = np.unique(ordered, return_index=True, return_counts=True)
    places, rows, _ = key_table(distinct).find(
        [column.reshape(-1) for column in columns], np.iinfo(np.int64).max, step=2
    )
    seconds = take_parts([column[:, 1] for column in columns], rows)
    for nth in range(int(counts.max(initial=0))):  # once, unless two wanted values share half
        here = np.flatnonzero(counts[places] > nth)[::-1]  # the first match is written last
        asked = order[first[places[here]] + nth]
        equal = wanted[asked, 1] == seconds[here]
        found[asked[equal]] = rows[here[equal]]
    return found


def take_parts(parts: Sequence[NDArray[Any]], rows: Rows) -> NDArray[Any]:
    """Values at the given rows of arrays (at least one) laid end to end."""
    starts = np.cumsum([0, *[len(part) for part in parts]])
    owner = np.searchsorted(starts, rows, side="right") - 1
    values = np.empty((len(rows), *parts[0].shape[1:]), parts[0].dtype)
    for number in np.unique(owner):
        here = owner == number
        values[here] = parts[number][rows[here] - starts[number]]
    return values
