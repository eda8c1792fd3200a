"""WARC, WET and ARC: web pages as documents, everything else counted with the reason why not.

The offset of a record is its first byte in the uncompressed stream, so a plain archive and its
compressed copies give the same ids. HTML responses with status 200 become documents through
:mod:`pipelines.readers.extraction`; text conversions (WET) are taken as they are. Dropped, and
counted: ``not_response`` (requests, warcinfo, metadata, resources), ``revisit``, ``http_status``,
``not_html``, ``empty_extraction``. Broken archives end in quarantine: ``corrupt_record``,
``truncated_record``, ``record_too_long``, ``truncated_stream``, ``corrupt_stream``,
``corrupt_payload``, ``extraction_failed``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType
from resiliparse.parse.encoding import detect_mime

from pipelines.readers.archive import CORRUPT_RECORD, ArcHeader, Archive, ArchiveRecord
from pipelines.readers.batch import Batch, Collector
from pipelines.readers.bytestream import ByteStream
from pipelines.readers.extraction import EMPTY_EXTRACTION, decode_page, page_text
from pipelines.readers.page_fields import RECORD_ID, check_page_fields
from pipelines.readers.records import (
    BAD_ID,
    RECORD_TOO_LONG,
    RecordRejectedError,
    Row,
    canonical_json,
)
from pipelines.readers.span import Fields, Limits, Span
from pipelines.readers.streams import blocks, compression_of, open_input

CORRUPT_PAYLOAD = "corrupt_payload"

NOT_RESPONSE = "not_response"
REVISIT = "revisit"
HTTP_STATUS = "http_status"
NOT_HTML = "not_html"

_HTTP = "application/http"
_HTML = (b"text/html", b"application/xhtml+xml")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+(\d{3})\b")
_CONTENT_TYPE = re.compile(rb"(?im)^content-type:[ \t]*([^;\s]+)")
_TRANSFER_ENCODING = re.compile(rb"(?im)^transfer-encoding:[^\r\n]*\r\n")
_CONTENT_ENCODING = re.compile(rb"(?im)^content-encoding:[^\r\n]*\r\n")
_GZIP_MAGIC = b"\x1f\x8b"


class NoDocumentError(Exception):
    """A whole record that is no document, with the reason it is counted under."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_web_archive(
    span: Span, source_name: str, fields: Fields, limits: Limits
) -> Iterator[Batch]:
    """Batches of one archive, read whole.

    ``id_field`` may be ``warc_record_id``; else the ids come from path and record offset.

    Raises: UserError when the file cannot be opened or the fields ask for what an archive has not.
    """
    check_page_fields(span.url, fields, (RECORD_ID,))
    if not span.whole:
        raise ValueError(
            f"{span.url}: an archive is read whole, not from {span.start} to {span.end}"
        )
    collector = Collector(span, source_name, fields, limits)
    covered = 0
    with open_input(span.url) as file:
        for record in Archive(
            ByteStream(blocks(file, compression_of(span.url), limits)), limits
        ).records():
            _collect(record, collector, fields, limits)
            collector.advance(record.end - covered)
            covered = record.end
            if collector.full:
                yield collector.take()
    if not collector.empty:
        yield collector.take()


def _collect(record: ArchiveRecord, collector: Collector, fields: Fields, limits: Limits) -> None:
    length = record.end - record.offset
    try:
        if record.header:
            _check_kind(record)
        if record.rejection is not None:
            raise record.rejection
        row = (
            _arc_row(record.arc, record.payload, fields, limits)
            if record.arc
            else _warc_row(record, fields, limits)
        )
    except NoDocumentError as why:
        collector.drop(why.reason, length)
    except RecordRejectedError as rejection:
        collector.reject(record.offset, length, record.header + record.payload, rejection)
    else:
        collector.add(row, record.offset)


def _check_kind(record: ArchiveRecord) -> None:
    """Tell documents from other records by their heads, so that long files of other kinds are not
    read.

    Raises: NoDocumentError, RecordRejectedError.
    """
    if record.arc is not None:
        if not record.arc.url.startswith(("http:", "https:")):
            raise NoDocumentError(NOT_RESPONSE)
    else:
        parsed = _parsed(record.header)
        if parsed.record_type == WarcRecordType.conversion:
            return
        if parsed.record_type != WarcRecordType.response:
            raise NoDocumentError(
                REVISIT if parsed.record_type == WarcRecordType.revisit else NOT_RESPONSE
            )
        if not (parsed.headers.get("Content-Type") or _HTTP).lstrip().lower().startswith(_HTTP):
            raise NoDocumentError(NOT_HTML)  # an answer of another protocol, such as DNS
    status = _STATUS_LINE.match(record.payload)
    if status is not None and status.group(1) != b"200":
        raise NoDocumentError(HTTP_STATUS)
    end = _HEAD_END.search(record.payload)
    declared = _CONTENT_TYPE.search(record.payload, 0, end.end() if end else 0)
    if declared is not None and declared.group(1).lower() not in _HTML:
        raise NoDocumentError(NOT_HTML)


def _warc_row(record: ArchiveRecord, fields: Fields, limits: Limits) -> Row:
    """The document of a WARC record. Raises: NoDocumentError, RecordRejectedError."""
    parsed = _parsed(record.header)
    if parsed.record_type == WarcRecordType.conversion:
        text, title = decode_page(record.payload), ""
    else:
        text, title = _response_text(record.payload, limits)
    if not text or text.isspace():
        raise NoDocumentError(EMPTY_EXTRACTION)
    headers = parsed.headers
    record_id = (headers.get("WARC-Record-ID") or "").strip().strip("<>")
    native_id = None
    if fields.id_field == RECORD_ID:
        if not record_id:
            raise RecordRejectedError(BAD_ID, "the record has no WARC-Record-ID")
        native_id = record_id
    meta = {"title": title, RECORD_ID: record_id, "truncated": headers.get("WARC-Truncated") or ""}
    url = (headers.get("WARC-Target-URI") or "").strip().strip("<>")
    return _page_row(text, native_id, url, headers.get("WARC-Date"), meta, fields)


def _arc_row(header: ArcHeader, payload: bytes, fields: Fields, limits: Limits) -> Row:
    if fields.id_field is not None:
        raise RecordRejectedError(BAD_ID, "an ARC record has no WARC-Record-ID")
    text, title = _response_text(payload, limits)
    if not text:
        raise NoDocumentError(EMPTY_EXTRACTION)
    day = header.date[:14].ljust(14, "0")
    date = f"{day[:4]}-{day[4:6]}-{day[6:8]}T{day[8:10]}:{day[10:12]}:{day[12:14]}Z"
    return _page_row(text, None, header.url, date, {"title": title}, fields)


def _page_row(
    text: str,
    native_id: str | None,
    url: str,
    date: str | None,
    meta: dict[str, str],
    fields: Fields,
) -> Row:
    kept = {name: value for name, value in meta.items() if value}
    return Row(
        text,
        native_id,
        fields.lang,
        url or None,
        fields.license,
        date or None,
        canonical_json(kept) if kept else None,
    )


def _response_text(payload: bytes, limits: Limits) -> tuple[str, str]:
    """(text, title) of an HTTP response. Raises: NoDocumentError, RecordRejectedError."""
    end = _HEAD_END.search(payload)
    status = _STATUS_LINE.match(payload)
    if end is None or status is None:
        raise RecordRejectedError(CORRUPT_PAYLOAD, "no HTTP response header")
    head = (
        b"\r\n".join(line.rstrip(b"\r") for line in payload[: end.start()].split(b"\n")) + b"\r\n"
    )
    response, body = _decoded(head, payload[end.end() :], limits)
    if _CONTENT_TYPE.search(head) is None and detect_mime(body[:4096]).encode() not in _HTML:
        raise NoDocumentError(NOT_HTML)
    return page_text(body, response.http_charset)


def _decoded(head: bytes, body: bytes, limits: Limits) -> tuple[WarcRecord, bytes]:
    """The response and its body without transfer and content encoding.

    Crawlers often store a body that is already decoded under the headers of the encoded one, so an
    encoding that the body does not have is passed over.
    """
    plain = _TRANSFER_ENCODING.sub(b"", head)
    heads = dict.fromkeys(
        [head, plain, _CONTENT_ENCODING.sub(b"", head), _CONTENT_ENCODING.sub(b"", plain)]
    )
    for candidate in heads:
        message = candidate + b"\r\n" + body
        envelope = (
            b"WARC/1.0\r\nWARC-Type: response\r\n"
            b"Content-Type: application/http; msgtype=response\r\nContent-Length: "
        )
        response = _parsed(
            envelope + str(len(message)).encode() + b"\r\n\r\n", message, parse_http=True
        )
        try:
            decoded = response.reader.read(limits.record_bytes + 1)
        except OSError:
            continue
        if body and not decoded:
            continue
        if len(decoded) > limits.record_bytes:
            raise RecordRejectedError(
                RECORD_TOO_LONG, f"the decoded body is longer than {limits.record_bytes} bytes"
            )
        if decoded.startswith(_GZIP_MAGIC):
            break
        return response, decoded
    raise RecordRejectedError(CORRUPT_PAYLOAD, "the body cannot be decoded as its HTTP headers say")


def _parsed(header: bytes, payload: bytes = b"", parse_http: bool = False) -> WarcRecord:
    stream = io.BytesIO(header + payload + b"\r\n\r\n")
    try:
        return next(
            ArchiveIterator(stream, parse_http=parse_http, auto_decode="all", stream_detect=False)
        )
    except (OSError, ValueError, StopIteration) as error:
        raise RecordRejectedError(
            CORRUPT_RECORD, f"the record header cannot be parsed: {error}"
        ) from None
