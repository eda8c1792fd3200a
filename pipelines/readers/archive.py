"""Framing of WARC and ARC files: where each record starts and ends, also in a broken file.

A WARC record is a header block, a blank line and ``Content-Length`` bytes (ISO 28500); an ARC
record is one header line that ends in its length, and that many bytes. Where a header does not
follow, or a length reaches into the next record, the stretch up to the next header is one broken
record, so that one fault costs one record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pipelines.readers.bytestream import ByteStream
from pipelines.readers.records import RECORD_TOO_LONG, RecordRejectedError
from pipelines.readers.span import Limits

CORRUPT_RECORD = "corrupt_record"
TRUNCATED_RECORD = "truncated_record"

_LINE_BYTES = 64 * 1024
_HEADER_BYTES = 256 * 1024
_CONTENT_LENGTH = re.compile(rb"(?im)^content-length[ \t]*:[ \t]*(\d{1,18})[ \t]*\r?$")


class ArcHeader(NamedTuple):
    """Header line of an ARC record: url, date (YYYYMMDDhhmmss), media type, length in bytes."""

    url: str
    date: str
    media_type: str
    length: int


class ArchiveRecord(NamedTuple):
    """A record from ``offset`` to ``end`` of the uncompressed stream.

    ``header`` is the WARC header block with its blank line, or the ARC line, which ``arc`` holds
    parsed. ``rejection`` marks a record that cannot be read: a broken one has no header and its
    first raw bytes as payload, one that is too long (record_too_long) its header and the first
    bytes of its payload.
    """

    offset: int
    end: int
    header: bytes
    payload: bytes
    rejection: RecordRejectedError | None = None
    arc: ArcHeader | None = None


def arc_header(line: bytes) -> ArcHeader | None:
    """The header line of an ARC record (version 1: 5 fields, version 2: 10), ``None`` for any other
    line.
    """
    for fields in (5, 10):
        parts = line.rstrip(b"\r\n").rsplit(b" ", fields - 1)
        if (
            len(parts) != fields
            or b":" not in parts[0]
            or not parts[-1].isdigit()
            or len(parts[-1]) > 18
        ):
            continue
        if parts[2].isdigit() and 12 <= len(parts[2]) <= 18:
            url, _, date, media_type = (part.decode("utf-8", "replace") for part in parts[:4])
            return ArcHeader(url, date, media_type, int(parts[-1]))
    return None


def is_header(line: bytes) -> bool:
    """True if a record starts with this line."""
    return (line.startswith(b"WARC/") and len(line) < 32) or arc_header(line) is not None


class Archive:
    """Records of one archive, in order; together they cover every byte of the stream."""

    def __init__(self, stream: ByteStream, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self._damage_told = False

    def records(self) -> Iterator[ArchiveRecord]:
        """Whole and broken records; each ends where the next begins."""
        while True:
            line = self._line_after_blanks()
            if not line:
                break
            start = self._stream.offset - len(line)
            if line.startswith(b"WARC/") and is_header(line):
                yield self._warc_record(start, line)
            elif (arc := arc_header(line)) is not None:
                yield self._payload(start, line, arc.length, arc)
            else:
                yield self._broken(
                    start, line, CORRUPT_RECORD, "no record header where a record should start"
                )
        if self._stream.damage is not None and not self._damage_told:
            damage = self._stream.damage
            yield ArchiveRecord(
                self._stream.offset,
                self._stream.offset,
                b"",
                b"",
                RecordRejectedError(damage.reason, damage.detail),
            )

    def _line_after_blanks(self) -> bytes:
        while line := self._stream.readline(_LINE_BYTES):
            if line.strip():
                return line
        return b""

    def _warc_record(self, start: int, first: bytes) -> ArchiveRecord:
        header = first
        while len(header) < _HEADER_BYTES:
            line = self._stream.readline(_LINE_BYTES)
            header += line
            if not line:
                return self._broken(
                    start, header, TRUNCATED_RECORD, "the file ends inside a record header"
                )
            if not line.strip():
                break
        else:
            return self._broken(
                start, header, CORRUPT_RECORD, f"a record header longer than {_HEADER_BYTES} bytes"
            )
        found = _CONTENT_LENGTH.search(header)
        if found is None:
            return self._broken(start, header, CORRUPT_RECORD, "no valid Content-Length")
        return self._payload(start, header, int(found.group(1)))

    def _payload(
        self, start: int, header: bytes, length: int, arc: ArcHeader | None = None
    ) -> ArchiveRecord:
        if length > self._limits.record_bytes:
            return self._too_long(start, header, length, arc)
        payload = self._stream.read(length)
        following = self._stream.readline(_LINE_BYTES)
        complete = len(payload) == length
        if complete and (not following.strip() or is_header(following)):
            if following.strip():
                self._stream.unread(following)
            else:
                self._pass_blanks()
            return ArchiveRecord(start, self._stream.offset, header, payload, arc=arc)
        inner = _inner_header(payload)
        self._stream.unread(payload[inner:] + following)
        if inner < len(payload):
            detail = f"the length is {length}, but another record starts after {inner} bytes"
            return ArchiveRecord(
                start,
                self._stream.offset,
                b"",
                header + payload[:inner],
                RecordRejectedError(CORRUPT_RECORD, detail),
            )
        if complete:
            return self._broken(
                start,
                header + payload,
                CORRUPT_RECORD,
                f"no record follows after the {length} bytes of this one",
            )
        return self._broken(
            start, header + payload, TRUNCATED_RECORD, f"{len(payload)} of {length} bytes are there"
        )

    def _too_long(
        self, start: int, header: bytes, length: int, arc: ArcHeader | None
    ) -> ArchiveRecord:
        head = self._stream.read(min(length, self._limits.quarantine_bytes))
        self._stream.skip(length - len(head))
        self._pass_blanks()
        rejection = RecordRejectedError(
            RECORD_TOO_LONG, f"{length} bytes, the limit is {self._limits.record_bytes}"
        )
        return ArchiveRecord(start, self._stream.offset, header, head, rejection, arc)

    def _broken(self, start: int, raw: bytes, reason: str, detail: str) -> ArchiveRecord:
        """A broken record that reaches to the next header, or to the end."""
        while line := self._stream.readline(_LINE_BYTES):
            if is_header(line):
                self._stream.unread(line)
                break
            if len(raw) < self._limits.quarantine_bytes:
                raw += line
        if self._stream.damage is not None:
            self._damage_told = True
            reason, detail = self._stream.damage.reason, f"{detail}; {self._stream.damage.detail}"
        return ArchiveRecord(
            start, self._stream.offset, b"", raw, RecordRejectedError(reason, detail)
        )

    def _pass_blanks(self) -> None:
        line = self._line_after_blanks()
        if line:
            self._stream.unread(line)


def _inner_header(payload: bytes) -> int:
    """Where a record header starts in a payload after a line end; the payload's length if none
    does.
    """
    place = 0
    while True:
        end = payload.find(b"\n", place)
        if end < 0:
            return len(payload)
        place = end + 1
        stop = payload.find(b"\n", place, place + _LINE_BYTES)
        if stop >= 0 and is_header(payload[place : stop + 1]):
            return place
