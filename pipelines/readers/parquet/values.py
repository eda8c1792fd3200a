"""Rows of a table as records: what JSON Lines of the same rows would give."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa

from pipelines.readers.parquet.conversations import is_string, without_absent_arguments
from pipelines.readers.rows.records import INVALID_UTF8, RecordRejectedError, finite

UNREADABLE_VALUE = "unreadable_value"

UNREADABLE = (ValueError, OverflowError)  # UnicodeDecodeError and ArrowInvalid are ValueErrors


def records_of(table: pa.RecordBatch) -> Iterator[dict[str, Any] | RecordRejectedError]:
    """Rows as dictionaries of JSON values; a row that holds an unreadable value as its
    rejection.
    """
    try:
        rows = json_values(readable(table))
    except UNREADABLE:
        rows = None
    if rows is not None:
        yield from rows
        return
    for row in range(table.num_rows):
        try:
            yield from json_values(readable(table.slice(row, 1)))
        except UnicodeDecodeError as error:
            yield RecordRejectedError(
                INVALID_UTF8, f"a string of the row, byte {error.start}: {error.reason}"
            )
        except UNREADABLE as error:
            yield RecordRejectedError(UNREADABLE_VALUE, str(error))


def readable(table: pa.RecordBatch) -> pa.RecordBatch:
    """Columns of dates, times and decimals as text, since Python's own types hold fewer of them."""
    columns = [
        column.cast(pa.string())
        if pa.types.is_temporal(column.type) or pa.types.is_decimal(column.type)
        else column
        for column in table.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=table.schema.names)


def json_values(table: pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows of a table whose values can be read. Raises: one of :data:`UNREADABLE`."""
    rows: list[dict[str, Any]] = table.to_pylist()
    for field in table.schema:
        name = field.name
        if pa.types.is_floating(field.type):
            for row in rows:
                row[name] = None if row[name] is None else finite(row[name])
        elif not _is_json(field.type):
            for row in rows:
                row[name] = orjson.loads(orjson.dumps(row[name], default=as_json))
    without_absent_arguments(rows, table.schema)
    return rows


def as_json(value: Any) -> Any:
    """Values JSON does not know: bytes in base64, every other (decimals, durations) as its text."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


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
