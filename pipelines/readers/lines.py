"""Lines of a byte stream with their offsets, none of them held longer than a bound."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import NamedTuple

from pipelines.readers.span import Limits
from pipelines.readers.streams import StreamDamageError


class Line(NamedTuple):
    """One line: where it starts, its bytes without the newline, its true length, where the next starts.

    ``len(content) < length`` marks a line longer than the bound, of which only the head is held.
    """

    offset: int
    content: bytes
    length: int
    next: int


class LineRun(NamedTuple):
    """Whole lines within the bound, one behind the other: where each starts, with where the next would (n + 1,), and their bytes (n,)."""

    starts: list[int]
    contents: list[bytes]

    def before(self, offset: int) -> LineRun:
        """The lines that start before an offset."""
        return self.first(bisect_left(self.starts, offset))

    def first(self, lines: int) -> LineRun:
        """The first lines, at most so many."""
        return self if lines >= len(self.contents) else LineRun(self.starts[: lines + 1], self.contents[:lines])

    def behind(self, lines: int) -> LineRun:
        """All but the first lines."""
        return LineRun(self.starts[lines:], self.contents[lines:])

    def line(self, row: int) -> Line:
        """One of them."""
        return Line(self.starts[row], self.contents[row], len(self.contents[row]), self.starts[row + 1])


class UnfinishedLineError(Exception):
    """The stream broke off inside a line: what was decoded of it, and why there is no more."""

    def __init__(self, line: Line, damage: StreamDamageError) -> None:
        super().__init__(str(damage))
        self.line = line
        self.damage = damage


def split_lines(stream: Iterable[bytes], offset: int, limits: Limits) -> Iterator[LineRun | Line]:
    """Lines of a stream whose first byte has this offset; the last needs no newline.

    Lines come in runs; one by itself is longer than the bound, or ends the stream without a newline.
    Raises: UnfinishedLineError, after every whole line, when the stream is damaged.
    """
    unfinished = _Unfinished(offset, limits)
    try:
        for block in stream:
            pieces = block.split(b"\n")
            last = pieces.pop()
            if pieces:
                unfinished.extend(pieces[0])
                line = unfinished.line(newline=1)
                pieces[0] = line.content
                if line.length <= limits.record_bytes and max(map(len, pieces)) <= limits.record_bytes:
                    run = _run(line.offset, pieces)
                    yield run
                    position = run.starts[-1]
                else:
                    yield line
                    position = line.next
                    for piece in pieces[1:]:
                        held = piece if len(piece) <= limits.record_bytes else piece[: limits.quarantine_bytes]
                        line = Line(position, held, len(piece), position + len(piece) + 1)
                        yield line
                        position = line.next
                unfinished = _Unfinished(position, limits)
            unfinished.extend(last)
    except StreamDamageError as damage:
        raise UnfinishedLineError(unfinished.line(newline=0), damage) from damage
    if unfinished.length:
        yield unfinished.line(newline=0)


def _run(offset: int, contents: list[bytes]) -> LineRun:
    return LineRun(list(accumulate([len(content) + 1 for content in contents], initial=offset)), contents)


def first_line_start(stream: Iterable[bytes], offset: int, end: int | None) -> int | None:
    """Start of the first line after the newline at or behind ``offset``, if it lies before ``end``."""
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
