"""Framing of WARC and ARC files: where each record starts and ends, also in a broken file.

A WARC record is a header block, a blank line and ``Content-Length`` bytes (ISO 28500); an ARC
record is one header line that ends in its length, and that many bytes. Where a header does not
follow, or a length reaches into the next record, the stretch up to the next header is one broken
record, so that one fault costs one record. Bytes are looked at twice at the most.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pipelines.readers.archives.record_headers import (
    LINE_BYTES,
    ArcHeader,
    HeaderSearch,
    arc_header,
    is_header,
    is_warc_line,
)
from pipelines.readers.rows.records import RECORD_TOO_LONG, RecordRejectedError
from pipelines.readers.span import Limits
from pipelines.readers.streams.bytestream import ByteStream
from pipelines.readers.streams.damage import Damage

CORRUPT_RECORD = "corrupt_record"
TRUNCATED_RECORD = "truncated_record"

_HEADER_BYTES = 256 * 1024
_USUAL_HEADER_BYTES = 4096
_BLANK_LINE = re.compile(rb"(?<=\n)[ \t\r\f\v]*\n")
_SKIP_BYTES = 1 << 20
_CONTENT_LENGTH = re.compile(rb"(?im)^content-length[ \t]*:[ \t]*(\d{1,18})[ \t]*\r?$")


class ArchiveRecord(NamedTuple):
    """A record from ``offset`` to ``end`` of the uncompressed stream.

    ``header`` is the WARC header block with its blank line, or the ARC line, which ``arc`` holds
    parsed. ``rejection`` marks a record that cannot be read: a broken one has no header and its
    first raw bytes as payload, one that is too long (record_too_long) its header and the first
    bytes of its payload. ``damage``: that of the stream, where the record ends in it.
    """

    offset: int
    end: int
    header: bytes
    payload: bytes
    rejection: RecordRejectedError | None = None
    arc: ArcHeader | None = None
    damage: Damage | None = None


class Archive:
    """Records of one archive, in order; together they cover every byte of the stream."""

    def __init__(self, stream: ByteStream, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self._headers = HeaderSearch(stream)

    def records(self) -> Iterator[ArchiveRecord]:
        """Whole and broken records; each ends where the next begins. Damage of the stream ends the
        record it is found in, or is one of no length.
        """
        stream = self._stream
        while True:
            stream.pass_blank_lines()
            start = stream.offset
            if stream.ahead(1):
                record = self._record(start)
                if record.rejection is not None and stream.at_gap:
                    record = self._damaged(record)
                yield record
            elif stream.damage is not None:
                yield self._damaged(ArchiveRecord(start, start, b"", b""))
            else:
                return

    def _damaged(self, record: ArchiveRecord) -> ArchiveRecord:
        """A record that ends in a gap of the stream, which is left behind."""
        damage = self._stream.damage
        assert damage is not None
        self._stream.go_on()
        told = f"{record.rejection.detail}; " if record.rejection else ""
        return record._replace(damage=damage._replace(detail=told + damage.detail))

    def _record(self, start: int) -> ArchiveRecord:
        line = self._stream.readline(LINE_BYTES)
        if is_warc_line(line):
            return self._warc_record(start, line)
        if (arc := arc_header(line)) is not None:
            return self._payload(start, line, arc.length, arc)
        return self._broken(
            start, line, CORRUPT_RECORD, "no record header where a record should start"
        )

    def _warc_record(self, start: int, first: bytes) -> ArchiveRecord:
        header = first + (self._stream.read_to(_BLANK_LINE, _USUAL_HEADER_BYTES) or b"")
        if len(header) == len(first):
            header, fault = self._long_header(first)
            if fault is not None:
                return self._broken(start, header, *fault)
        found = _CONTENT_LENGTH.search(header)
        if found is None:
            return self._broken(start, header, CORRUPT_RECORD, "no valid Content-Length")
        return self._payload(start, header, int(found.group(1)))

    def _long_header(self, first: bytes) -> tuple[bytes, tuple[str, str] | None]:
        """A header line by line, and (reason, detail) where it does not end."""
        lines, size = [first], len(first)
        while size < _HEADER_BYTES:
            line = self._stream.readline(LINE_BYTES)
            lines.append(line)
            size += len(line)
            if not line:
                detail = "the file ends inside a record header"
                return b"".join(lines), (TRUNCATED_RECORD, detail)
            if not line.strip():
                return b"".join(lines), None
        detail = f"a record header longer than {_HEADER_BYTES} bytes"
        return b"".join(lines), (CORRUPT_RECORD, detail)

    def _payload(
        self, start: int, header: bytes, length: int, arc: ArcHeader | None = None
    ) -> ArchiveRecord:
        stream = self._stream
        if length > self._limits.record_bytes:
            return self._too_long(start, header, length, arc)
        there = stream.ahead(length)
        if there == length:
            following = stream.line_at(length, LINE_BYTES)
            if not following.strip() or is_header(following):
                payload = stream.read(length)
                stream.pass_blank_lines()
                return ArchiveRecord(start, stream.offset, header, payload, arc=arc)
        inner = self._headers.next_header(0, there)
        if inner is not None:
            kept = bytearray(header)
            self._pass(inner, kept)
            return self._cut_at(start, bytes(kept), length, inner)
        raw = header + stream.read(there)
        if there < length:
            detail = f"{there} of {length} bytes are there"
            return self._broken(start, raw, TRUNCATED_RECORD, detail)
        detail = f"no record follows after the {length} bytes of this one"
        return self._broken(start, raw, CORRUPT_RECORD, detail)

    def _too_long(
        self, start: int, header: bytes, length: int, arc: ArcHeader | None
    ) -> ArchiveRecord:
        """A record beyond the limit, passed over. A header in it shows that its length is wrong:
        the records behind it are not to be lost for one wrong number.
        """
        kept, passed = bytearray(), 0
        while passed < length:
            step = min(_SKIP_BYTES, length - passed)
            inner = self._headers.next_header(0, step)
            if inner is not None and self._headers.is_whole(inner):
                self._pass(inner, kept)
                return self._cut_at(start, header + bytes(kept), length, passed + inner)
            step = step if inner is None else min(step, inner + 1)
            there = self._pass(step, kept)
            passed += there
            if there < step:
                break
        self._stream.pass_blank_lines()
        rejection = RecordRejectedError(
            RECORD_TOO_LONG, f"{length} bytes, the limit is {self._limits.record_bytes}"
        )
        return ArchiveRecord(start, self._stream.offset, header, bytes(kept), rejection, arc)

    def _cut_at(self, start: int, raw: bytes, length: int, inner: int) -> ArchiveRecord:
        """A record whose length is wrong, since another one starts here, after ``inner`` bytes."""
        detail = f"the length is {length}, but another record starts after {inner} bytes"
        rejection = RecordRejectedError(CORRUPT_RECORD, detail)
        return ArchiveRecord(start, self._stream.offset, b"", raw, rejection)

    def _broken(self, start: int, raw: bytes, reason: str, detail: str) -> ArchiveRecord:
        """A broken record that reaches to the next header, to a gap or to the end."""
        kept = bytearray(raw)
        while there := self._stream.ahead(_SKIP_BYTES):
            inner = self._headers.next_header(0, there)
            self._pass(there if inner is None else inner, kept)
            if inner is not None:
                break
        return ArchiveRecord(
            start, self._stream.offset, b"", bytes(kept), RecordRejectedError(reason, detail)
        )

    def _pass(self, length: int, kept: bytearray) -> int:
        """Pass over bytes, of which those that quarantine has room for are kept; returns how many
        there were.
        """
        first = self._stream.read(min(length, max(0, self._limits.quarantine_bytes - len(kept))))
        kept += first
        return len(first) + self._stream.skip(length - len(first))
