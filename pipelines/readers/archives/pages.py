"""WARC, WET and ARC: web pages as documents, everything else counted with the reason why not.

The offset of a record is its first byte in the uncompressed stream, so a plain archive and its
compressed copies give the same ids. HTML responses with status 200 become documents through
:mod:`pipelines.readers.pages.extraction`; text conversions (WET) are taken as they are, conversions
to HTML are extracted. Dropped, and counted: ``not_response`` (requests, warcinfo, metadata,
resources), ``revisit``, ``continuation`` (later segments of a record, of which the first is marked
as truncated), ``http_status``, ``not_html``, ``empty_extraction``. Broken archives end in
quarantine: ``corrupt_record``, ``truncated_record``, ``record_too_long``, ``truncated_stream``,
``corrupt_stream``, ``corrupt_payload``, ``extraction_failed``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pipelines.readers.archives.framing import Archive, ArchiveRecord
from pipelines.readers.archives.record_headers import ArcHeader
from pipelines.readers.batch import Batch, Collector
from pipelines.readers.pages.charsets import decode_page
from pipelines.readers.pages.extraction import EMPTY_EXTRACTION, Page, page_text
from pipelines.readers.pages.fields import RECORD_ID, check_page_fields, page_meta
from pipelines.readers.pages.http_message import (
    CORRUPT_PAYLOAD,
    bare_media_type,
    charset_of,
    fields_of,
    response_body,
    response_head,
)
from pipelines.readers.pages.kind import HTML_TYPES, NOT_HTML, XHTML_TYPE, is_html, may_be_html
from pipelines.readers.rows.records import BAD_ID, RecordRejectedError, Row
from pipelines.readers.span import Fields, Limits, Span
from pipelines.readers.streams.bytestream import ByteStream
from pipelines.readers.streams.decoding import blocks
from pipelines.readers.streams.opened import compression_of, open_input

NOT_RESPONSE = "not_response"
REVISIT = "revisit"
CONTINUATION = "continuation"
HTTP_STATUS = "http_status"

SEGMENT = "segment"  # where a record goes on in others, in place of the reason in WARC-Truncated


class NoDocumentError(Exception):
    """A whole record that is no document, with the reason it is counted under."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Found(NamedTuple):
    """The page of a record, and how its body is damaged."""

    page: Page
    damaged: str | None = None


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
        stream = ByteStream(blocks(file, compression_of(span.url), limits))
        for record in Archive(stream, limits).records():
            _collect(record, collector, fields, limits)
            collector.advance(record.end - covered)
            covered = record.end
            for damage in stream.take_notes():
                collector.damaged(damage, covered, 0, b"")
            if collector.full:
                yield collector.take()
        for damage in stream.take_notes():
            collector.damaged(damage, covered, 0, b"")
    if not collector.empty:
        yield collector.take()


def _collect(record: ArchiveRecord, collector: Collector, fields: Fields, limits: Limits) -> None:
    length = record.end - record.offset
    if record.damage is not None:
        collector.damaged(record.damage, record.offset, length, record.header + record.payload)
        return
    try:
        row = _row(record, fields, limits)
    except NoDocumentError as why:
        collector.drop(why.reason, length)
    except RecordRejectedError as rejection:
        collector.reject(record.offset, length, record.header + record.payload, rejection)
    else:
        collector.add(row, record.offset)


def _row(record: ArchiveRecord, fields: Fields, limits: Limits) -> Row:
    """The document of a record. Raises: NoDocumentError, RecordRejectedError."""
    if record.arc is not None:
        if not record.arc.url.startswith(("http:", "https:")):
            raise NoDocumentError(NOT_RESPONSE)
        return _arc_row(record, record.arc, fields, limits)
    if not record.header and record.rejection is not None:
        raise record.rejection
    named = fields_of(record.header)
    kind = named.get("warc-type", "").lower()
    if kind == "conversion":
        return _warc_row(named, _conversion(record, named.get("content-type"), limits), fields)
    if kind != "response":
        other = {"revisit": REVISIT, "continuation": CONTINUATION}
        raise NoDocumentError(other.get(kind, NOT_RESPONSE))
    declared = bare_media_type(named.get("content-type"))
    if declared is not None and declared != "application/http":
        raise NoDocumentError(NOT_HTML)  # an answer of another protocol, such as DNS
    identified = bare_media_type(named.get("warc-identified-payload-type"))
    return _warc_row(named, _response(record, None, identified, limits), fields)


def _response(
    record: ArchiveRecord, declared: str | None, identified: str | None, limits: Limits
) -> Found:
    """What an HTTP response holds; ``declared``: media type in place of one that its head lacks.

    Long records of other kinds are told by their heads and not read.
    Raises: NoDocumentError, RecordRejectedError.
    """
    head = response_head(record.payload)
    if head is not None:
        if head.status != 200:
            raise NoDocumentError(HTTP_STATUS)
        if "content-type" in head.fields:
            declared = head.media_type
        if not may_be_html(declared, identified):
            raise NoDocumentError(NOT_HTML)
    if record.rejection is not None:
        raise record.rejection
    if head is None:
        raise RecordRejectedError(CORRUPT_PAYLOAD, "no HTTP response header")
    body = response_body(head, record.payload, limits)
    if not is_html(declared, identified, body.content):
        raise NoDocumentError(NOT_HTML)
    page = page_text(body.content, head.charset, declared == XHTML_TYPE, limits)
    return Found(page, body.damaged)


def _conversion(record: ArchiveRecord, declared: str | None, limits: Limits) -> Found:
    """What a conversion holds. Raises: NoDocumentError, RecordRejectedError."""
    kind = bare_media_type(declared)
    if kind not in (None, "text/plain", *HTML_TYPES):
        raise NoDocumentError(NOT_HTML)
    if record.rejection is not None:
        raise record.rejection
    if kind in HTML_TYPES:
        return Found(page_text(record.payload, charset_of(declared), kind == XHTML_TYPE, limits))
    return Found(Page(decode_page(record.payload, charset_of(declared)).text, ""))


def _warc_row(named: dict[str, str], found: Found, fields: Fields) -> Row:
    record_id = named.get("warc-record-id", "").strip("<>")
    native_id = None
    if fields.id_field == RECORD_ID:
        if not record_id:
            raise RecordRejectedError(BAD_ID, "the record has no WARC-Record-ID")
        native_id = record_id
    truncated = named.get("warc-truncated") or (SEGMENT if "warc-segment-number" in named else None)
    url = named.get("warc-target-uri", "").strip("<>")
    more = {RECORD_ID: record_id, "truncated": truncated}
    return _page_row(found, native_id, url, named.get("warc-date"), fields, more)


def _arc_row(record: ArchiveRecord, header: ArcHeader, fields: Fields, limits: Limits) -> Row:
    found = _response(record, bare_media_type(header.media_type), None, limits)
    if fields.id_field is not None:
        raise RecordRejectedError(BAD_ID, "an ARC record has no WARC-Record-ID")
    day = header.date[:14].ljust(14, "0")
    date = f"{day[:4]}-{day[4:6]}-{day[6:8]}T{day[8:10]}:{day[10:12]}:{day[12:14]}Z"
    return _page_row(found, None, header.url, date, fields, {})


def _page_row(
    found: Found,
    native_id: str | None,
    url: str,
    date: str | None,
    fields: Fields,
    more: dict[str, str | None],
) -> Row:
    page = found.page
    if not page.text or page.text.isspace():
        raise NoDocumentError(EMPTY_EXTRACTION)
    meta = page_meta(title=page.title, extraction=page.extraction, damaged=found.damaged, **more)
    return Row(page.text, native_id, fields.lang, url or None, fields.license, date or None, meta)
