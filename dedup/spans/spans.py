"""Spans of texts that occurred before: the mechanism that repeated passages, lines and paragraphs
share.

An *occurrence* is a stretch of bytes of a text with a 64-bit key of its content. Of occurrences
with one key the earliest in keep order (document by document, then byte by byte) stays, and every
later one repeats it, unless the two overlap in one text: ``a a a a`` shrinks to one run and does
not vanish. Whether a stretch goes is decided by occurrences alone, not by what else goes. So the
outcome depends neither on the order of rows nor on how the work is divided, no stretch is left that
could still be cut, and nothing is lost: a word that goes stands, between the same words, further up
in keep order; follow it there, and on, and it ends at one that stays. Only what occurs without end
among a few texts (:func:`crowded`) is left as it is: its places would fill memory.

The steps, each over any part of a corpus:

- :func:`dedup.spans.passages.windows`, :func:`dedup.spans.lines.lines`   occurrences of texts
- :func:`repeats`    by key: which occurrences repeat which; keys can be divided among tasks
- :func:`join_runs`  by document: overlapping repeats of one and the same place become one span
- :func:`agreeing`   compares the bytes: equal keys are never enough to cut
- :func:`cut`        takes spans out of texts
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.jit import kernel
from artifacts.text_buffers import text_buffers
from dedup.spans.radix import stable_order
from dedup.words import Bytes, Hashes, Rows

MOST_ALIKE = 1 << 16
"""Occurrences of one key among the texts looked at together, from which they are left alone."""

_LOW = np.uint64((1 << 12) - 1)

Columns = TypeVar("Columns", bound="_Columns")


@dataclass(frozen=True)
class _Columns:
    """A table of numpy arrays of one length."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def take(self: Columns, rows: NDArray[Any]) -> Columns:
        """The rows of these numbers, or of this mask, in order."""
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class Occurrences(_Columns):
    """Stretches with their keys: ``key`` uint64; ``row`` of the text, ``start`` and ``end`` in
    bytes of it, int64.
    """

    key: Hashes
    row: Rows
    start: Rows
    end: Rows

    @staticmethod
    def room(most: int) -> Occurrences:
        """Columns to be filled; memory is taken where it is written to."""
        return Occurrences(
            np.empty(most, np.uint64),
            np.empty(most, np.int64),
            np.empty(most, np.int64),
            np.empty(most, np.int64),
        )

    def filled(self, count: int) -> Occurrences:
        """The first ``count`` rows, on their own."""
        return Occurrences(
            self.key[:count].copy(),
            self.row[:count].copy(),
            self.start[:count].copy(),
            self.end[:count].copy(),
        )


@dataclass(frozen=True)
class Spans(_Columns):
    """Stretches ``start`` to ``end`` of texts ``row`` that also stand in text ``kept_row`` from
    ``kept_start`` on; int64, in bytes.
    """

    row: Rows
    start: Rows
    end: Rows
    kept_row: Rows
    kept_start: Rows


def concatenated(kind: type[Columns], parts: list[Columns]) -> Columns:
    """Tables one behind the other; without any, a table without rows."""
    types = {"key": np.uint64}
    none = [np.empty(0, types.get(field.name, np.int64)) for field in fields(kind)]
    return kind(
        *(
            np.concatenate([none[k], *(getattr(part, field.name) for part in parts)])
            for k, field in enumerate(fields(kind))
        )
    )


def crowded(hashes: Hashes, most: int = MOST_ALIKE) -> NDArray[np.bool_]:
    """Which of the hashes occur more than ``most`` times among them, (n,)."""
    if len(hashes) <= most or np.bincount((hashes & _LOW).view(np.int64)).max() <= most:
        return np.zeros(len(hashes), np.bool_)
    ordered = np.sort(hashes)
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    return np.isin(hashes, ordered[ends[np.diff(ends, prepend=-1) > most]])


def repeats(found: Occurrences, rank: Rows, times: int = 1) -> tuple[Rows, Rows]:
    """Occurrences that repeat an earlier one: their numbers, by key and place, and the number of
    the first of each.

    rank: (n,) of each occurrence's document in keep order, 0 = most wanted; documents differ in it.
    The ``times`` earliest occurrences of a key stay; one that overlaps the first in the same
    document does too.
    """
    order = stable_order(found.key)
    again, first = np.empty(len(found), np.int64), np.empty(len(found), np.int64)
    count = later_ones(
        found.key, order, rank, found.start, found.end, np.empty(times, np.int64), again, first
    )
    return again[:count], first[:count]


def repeating(found: Occurrences, rank: Rows, times: int = 1) -> Spans:
    """The same as spans, each with the place it repeats; their bytes are not compared yet."""
    again, first = repeats(found, rank, times)
    return Spans(
        found.row[again], found.start[again], found.end[again], found.row[first], found.start[first]
    )


def join_runs(spans: Spans) -> Spans:
    """Spans that overlap or touch on one diagonal (the same two texts, the same distance) as one;
    sorted by row, start, kept place.

    Equal stretches of the same two texts at the same distance are one equal stretch together.
    """
    # most that can be joined follow one another here
    spans = _joined(spans, stable_order(spans.row, stable_order(spans.start)))
    spans = _joined(
        spans, np.lexsort((spans.start, spans.kept_start - spans.start, spans.kept_row, spans.row))
    )
    return spans.take(
        np.lexsort((spans.kept_start, spans.kept_row, spans.end, spans.start, spans.row))
    )


def _joined(spans: Spans, order: Rows) -> Spans:
    """Spans in this order, neighbours that overlap or touch on one diagonal as one."""
    spans = spans.take(order)
    end = spans.end.copy()
    first = mark_joins(spans.row, spans.start, spans.kept_row, spans.kept_start - spans.start, end)
    return Spans(spans.row, spans.start, end, spans.kept_row, spans.kept_start).take(first)


def verified(texts: pa.LargeStringArray, spans: Spans, reach: Rows) -> Spans:
    """The spans whose bytes are those of the kept text.

    A span takes what follows it with it up to ``reach``, (n,), as far as that is equal too.
    """
    wanted = stretches(texts, spans.row, spans.start, reach)
    equal = agreeing(texts, spans.kept_row, spans.kept_start, wanted, spans.end - spans.start)
    return join_runs(
        Spans(spans.row, spans.start, spans.start + equal, spans.kept_row, spans.kept_start).take(
            equal > 0
        )
    )


def agreeing(
    texts: pa.LargeStringArray, row: Rows, start: Rows, wanted: pa.LargeBinaryArray, least: Rows
) -> Rows:
    """How many bytes of ``wanted`` (n,) stand in ``texts`` at (row, start), (n,); 0 where fewer
    than ``least`` of them do.

    A stretch never ends within a character.
    """
    values, offsets = text_buffers(texts)
    _, wanted_offsets, wanted_values = wanted.buffers()
    bounds = (
        np.zeros(1, np.int64)
        if not len(wanted)
        else np.frombuffer(wanted_offsets, np.int64, len(wanted) + 1, wanted.offset * 8)
    )
    given = np.frombuffer(wanted_values if wanted_values is not None else b"", np.uint8)
    given.flags.writeable = bounds.flags.writeable = False
    equal = np.zeros(len(wanted), np.int64)
    compare_bytes(values, offsets, row, start, given, bounds, least, equal)
    return equal


def stretches(texts: pa.LargeStringArray, row: Rows, start: Rows, end: Rows) -> pa.LargeBinaryArray:
    """The bytes ``start`` to ``end`` of the texts ``row``, one value each."""
    values, offsets = text_buffers(texts)
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(end - start)])
    gathered = np.empty(int(bounds[-1]), np.uint8)
    gather(values, offsets[row] + start, bounds, gathered)
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(row), [None, pa.py_buffer(bounds), pa.py_buffer(gathered)]
    )


def cut(
    texts: pa.LargeStringArray, row: Rows, start: Rows, end: Rows
) -> tuple[pa.LargeStringArray, Rows]:
    """The texts without the stretches, sorted by row and start, which may overlap; and the bytes
    taken from each, (n,).
    """
    values, offsets = text_buffers(texts)
    left = np.empty(int(offsets[-1] - offsets[0]), np.uint8)
    bounds = np.zeros(len(offsets), np.int64)
    copy_rest(values, offsets, row, start, end, left, bounds)
    size = int(bounds[-1])
    rest = pa.LargeStringArray.from_buffers(
        len(texts), pa.py_buffer(bounds), pa.py_buffer(left[:size].copy())
    )
    return rest, np.diff(offsets) - np.diff(bounds)


@kernel
def later_ones(
    key: Hashes,
    order: Rows,
    rank: Rows,
    start: Rows,
    end: Rows,
    earliest: Rows,
    again: Rows,
    first: Rows,
) -> int:
    """Of the rows of each key, in the order of keys: the ``earliest.size`` first stay, the others
    go to ``again`` with the very first.
    """
    count, head = 0, 0
    while head < order.size:
        tail = head
        while tail < order.size and key[order[tail]] == key[order[head]]:
            tail += 1
        if tail - head > earliest.size:
            choose_earliest(order, head, tail, rank, start, earliest)
            origin, last = earliest[0], earliest[earliest.size - 1]
            for k in range(head, tail):
                member = order[k]
                stays = not before(last, member, rank, start)
                if not stays and (rank[member] != rank[origin] or start[member] >= end[origin]):
                    again[count], first[count] = member, origin
                    count += 1
        head = tail
    return count


@kernel
def before(one: int, other: int, rank: Rows, start: Rows) -> bool:
    """Whether a row comes earlier in keep order."""
    return bool(rank[one] < rank[other] or (rank[one] == rank[other] and start[one] < start[other]))


@kernel
def choose_earliest(
    order: Rows, head: int, tail: int, rank: Rows, start: Rows, earliest: Rows
) -> None:
    """The first rows in keep order among ``order[head:tail]``, which are no fewer, by insertion."""
    held = 0
    for k in range(head, tail):
        place = held
        while place > 0 and before(order[k], earliest[place - 1], rank, start):
            place -= 1
        if place < earliest.size:
            held = min(held + 1, earliest.size)
            for other in range(held - 1, place, -1):
                earliest[other] = earliest[other - 1]
            earliest[place] = order[k]


@kernel
def mark_joins(row: Rows, start: Rows, kept_row: Rows, shift: Rows, end: Rows) -> NDArray[np.bool_]:
    """Which spans begin a joined one, whose ``end`` becomes that of the whole; spans of one row,
    kept row and shift by start.
    """
    first = np.ones(row.size, np.bool_)
    head = 0
    for k in range(1, row.size):
        same = row[k] == row[head] and kept_row[k] == kept_row[head] and shift[k] == shift[head]
        if same and start[k] <= end[head]:
            first[k] = False
            end[head] = max(end[head], end[k])
        else:
            head = k
    return first


@kernel
def compare_bytes(
    values: Bytes,
    offsets: Rows,
    row: Rows,
    start: Rows,
    given: Bytes,
    bounds: Rows,
    least: Rows,
    equal: Rows,
) -> None:
    """Length of the common beginning of each given stretch and the text at its place."""
    for k in range(row.size):
        here, there = offsets[row[k]] + start[k], bounds[k]
        most = min(offsets[row[k] + 1] - here, bounds[k + 1] - there)
        size = 0
        while size < most and values[here + size] == given[there + size]:
            size += 1
        cut_short = size < bounds[k + 1] - there
        while cut_short and size > 0 and given[there + size] & 0xC0 == 0x80:
            size -= 1
        equal[k] = size if size >= least[k] else 0


@kernel
def gather(values: Bytes, start: Rows, bounds: Rows, gathered: Bytes) -> None:
    for k in range(start.size):
        for place in range(bounds[k], bounds[k + 1]):
            gathered[place] = values[start[k] + place - bounds[k]]


@kernel
def copy_rest(
    values: Bytes, offsets: Rows, row: Rows, start: Rows, end: Rows, left: Bytes, bounds: Rows
) -> None:
    """Copy each text but for its stretches; where each rest ends goes into ``bounds``."""
    k, size = 0, 0
    for text in range(offsets.size - 1):
        place = offsets[text]
        while k < row.size and row[k] == text:
            stop = offsets[text] + start[k]
            while place < stop:
                left[size] = values[place]
                place, size = place + 1, size + 1
            place = max(place, offsets[text] + end[k])
            k += 1
        while place < offsets[text + 1]:
            left[size] = values[place]
            place, size = place + 1, size + 1
        bounds[text + 1] = size
