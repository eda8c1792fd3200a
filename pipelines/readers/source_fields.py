"""What a source says of its records, held against its files before a run begins."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.readers import Fields, InputFile, Span
from pipelines.readers.parquet import check_columns
from pipelines.readers.warc import RECORD_ID, check_page_fields


def check_fields(files: Sequence[InputFile], fields: Fields) -> None:
    """Refuse fields that a source's files cannot have.

    Archives and pages are told by their format alone; of Parquet files the first is opened, the
    others show when they are read.
    Raises: UserError.
    """
    for file in {file.format: file for file in reversed(files)}.values():
        if file.format == "html":
            check_page_fields(Span(file.url, file.path), fields, ())
        elif file.format == "warc":
            check_page_fields(Span(file.url, file.path), fields, (RECORD_ID,))
        elif file.format == "parquet":
            check_columns(file.url, fields)
