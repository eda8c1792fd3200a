"""Readers: from files as they are to batches of documents, with nothing lost on the way.

    paths ─ discover ─▶ files ─ plan_chunks ─▶ chunks of spans ─ read ─▶ batches

``discover`` expands the globs of a source, ``plan_chunks`` cuts the files into chunks of even size
whatever the number of workers, ``read`` turns one span into batches. A batch holds documents,
quarantine (every record that could not be read, with path, offset, reason and raw bytes) and counts
that balance. In a folder that ``windtunnel init`` has written:

>>> from pipelines.readers import Fields, discover, plan_chunks, read
>>> files = discover("web", ["data/web.jsonl"])
>>> for chunk in plan_chunks(files, chunk_bytes=64 << 20):
...     for span in chunk:
...         for batch in read(span, "auto", "web", Fields(id_field="id")):
...             print(batch.records == batch.documents.num_rows + batch.quarantine.num_rows)
True

Formats: JSON Lines (plain, gzip, zstd, bzip2, xz), Parquet, WARC and WET (plain, gzip, zstd, lz4),
ARC, and folders of HTML pages. ``auto`` tells them by suffix. Each is one object in ``FORMATS``
(see :mod:`pipelines.readers.base`), which is asked at each call.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.readers.base import Format, InputFile
from pipelines.readers.batch import Batch
from pipelines.readers.chunks import plan_chunks
from pipelines.readers.discover import discover
from pipelines.readers.formats import AUTO, FORMATS, LIBRARIES, format_of, libraries_of
from pipelines.readers.span import Fields, Limits, Span

__all__ = [
    "AUTO",
    "FORMATS",
    "LIBRARIES",
    "Batch",
    "Fields",
    "Format",
    "InputFile",
    "Limits",
    "Span",
    "discover",
    "format_of",
    "libraries_of",
    "plan_chunks",
    "read",
]

_FIELDS = Fields()
_LIMITS = Limits()


def read(
    span: Span,
    format: str = AUTO,
    source_name: str = "",
    fields: Fields = _FIELDS,
    limits: Limits = _LIMITS,
) -> Iterator[Batch]:
    """Batches of one span: documents, quarantine and counts that balance.

    The columns, the ids and the quarantine do not depend on how files are cut into spans. Broken
    input ends in quarantine, never in an exception.

    Raises: UserError when the file cannot be opened, the format is unknown, or a Parquet column
    that is needed is missing or of another type.
    """
    reader = FORMATS[format_of(span.path, format)]
    yield from reader.read(span, source_name, fields, limits)
