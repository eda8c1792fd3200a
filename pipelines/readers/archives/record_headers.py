"""Where the records of an archive begin: header lines of WARC and ARC, and the search for them.

A WARC record begins with a line such as ``WARC/1.0`` (ISO 28500). An ARC record is one line: url,
address, date, media type, length (version 1), or with result code, checksum, location, offset and
file name before the length (version 2).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from pipelines.readers.streams.bytestream import ByteStream

LINE_BYTES = 64 * 1024
_STEP_BYTES = 1 << 20
_WARC_LINE = re.compile(rb"WARC/\d[\d.]{0,8}[ \t]*\r?\n")
_WARC_HEAD = re.compile(rb"WARC/[^\n]*\n(?:[!-9;-~]+[ \t]*:[^\n]*\n|[ \t][^\n]*\n)+\r?\n")
_ARC_DATE = re.compile(rb" (\d{12,18}) ")
_ARC_END = re.compile(rb" (\d{1,18})[ \t]*\r?\n?$")
_MOST_DATES = 16  # of a line that are looked at
_ARC_TAIL_FIELDS = 5  # of version 2, between media type and length


class ArcHeader(NamedTuple):
    """Header line of an ARC record: url, date (YYYYMMDDhhmmss), media type with its parameters,
    length in bytes.
    """

    url: str
    date: str
    media_type: str
    length: int


def arc_header(line: bytes) -> ArcHeader | None:
    """The header line of an ARC record, ``None`` for any other line.

    Urls and media types may hold spaces: the date is the first run of 12 to 18 digits behind a url
    and an address.
    """
    end = _ARC_END.search(line, max(0, len(line) - 64))
    if end is None:
        return None
    for date in islice(_ARC_DATE.finditer(line, 0, end.start() + 1), _MOST_DATES):
        url, _, address = line[: date.start()].rpartition(b" ")
        if not address or b":" not in url:
            continue
        kind = line[date.end() : end.start()].decode("utf-8", "replace")
        if not kind.strip():
            return None
        return ArcHeader(
            url.decode("utf-8", "replace"),
            date.group(1).decode(),
            _without_tail(kind),
            int(end.group(1)),
        )
    return None


def _without_tail(kind: str) -> str:
    """A media type without the further fields of version 2 behind it."""
    parts = kind.split(" ")
    if len(parts) > _ARC_TAIL_FIELDS and parts[-_ARC_TAIL_FIELDS].isdigit():
        return " ".join(parts[:-_ARC_TAIL_FIELDS])
    return kind


def is_warc_line(line: bytes) -> bool:
    """True for the first line of a WARC record."""
    return line.startswith(b"WARC/") and len(line) < 32


def is_header(line: bytes) -> bool:
    """True if a record starts with this line."""
    return is_warc_line(line) or arc_header(line) is not None


class HeaderSearch:
    """Header lines ahead in a stream. Every byte is looked at once, however often is asked."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._searched_to = 0  # offsets before it
        self._found: deque[int] = deque()

    def next_header(self, ahead: int, reach: int) -> int | None:
        """How far ahead the first header line starts, at least ``ahead`` and less than ``reach``
        bytes from here, behind a line end; None where there is none. ``reach`` bytes come into
        memory.
        """
        stream = self._stream
        start = stream.offset + ahead
        while self._found and self._found[0] < start:
            self._found.popleft()
        while not self._found:
            place = max(self._searched_to, start)
            if place >= stream.offset + reach:
                return None
            end = min(place + _STEP_BYTES, stream.offset + reach)
            there = stream.ahead(end - stream.offset + LINE_BYTES)
            end = min(end, stream.offset + there)
            if end <= place:
                return None
            self._search(place, end)
        first = self._found[0] - stream.offset
        return first if first < reach else None

    def is_whole(self, ahead: int) -> bool:
        """True if the header line ``ahead`` bytes from here is that of a whole header."""
        self._stream.ahead(ahead + LINE_BYTES)
        buffer, at, _ = self._stream.window()
        start = at + ahead
        if not buffer.startswith(b"WARC/", start):
            return True  # all of an ARC header is one line
        head = _WARC_HEAD.match(buffer, start, start + LINE_BYTES)
        fields = head.group().lower() if head else b""
        return b"\nwarc-type" in fields and b"\ncontent-length" in fields

    def _search(self, start: int, end: int) -> None:
        """Remember the header lines that start in [start, end), offsets in the stream."""
        buffer, _, base = self._stream.window()
        first, last = start - base, end - base
        places = {found.start() for found in _WARC_LINE.finditer(buffer, first, last + 32)}
        places.update(_arc_lines(buffer, first, last))
        for place in sorted(places):
            if max(first, 1) <= place < last and buffer[place - 1] == 0x0A:
                self._found.append(base + place)
        self._searched_to = end


def _arc_lines(buffer: bytes, first: int, last: int) -> Iterator[int]:
    """Where header lines of ARC start, those that hold a date behind ``first``; linear in the
    bytes, whatever they are.
    """
    place = first
    while (date := _ARC_DATE.search(buffer, place, last + LINE_BYTES)) is not None:
        start = buffer.rfind(b"\n", max(0, date.start() - LINE_BYTES), date.start()) + 1
        place = buffer.find(b"\n", date.end() - 1) + 1
        if not place:
            return
        if start and place - start <= LINE_BYTES and arc_header(buffer[start:place]):
            yield start
