"""The format ``warc``: WARC, WET and ARC, plain or compressed, read whole."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.readers.base import Format, whole_file
from pipelines.readers.batch import Batch
from pipelines.readers.pages.fields import RECORD_ID, check_page_fields
from pipelines.readers.span import Fields, Limits, Span


def _check_fields(url: str, fields: Fields) -> None:
    check_page_fields(url, fields, (RECORD_ID,))


def _read(span: Span, source_name: str, fields: Fields, limits: Limits) -> Iterator[Batch]:
    # late: FastWARC and Resiliparse
    from pipelines.readers.archives.pages import read_web_archive

    return read_web_archive(span, source_name, fields, limits)


WARC = Format(
    name="warc",
    suffixes=(".warc", ".wet", ".arc"),
    compressed=True,
    pieces=whole_file,
    check_fields=_check_fields,
    read=_read,
    libraries=("pyarrow", "orjson", "zstandard", "xxhash", "FastWARC", "Resiliparse"),
)
