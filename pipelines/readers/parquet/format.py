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

from pipelines.readers.base import COMPRESSION_RATIO, Format, InputFile
from pipelines.readers.batch import Batch, Collector
from pipelines.readers.parquet.columns import BROKEN, check_columns, check_schema
from pipelines.readers.parquet.conversations import is_string, without_absent_arguments
from pipelines.readers.parquet.groups import Extent, HeldChunks, RowGroup, row_groups
from pipelines.readers.parquet.pages import PagesError, TooLargeError
from pipelines.readers.rows.records import (
    INVALID_UTF8,
    RECORD_TOO_LONG,
    RecordRejectedError,
    finite,
    row_of,
)
from pipelines.readers.span import Fields, Limits, Span
from pipelines.readers.streams.opened import open_input

CORRUPT_FILE = "corrupt_file"
CORRUPT_ROW_GROUP = "corrupt_row_group"
ROW_GROUP_TOO_LARGE = "row_group_too_large"
UNREADABLE_VALUE = "unreadable_value"

_UNREADABLE = (ValueError, OverflowError)  # UnicodeDecodeError is a ValueError


def read_parquet(span: Span, source_name: str, fields: Fields, limits: Limits) -> Iterator[Batch]:
    """Batches of the row groups [start, end) of one Parquet file.

    Rows that are no documents are quarantined as in JSON Lines, their raw bytes being the row as
    JSON. A file whose footer cannot be read is quarantined as a whole (corrupt_file), and as one
    record more where its footer counts other rows than its row groups. The unreadable rest of a row
    group is one record at its first row (corrupt_row_group); so is a row group whose footer,
    columns and pages do not agree, or which would fill memory out of next to nothing
    (row_group_too_large).

    Raises: UserError when the file cannot be opened, a needed column is missing or of another type,
    or a column is there twice.
    """
    collector = Collector(span, source_name, fields, limits)
    with open_input(span.url) as handle:
        watched = HeldChunks(handle)
        try:
            file = pq.ParquetFile(watched)
            schema = file.schema_arrow
        except BROKEN as error:
            watched.raise_failure()
            _reject_file(handle, collector, limits, str(error))
            yield collector.take()
            return
        check_schema(schema, fields, span.url)
        end = file.num_row_groups if span.end is None else min(span.end, file.num_row_groups)
        groups = row_groups(file.metadata)
        whole = Extent.of(groups)
        if span.start == 0:
            _check_rows(file.metadata.num_rows, whole.rows, collector)
        offset = sum(group.rows for group in groups[: span.start])
        for group in groups[span.start : end]:
            rows = _read_row_group(file, watched, group, whole, offset, collector, fields, limits)
            for _ in rows:
                if collector.full:
                    yield collector.take()
            offset += group.rows
    if not collector.empty:
        yield collector.take()


def _check_rows(stated: int, rows: int, collector: Collector) -> None:
    """Quarantine the rows that a footer counts and its row groups do not have, or the reverse."""
    if rows != stated:
        detail = f"the footer says {stated:,} rows, its row groups hold {rows:,}"
        collector.reject(0, 0, b"", RecordRejectedError(CORRUPT_FILE, detail))


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
    watched: HeldChunks,
    group: RowGroup,
    whole: Extent,
    offset: int,
    collector: Collector,
    fields: Fields,
    limits: Limits,
) -> Iterator[None]:
    """Collect the rows of a row group, pausing after each so that full batches can be taken."""
    total, rows = group.bytes, group.rows
    done = 0
    reason, complaint = CORRUPT_ROW_GROUP, "the row group ends early"
    tables: Iterator[pa.RecordBatch] = iter(())
    try:
        step = group.step(watched, watched.seek(0, 2), whole, limits)
        tables = file.iter_batches(batch_size=step, row_groups=[group.number], use_threads=False)
    except TooLargeError as error:
        reason, complaint = ROW_GROUP_TOO_LARGE, str(error)
    except PagesError as error:
        complaint = str(error)
    while done < rows:
        try:
            table = next(tables, None)
        except BROKEN as error:
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
    if done < rows or group.stated_rows < 0:
        detail = (
            f"row group {group.number} cannot be read from its row {done} on, "
            f"{rows - done} rows are missing: {complaint}"
        )
        rest = total - total * done // rows if rows else total
        collector.reject(offset + done, rest, b"", RecordRejectedError(reason, detail))
        collector.advance(rest)
        yield
    watched.release()


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
        collector.hold(len(row.text) + len(row.meta or ""))


def _records(table: pa.RecordBatch) -> Iterator[dict[str, Any] | RecordRejectedError]:
    """Rows as dictionaries of JSON values; a row that holds an unreadable value as its
    rejection.
    """
    try:
        rows = _json_values(_readable(table))
    except _UNREADABLE:
        rows = None
    if rows is not None:
        yield from rows
        return
    for row in range(table.num_rows):
        try:
            yield from _json_values(_readable(table.slice(row, 1)))
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
    return [group.bytes for group in row_groups(footer)]


PARQUET = Format(
    name="parquet",
    suffixes=(".parquet", ".pq"),
    compressed=False,
    pieces=_pieces,
    check_fields=check_columns,
    read=read_parquet,
    libraries=("pyarrow", "orjson", "xxhash"),
)
