"""The format ``parquet``, by row groups: what JSON Lines of the same rows would give.

Offsets are row numbers in the file. The bytes of a batch are its rows' share of the uncompressed
size the footer states for their row group.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.errors import UserError
from pipelines.readers.base import COMPRESSION_RATIO, Format, InputFile
from pipelines.readers.batch import Batch, Collector
from pipelines.readers.parquet_conversations import (
    ALLOWED,
    NotTextsError,
    conversation_columns,
    is_conversation,
    is_string,
    without_absent_arguments,
)
from pipelines.readers.records import (
    INVALID_UTF8,
    RECORD_TOO_LONG,
    RecordRejectedError,
    finite,
    row_of,
)
from pipelines.readers.span import Fields, Limits, Span
from pipelines.readers.streams import open_input
from pipelines.readers.watched import WatchedFile

CORRUPT_FILE = "corrupt_file"
CORRUPT_ROW_GROUP = "corrupt_row_group"
UNREADABLE_VALUE = "unreadable_value"

_LARGEST_STEP = 8192  # rows
_BROKEN = (pa.ArrowException, OSError)
_UNREADABLE = (ValueError, OverflowError)  # UnicodeDecodeError is a ValueError


def read_parquet(span: Span, source_name: str, fields: Fields, limits: Limits) -> Iterator[Batch]:
    """Batches of the row groups [start, end) of one Parquet file.

    Rows that are no documents are quarantined as in JSON Lines, their raw bytes being the row as
    JSON. A file whose footer cannot be read is quarantined as a whole (corrupt_file), the
    unreadable rest of a row group as one record at its first row (corrupt_row_group).

    Raises: UserError when the file cannot be opened, a needed column is missing or of another type.
    """
    collector = Collector(span, source_name, fields, limits)
    with open_input(span.url) as handle:
        watched = WatchedFile(handle)
        try:
            file = pq.ParquetFile(watched)
            schema = file.schema_arrow
        except _BROKEN as error:
            watched.raise_failure()
            _reject_file(handle, collector, limits, str(error))
            yield collector.take()
            return
        _check_columns(schema, fields, span.url)
        offset = sum(file.metadata.row_group(group).num_rows for group in range(span.start))
        end = file.num_row_groups if span.end is None else min(span.end, file.num_row_groups)
        for group in range(span.start, end):
            for _ in _read_row_group(file, watched, group, offset, collector, fields, limits):
                if collector.full:
                    yield collector.take()
            offset += file.metadata.row_group(group).num_rows
    if not collector.empty:
        yield collector.take()


def _reject_file(handle: Any, collector: Collector, limits: Limits, complaint: str) -> None:
    length = handle.seek(0, 2)
    handle.seek(0)
    collector.reject(
        0,
        length,
        handle.read(limits.quarantine_bytes),
        RecordRejectedError(CORRUPT_FILE, complaint),
    )
    collector.advance(length)


def _read_row_group(
    file: pq.ParquetFile,
    watched: WatchedFile,
    group: int,
    offset: int,
    collector: Collector,
    fields: Fields,
    limits: Limits,
) -> Iterator[None]:
    """Collect the rows of a row group, pausing after each so that full batches can be taken."""
    footer = file.metadata.row_group(group)
    total, rows = footer.total_byte_size, footer.num_rows
    step = max(1, min(_LARGEST_STEP, limits.batch_bytes * rows // max(1, total)))
    batches = file.iter_batches(batch_size=step, row_groups=[group], use_threads=False)
    done = 0
    complaint = "the row group ends early"
    while done < rows:
        try:
            table = next(batches, None)
        except _BROKEN as error:
            watched.raise_failure()
            complaint = str(error)
            break
        if table is None:
            break
        for record in _records(table):
            _collect(record, offset + done, collector, fields, limits)
            done += 1
            collector.advance(total * done // rows - total * (done - 1) // rows)
            yield
    if done < rows:
        detail = (
            f"row group {group} cannot be read from its row {done} on, "
            f"{rows - done} rows are missing: {complaint}"
        )
        rest = total - total * done // rows
        collector.reject(offset + done, rest, b"", RecordRejectedError(CORRUPT_ROW_GROUP, detail))
        collector.advance(rest)
        yield


def _collect(
    record: dict[str, Any] | RecordRejectedError,
    offset: int,
    collector: Collector,
    fields: Fields,
    limits: Limits,
) -> None:
    if isinstance(record, RecordRejectedError):
        collector.reject(offset, 0, b"", record)
        return
    untouched = dict(record)
    try:
        row = row_of(record, fields)
        if len(row.text) > limits.record_bytes:
            raise RecordRejectedError(
                RECORD_TOO_LONG,
                f"{len(row.text)} characters, the limit is {limits.record_bytes} bytes",
            )
    except RecordRejectedError as rejection:
        raw = orjson.dumps(untouched, default=_as_json)
        collector.reject(offset, len(raw), raw, rejection)
    else:
        collector.add(row, offset)


def _records(table: pa.RecordBatch) -> Iterator[dict[str, Any] | RecordRejectedError]:
    """Rows as dictionaries of JSON values; a row that holds an unreadable value as its
    rejection.
    """
    readable = _readable(table)
    try:
        rows = _json_values(readable)
    except _UNREADABLE:
        rows = None
    if rows is not None:
        yield from rows
        return
    for row in range(readable.num_rows):
        try:
            yield from _json_values(readable.slice(row, 1))
        except UnicodeDecodeError as error:
            yield RecordRejectedError(
                INVALID_UTF8, f"a string of the row, byte {error.start}: {error.reason}"
            )
        except _UNREADABLE as error:
            yield RecordRejectedError(UNREADABLE_VALUE, str(error))


def _readable(table: pa.RecordBatch) -> pa.RecordBatch:
    """Columns of dates, times and decimals as text, since Python's own types hold fewer of them."""
    columns = [
        column.cast(pa.string())
        if pa.types.is_temporal(column.type) or pa.types.is_decimal(column.type)
        else column
        for column in table.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=table.schema.names)


def _json_values(table: pa.RecordBatch) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.to_pylist()
    for field in table.schema:
        name = field.name
        if pa.types.is_floating(field.type):
            for row in rows:
                row[name] = None if row[name] is None else finite(row[name])
        elif not _is_json(field.type):
            for row in rows:
                row[name] = orjson.loads(orjson.dumps(row[name], default=_as_json))
    without_absent_arguments(rows, table.schema)
    return rows


def _is_json(kind: pa.DataType) -> bool:
    """True if Python values of the type are written to JSON as they are."""
    if pa.types.is_struct(kind):
        return all(_is_json(kind.field(place).type) for place in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _is_json(kind.value_type)
    if pa.types.is_dictionary(kind):
        return _is_json(kind.value_type)
    return bool(
        is_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_null(kind)
    )


def _as_json(value: Any) -> Any:
    """Values JSON does not know: bytes in base64, every other (decimals, durations) as its text."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def check_columns(url: str, fields: Fields) -> None:
    """Refuse fields that a Parquet file has no column for; a file whose footer cannot be read
    passes. Raises: UserError.
    """
    with open_input(url) as handle:
        watched = WatchedFile(handle)
        try:
            schema = pq.read_schema(watched)
        except _BROKEN:
            watched.raise_failure()
            return
    _check_columns(schema, fields, url)


def _check_columns(schema: pa.Schema, fields: Fields, url: str) -> None:
    """Refuse a schema in which a needed column is missing or of another type."""

    def needed(name: str, allowed: list[str], fits: bool) -> None:
        if name not in schema.names:
            raise UserError(
                "the column is missing",
                file=url,
                field=name,
                found=name,
                allowed=schema.names,
                fix="name the column of the source, as in text_field: …",
            )
        if not fits:
            raise UserError(
                "the column has another type",
                file=url,
                field=name,
                found=schema.field(name).type,
                allowed=allowed,
                fix="name another column, or write this one with an allowed type",
            )

    def kind(name: str) -> pa.DataType:
        found = schema.field(name).type if name in schema.names else pa.null()
        return found.value_type if pa.types.is_dictionary(found) else found

    if fields.messages_field is None:
        found = conversation_columns(schema)
        if fields.text_field not in schema.names and found:
            raise NotTextsError(
                "the column is missing, and the rows are conversations",
                file=url,
                field=fields.text_field,
                found=fields.text_field,
                allowed=schema.names,
                fix=f"set messages_field: {found[0]}",
            )
        needed(fields.text_field, ["string", "large_string"], is_string(kind(fields.text_field)))
    elif fields.messages_field in schema.names or len(conversation_columns(schema)) != 1:
        needed(fields.messages_field, ALLOWED, is_conversation(schema, fields.messages_field))
    if fields.id_field is not None:
        key = kind(fields.id_field)
        needed(
            fields.id_field,
            ["string", "large_string", "int64"],
            is_string(key) or pa.types.is_integer(key),
        )


def _pieces(file: InputFile, chunk_bytes: int) -> Iterator[tuple[Span, int]]:
    """Files are cut between row groups."""
    sizes = _row_group_bytes(file)
    if sum(sizes) <= chunk_bytes:
        yield Span(file.url, file.path), sum(sizes) or COMPRESSION_RATIO * file.bytes
        return
    start, weight = 0, 0
    for group, size in enumerate(sizes):
        if group > start and weight + size > chunk_bytes:
            yield Span(file.url, file.path, start, group), weight
            start, weight = group, 0
        weight += size
    yield Span(file.url, file.path, start, None), weight


def _row_group_bytes(file: InputFile) -> list[int]:
    """Uncompressed bytes of each row group; none for a file that is no Parquet, which the reader
    will quarantine.
    """
    with open_input(file.url) as handle:
        try:
            footer = pq.read_metadata(handle)
        except (pa.ArrowInvalid, OSError):
            return []
    return [footer.row_group(group).total_byte_size for group in range(footer.num_row_groups)]


PARQUET = Format(
    name="parquet",
    suffixes=(".parquet", ".pq"),
    compressed=False,
    pieces=_pieces,
    check_fields=check_columns,
    read=read_parquet,
    libraries=("pyarrow", "orjson", "xxhash"),
)
