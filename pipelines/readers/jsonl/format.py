"""The format ``jsonl``: JSON Lines, plain (cut between lines) or compressed (read whole)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

import orjson

from artifacts.errors import UserError
from pipelines.readers.base import Format, InputFile, any_fields, whole_file
from pipelines.readers.batch import Batch
from pipelines.readers.rows.conversations import recognised
from pipelines.readers.rows.records import BAD_ID, NO_TEXT
from pipelines.readers.span import Fields, Limits, Span
from pipelines.readers.streams.opened import compression_of

_FIRST_BYTES = 1 << 20  # of a file, whose records are looked at before a run


def _pieces(file: InputFile, chunk_bytes: int) -> Iterator[tuple[Span, int]]:
    """Plain files are cut at multiples of ``chunk_bytes``, but for arrays."""
    small = compression_of(file.path) is not None or file.bytes <= chunk_bytes
    if small or _is_array(file):
        yield from whole_file(file, chunk_bytes)
        return
    starts = range(0, file.bytes, chunk_bytes)
    for start in starts:
        end = None if start == starts[-1] else start + chunk_bytes
        yield Span(file.url, file.path, start, end), min(chunk_bytes, file.bytes - start)


def _is_array(file: InputFile) -> bool:
    if PurePosixPath(file.path).suffix.lower() != ".json":
        return False
    # late: its kernel loads numba
    from pipelines.readers.jsonl.arrays import is_array

    return is_array(file.url)


def _read(span: Span, source_name: str, fields: Fields, limits: Limits) -> Iterator[Batch]:
    # late: its kernels load numba
    from pipelines.readers.jsonl.reading import read_json_lines

    return read_json_lines(span, source_name, fields, limits)


def _check_records(file: InputFile, fields: Fields) -> None:
    """Refuse fields that none of the first records has. Raises: UserError naming those they
    have.
    """
    first, _ = next(_pieces(file, _FIRST_BYTES))
    batch = next(_read(first, "", fields, Limits(batch_bytes=_FIRST_BYTES)), None)
    if batch is None or batch.documents.num_rows or not batch.quarantine.num_rows:
        return
    try:
        record = orjson.loads(batch.quarantine["raw"][0].as_py())
    except orjson.JSONDecodeError:
        return
    asked = {NO_TEXT: ("text_field", str), BAD_ID: ("id_field", str | int)}
    field, kind = asked.get(batch.quarantine["reason"][0].as_py(), (None, str))
    if field is None or not isinstance(record, dict):
        return
    allowed = [name for name, value in record.items() if isinstance(value, kind)]
    conversation = recognised(record) if field == "text_field" else []
    raise UserError(
        f"no record at the beginning of this file has a usable {field.replace('_', ' ')}",
        file=file.url,
        field=field,
        found=getattr(fields, field),
        allowed=allowed or None,
        fix=f"run a recipe whose source says messages_field: {conversation[0]}"
        if conversation
        else "name one of the fields above"
        if allowed
        else "look at the file: its records have no such field",
    )


JSONL = Format(
    name="jsonl",
    suffixes=(".jsonl", ".ndjson", ".json"),
    compressed=True,
    pieces=_pieces,
    check_fields=any_fields,
    read=_read,
    libraries=("pyarrow", "orjson", "zstandard", "xxhash"),
    check_records=_check_records,
)
