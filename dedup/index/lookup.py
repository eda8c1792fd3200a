"""Looking many keys up in long columns: one pass over each column, nothing built from it.

An index of near-duplicates is asked for a whole batch at a time. So the batch's keys go into a
small table and the index's columns stream past it, front to back: they stay as compact as they were
written (8 bytes a key), may lie on disk, mapped, and need no order. An index kept sorted or hashed
for single look-ups would take 12 bytes or more for each key, be rewritten with every batch, and
save nothing once a batch has as many keys as a page of the column.

The table is open addressing at most half full. Before it stands a filter of one bit per key in 16
bits per key of the batch: at most one key in 16 that is not there goes on to the table. Cost of a
pass: 8 bytes read and one probe of the filter per row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel
from dedup.words import MIX, Hashes, Rows

Numbers = NDArray[np.int32]

_ROOM = 1 << 16  # matches taken from one call of the kernel
_WORD = np.uint64(6)
_IN_WORD = np.uint64(63)
_ONE = np.uint64(1)


@dataclass(frozen=True)
class KeyTable:
    """Distinct keys, each with its place in the array it was made from; see :func:`key_table`."""

    keys: Hashes
    slots: Numbers  # place of a key, -1 where empty
    filter: Hashes

    def find(self, columns: Iterable[Hashes], limit: int, step: int = 1) -> tuple[Rows, Rows, Rows]:
        """Rows of the columns, laid end to end, that hold a key of the table; a row is ``step``
        values, the first of them the key.

        Returns ``places`` and ``rows`` of the matches in the order of rows, of each key the first
        ``limit`` at most, and ``counts``, for each of the table's keys how many rows hold it in
        all.
        """
        counts = np.zeros(len(self.keys), np.int64)
        places, rows = np.empty(_ROOM, np.int64), np.empty(_ROOM, np.int64)
        parts: list[tuple[Rows, Rows]] = []
        before = 0
        for column in columns:
            start = 0
            while start < len(column) // step and len(self.keys):
                found, start = scan_column(
                    column,
                    step,
                    start,
                    before,
                    self.keys,
                    self.slots,
                    self.filter,
                    counts,
                    limit,
                    places,
                    rows,
                )
                parts.append((places[:found].copy(), rows[:found].copy()))
            before += len(column) // step
        if not parts:
            return np.zeros(0, np.int64), np.zeros(0, np.int64), counts
        return (
            np.concatenate([part for part, _ in parts]),
            np.concatenate([part for _, part in parts]),
            counts,
        )


def key_table(keys: Hashes) -> KeyTable:
    """A table of distinct keys (n,), n below 2^30. About 18 bytes per key."""
    slots = np.full(max(2, 1 << (2 * len(keys)).bit_length()), -1, np.int32)
    words = np.zeros(max(1, (1 << (16 * len(keys)).bit_length()) // 64), np.uint64)
    fill_table(keys, slots, words)
    return KeyTable(keys, slots, words)


@kernel
def top_shift(size: int) -> np.uint64:
    """How far to shift a hash so that a number below ``size``, a power of two, is left."""
    shift = 64
    while (1 << (64 - shift)) < size:
        shift -= 1
    return np.uint64(shift)


@kernel
def fill_table(keys: Hashes, slots: Numbers, words: Hashes) -> None:
    """Enter keys into an empty table and its filter."""
    to_bit, to_slot = top_shift(64 * words.size), top_shift(slots.size)
    for place in range(keys.size):
        mixed = keys[place] * MIX
        bit = mixed >> to_bit
        words[bit >> _WORD] |= _ONE << (bit & _IN_WORD)
        slot = np.int64(mixed >> to_slot)
        while slots[slot] >= 0:
            slot = (slot + 1) & (slots.size - 1)
        slots[slot] = place


@kernel
def scan_column(
    column: Hashes,
    step: int,
    start: int,
    before: int,
    keys: Hashes,
    slots: Numbers,
    words: Hashes,
    counts: Rows,
    limit: int,
    places: Rows,
    rows: Rows,
) -> tuple[int, int]:
    """Matches from row ``start`` on until ``places`` is full or the column ends; returns how many,
    and the next row.
    """
    to_bit, to_slot = top_shift(64 * words.size), top_shift(slots.size)
    end, found = column.size // step, 0
    for row in range(start, end):
        key = column[row * step]
        mixed = key * MIX
        bit = mixed >> to_bit
        if (words[bit >> _WORD] >> (bit & _IN_WORD)) & _ONE == 0:
            continue
        slot = np.int64(mixed >> to_slot)
        while slots[slot] >= 0 and keys[slots[slot]] != key:
            slot = (slot + 1) & (slots.size - 1)
        place = slots[slot]
        if place < 0:
            continue
        counts[place] += 1
        if counts[place] > limit:
            continue
        if found == places.size:
            counts[place] -= 1
            return found, row
        places[found], rows[found] = place, before + row
        found += 1
    return found, end
