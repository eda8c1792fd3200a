"""The format ``html``: folders of HTML pages, of which every file is one record, at offset 0."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from pipelines.readers.base import Format, whole_file
from pipelines.readers.batch import Batch, Collector
from pipelines.readers.pages.fields import check_page_fields, page_meta
from pipelines.readers.pages.http_message import CUT_BODY, unpacked
from pipelines.readers.rows.records import RECORD_TOO_LONG, RecordRejectedError, Row
from pipelines.readers.span import Fields, Limits, Span
from pipelines.readers.streams.damage import Damage
from pipelines.readers.streams.decoding import blocks
from pipelines.readers.streams.opened import compression_of, open_input
from pipelines.readers.suspect import CHECKSUM


def _check_fields(url: str, fields: Fields) -> None:
    check_page_fields(url, fields, ())


def read_html(span: Span, source_name: str, fields: Fields, limits: Limits) -> Iterator[Batch]:
    """The one batch of one page, plain or compressed: a document, a drop (empty_extraction, or
    not_html for a binary file), or a quarantined record.

    Raises: UserError when the file cannot be opened or the fields ask for what a page has not.
    """
    # late: Resiliparse
    from pipelines.readers.pages.extraction import EMPTY_EXTRACTION, page_text
    from pipelines.readers.pages.kind import NOT_HTML, is_binary

    _check_fields(span.url, fields)
    collector = Collector(span, source_name, fields, limits)
    page, length, damage = _page(span.url, limits)
    collector.advance(length)
    try:
        if damage is not None and damage.gap and not page:
            raise RecordRejectedError(damage.reason, damage.detail)
        if length > limits.record_bytes:
            raise RecordRejectedError(
                RECORD_TOO_LONG, f"{length} bytes, the limit is {limits.record_bytes}"
            )
        body = unpacked(page, limits)
        xhtml = ".xhtml" in PurePosixPath(span.path).suffixes
        found = (
            None if is_binary(body.content) else page_text(body.content, xhtml=xhtml, limits=limits)
        )
    except RecordRejectedError as rejection:
        collector.reject(0, length, page, rejection)
    else:
        damaged = body.damaged or (_mark(damage) if damage is not None else None)
        if found is None or not found.text:
            collector.drop(NOT_HTML if found is None else EMPTY_EXTRACTION, length)
        else:
            meta = page_meta(title=found.title, extraction=found.extraction, damaged=damaged)
            row = Row(found.text, lang=fields.lang, license=fields.license, meta=meta)
            collector.add(row, 0)
    yield collector.take()


def _page(url: str, limits: Limits) -> tuple[bytes, int, Damage | None]:
    """A page, up to one byte beyond the longest; its whole length; the first damage of its file."""
    pieces, length, damage = [], 0, None
    with open_input(url) as file:
        for block in blocks(file, compression_of(url), limits):
            if isinstance(block, Damage):
                damage = damage or block
                continue
            if length <= limits.record_bytes:
                pieces.append(block[: limits.record_bytes + 1 - length])
            length += len(block)
    return b"".join(pieces), length, damage


def _mark(damage: Damage) -> str:
    return CUT_BODY if damage.suspect is None else CHECKSUM


HTML = Format(
    name="html",
    suffixes=(".html", ".htm", ".xhtml"),
    compressed=True,
    pieces=whole_file,
    check_fields=_check_fields,
    read=read_html,
    libraries=("pyarrow", "orjson", "xxhash", "zstandard", "Resiliparse"),
)
