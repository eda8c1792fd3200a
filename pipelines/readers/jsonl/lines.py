"""Lines of a byte stream with their offsets, none of them held longer than a bound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel
from pipelines.readers.jsonl.scan import PADDING, Bytes, Ends
from pipelines.readers.span import Limits
from pipelines.readers.streams.damage import Damage

# from which a run is handed on: what is done once per run costs little then, and its bytes stay in
# the cache
RUN_BYTES = 4 << 20
_NEWLINE = np.uint8(10)


class Line(NamedTuple):
    """One line: where it starts, its bytes without the newline, its true length, where the next
    starts.

    ``len(content) < length`` marks a line longer than the bound, of which only the head is held.
    """

    offset: int
    content: bytes
    length: int
    next: int


@dataclass(frozen=True)
class LineRun:
    """n whole lines within the bound, one behind the other.

    ``starts``: of each the offset in the stream, with that of what follows, (n + 1,). ``held``:
    their bytes with newlines, from ``begin`` in the stream on, more lines perhaps before and
    behind, and :data:`PADDING` zero bytes at the end.
    """

    starts: NDArray[np.int64]
    held: bytes
    begin: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    def before(self, offset: int) -> LineRun:
        """The lines that start before an offset."""
        return self.part(0, int(np.searchsorted(self.starts, offset)))

    def part(self, first: int, end: int) -> LineRun:
        """Lines ``first`` to ``end - 1``, as far as there are any."""
        end = min(end, len(self))
        return LineRun(self.starts[min(first, end) : end + 1], self.held, self.begin)

    def contents(self) -> list[bytes]:
        """Their bytes without the newlines."""
        places = (self.starts - self.begin).tolist()
        return [self.held[start : end - 1] for start, end in pairwise(places)]

    def line(self, row: int) -> Line:
        """One of them."""
        start, end = int(self.starts[row]), int(self.starts[row + 1])
        return Line(
            start, self.held[start - self.begin : end - self.begin - 1], end - start - 1, end
        )


@kernel
def blank_lines(data: Bytes, starts: Ends, blank: NDArray[np.bool_]) -> None:
    """Which lines have nothing but white space."""
    for row in range(blank.size):
        at, end = starts[row], starts[row + 1]
        while at < end and (data[at] == 32 or 9 <= data[at] <= 13):
            at += 1
        blank[row] = at == end


class BrokenOff(NamedTuple):
    """Damage of the stream, and what came of the line that it broke off; of no length where no line
    was begun, or where no bytes are missing.
    """

    line: Line
    damage: Damage


def split_lines(
    stream: Iterable[bytes | Damage], offset: int, limits: Limits
) -> Iterator[LineRun | Line | BrokenOff]:
    """Lines of a stream whose first byte has this offset; the last needs no newline.

    Lines come in runs; one by itself is longer than the bound, or ends the stream without a
    newline. Behind damage a new line begins.
    """
    whole = _WholeLines(offset, limits)
    unfinished = _Unfinished(offset, limits)
    for block in stream:
        if isinstance(block, Damage):
            yield from whole.take()
            if block.gap:
                broken = unfinished.line(newline=0)
                yield BrokenOff(broken, block)
                whole = _WholeLines(broken.next, limits)
                unfinished = _Unfinished(broken.next, limits)
            else:
                yield BrokenOff(Line(unfinished.offset, b"", 0, unfinished.offset), block)
            continue
        end = block.rfind(b"\n") + 1
        if not end:
            unfinished.extend(block)
            continue
        start = block.find(b"\n") + 1
        unfinished.extend(block[: start - 1])
        line = unfinished.line(newline=1)
        if line.length > limits.record_bytes:
            yield from whole.take()
            yield line
            whole = _WholeLines(line.next, limits)
        else:
            whole.extend(line.content, b"\n")
        whole.extend(memoryview(block)[start:end])
        if whole.length >= min(RUN_BYTES, limits.batch_bytes):
            yield from whole.take()
        unfinished = _Unfinished(whole.end, limits)
        unfinished.extend(block[end:])
    yield from whole.take()
    if unfinished.length:
        yield unfinished.line(newline=0)


def first_line_start(stream: Iterable[bytes], offset: int, end: int | None) -> int | None:
    """Start of the first line after the newline at or behind ``offset``, if it lies before
    ``end``.
    """
    position = offset
    for block in stream:
        found = block.find(b"\n")
        start = position + (len(block) if found < 0 else found + 1)
        if end is not None and start >= end:
            return None
        if found >= 0:
            return start
        position += len(block)
    return None


class _WholeLines:
    """Bytes of whole lines on their way into runs."""

    def __init__(self, offset: int, limits: Limits) -> None:
        self.end = offset  # in the stream, of what came
        self.length = 0  # bytes that wait
        self._limits = limits
        self._pieces: list[bytes | memoryview] = []

    def extend(self, *pieces: bytes | memoryview) -> None:
        for piece in pieces:
            self._pieces.append(piece)
            self.length += len(piece)
            self.end += len(piece)

    def take(self) -> Iterator[LineRun | Line]:
        """What waits, lines beyond the bound by themselves."""
        if not self.length:
            return
        held, begin = b"".join([*self._pieces, bytes(PADDING)]), self.end - self.length
        ends = np.flatnonzero(np.frombuffer(held, np.uint8, self.length) == _NEWLINE)
        run = LineRun(np.concatenate([[begin], ends + (begin + 1)]), held, begin)
        self._pieces, self.length = [], 0
        start = 0
        for row in np.flatnonzero(np.diff(run.starts) - 1 > self._limits.record_bytes).tolist():
            if row > start:
                yield run.part(start, row)
            line = run.line(row)
            yield line._replace(content=line.content[: self._limits.quarantine_bytes])
            start = row + 1
        if start < len(run):
            yield run.part(start, len(run))


class _Unfinished:
    """A line of which pieces have come; past the bound only its head is held."""

    def __init__(self, offset: int, limits: Limits) -> None:
        self.offset = offset
        self.length = 0
        self._limits = limits
        self._pieces: list[bytes] = []

    def extend(self, piece: bytes) -> None:
        if self.length <= self._limits.record_bytes:
            self._pieces.append(piece)
        self.length += len(piece)
        if self.length > self._limits.record_bytes and len(self._pieces) > 1:
            self._pieces = [b"".join(self._pieces)[: self._limits.quarantine_bytes]]

    def line(self, newline: int) -> Line:
        content = b"".join(self._pieces)
        if self.length > self._limits.record_bytes:
            content = content[: self._limits.quarantine_bytes]
        return Line(self.offset, content, self.length, self.offset + self.length + newline)
