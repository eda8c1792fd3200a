"""The format ``html``: folders of HTML pages, of which every file is one record, at offset 0."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.readers.base import Format, whole_file
from pipelines.readers.batch import Batch, Collector
from pipelines.readers.page_fields import check_page_fields
from pipelines.readers.records import RECORD_TOO_LONG, RecordRejectedError, Row, canonical_json
from pipelines.readers.span import Fields, Limits, Span
from pipelines.readers.streams import BLOCK_BYTES, open_input


def _check_fields(url: str, fields: Fields) -> None:
    check_page_fields(url, fields, ())


def read_html(span: Span, source_name: str, fields: Fields, limits: Limits) -> Iterator[Batch]:
    """The one batch of one page: a document, a drop (empty_extraction), or a quarantined record.

    Raises: UserError when the file cannot be opened or the fields ask for what a page has not.
    """
    from pipelines.readers.extraction import EMPTY_EXTRACTION, page_text  # late: Resiliparse

    _check_fields(span.url, fields)
    collector = Collector(span, source_name, fields, limits)
    with open_input(span.url) as file:
        page = file.read(limits.record_bytes + 1)
        length = len(page)
        while block := file.read(BLOCK_BYTES) if length > limits.record_bytes else b"":
            length += len(block)
    collector.advance(length)
    try:
        if length > limits.record_bytes:
            raise RecordRejectedError(
                RECORD_TOO_LONG, f"{length} bytes, the limit is {limits.record_bytes}"
            )
        text, title = page_text(page)
    except RecordRejectedError as rejection:
        collector.reject(0, length, page, rejection)
    else:
        if text:
            meta = canonical_json({"title": title}) if title else None
            collector.add(Row(text, lang=fields.lang, license=fields.license, meta=meta), 0)
        else:
            collector.drop(EMPTY_EXTRACTION, length)
    yield collector.take()


HTML = Format(
    name="html",
    suffixes=(".html", ".htm", ".xhtml"),
    compressed=False,
    pieces=whole_file,
    check_fields=_check_fields,
    read=read_html,
    libraries=("pyarrow", "orjson", "xxhash", "Resiliparse"),
)
