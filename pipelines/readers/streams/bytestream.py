"""A stream of blocks read like a file, and looked ahead into: by bytes, by lines, by blanks."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pipelines.readers.streams.damage import Damage

_BLANKS = b" \t\r\n\v\f"
_FIRST_STEP, _BLANK_STEP = 64, 64 * 1024


class ByteStream:
    """Reads over uncompressed blocks. ``offset`` is the position of the next byte.

    A gap in the stream shows as its end, and ``damage`` then says what happened;
    :meth:`go_on` goes to what is behind it.
    """

    def __init__(self, blocks: Iterable[bytes | Damage]) -> None:
        self._blocks = iter(blocks)
        self._buffer = b""
        self._at = 0
        self._ended = False
        self.offset = 0
        self.damage: Damage | None = None
        self._notes: list[Damage] = []

    def ahead(self, length: int) -> int:
        """How many of the next ``length`` bytes there are, at most; they are then in memory."""
        there = len(self._buffer) - self._at
        if there >= length:
            return length
        if not (self._ended or self.damage):
            before = min(1, self._at)  # the byte before the next one stays, to tell a line's start
            pieces = [self._buffer[self._at - before :]]
            while there < length and (block := self._next_block()):
                pieces.append(block)
                there += len(block)
            self._buffer, self._at = b"".join(pieces), before
        return min(there, length)

    @property
    def at_gap(self) -> bool:
        """True where the next byte is missing."""
        return self.damage is not None and not self.ahead(1)

    def window(self) -> tuple[bytes, int, int]:
        """What is in memory: bytes, the place of the next one in them, the offset of their
        first.
        """
        return self._buffer, self._at, self.offset - self._at

    def read(self, length: int) -> bytes:
        """The next ``length`` bytes, fewer only at the end or before a gap."""
        length = self.ahead(length)
        return self._take(length)

    def skip(self, length: int) -> int:
        """Pass over up to ``length`` bytes; returns how many there were."""
        wanted = length
        while length > 0 and self.ahead(1):
            step = min(length, len(self._buffer) - self._at)
            self._pass(step)
            length -= step
        return wanted - length

    def line_at(self, ahead: int, limit: int) -> bytes:
        """The line that starts ``ahead`` bytes from here with its newline, cut at ``limit`` bytes;
        empty at the end. Nothing is passed.
        """
        reach = 256
        while True:
            there = self.ahead(ahead + min(reach, limit))
            start = self._at + ahead
            end = self._buffer.find(b"\n", start, self._at + there) + 1
            if end:
                return self._buffer[start:end]
            if there < ahead + reach or reach >= limit:
                return self._buffer[start : self._at + there]
            reach *= 16

    def readline(self, limit: int) -> bytes:
        """The next line with its newline, cut at ``limit`` bytes; empty at the end."""
        line = self.line_at(0, limit)
        self._pass(len(line))
        return line

    def read_to(self, end: re.Pattern[bytes], limit: int) -> bytes | None:
        """The next bytes up to what ``end`` matches, with it, where that is within ``limit`` bytes;
        None, and nothing is passed, where it is not.
        """
        there = self.ahead(limit)
        found = end.search(self._buffer, self._at, self._at + there)
        return None if found is None else self._take(found.end() - self._at)

    def pass_blank_lines(self) -> None:
        """Go to the start of the next line that is not blank, or to the end."""
        step = _FIRST_STEP
        while self.ahead(1):
            if self._buffer[self._at] not in _BLANKS:
                return
            piece = self._buffer[self._at : self._at + step]
            step = _BLANK_STEP
            blank = len(piece) - len(piece.lstrip(_BLANKS))
            if blank < len(piece):
                self._pass(piece.rfind(b"\n", 0, blank) + 1)
                return
            # of a line that has only begun, its blanks stay
            whole = piece.rfind(b"\n") + 1
            if whole:
                self._pass(whole)
            elif self.ahead(2 * _BLANK_STEP) <= len(piece):
                self._pass(len(piece))
            else:
                return  # a line that begins with that many blanks is no header

    def go_on(self) -> None:
        """Leave a gap behind."""
        self.damage = None

    def take_notes(self) -> list[Damage]:
        """Damage without a gap that was come by since the last call."""
        notes, self._notes = self._notes, []
        return notes

    def _take(self, length: int) -> bytes:
        piece = self._buffer[self._at : self._at + length]
        self._pass(length)
        return piece

    def _pass(self, length: int) -> None:
        self._at += length
        self.offset += length

    def _next_block(self) -> bytes:
        """The next block that is not empty; nothing at the end or before a gap."""
        while True:
            block = next(self._blocks, None)
            if block is None:
                self._ended = True
                return b""
            if isinstance(block, Damage):
                if block.gap:
                    self.damage = block
                    return b""
                self._notes.append(block)
            elif block:
                return block
