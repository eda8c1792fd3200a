"""Columns of documents from those of a table, with no Python object per text.

What is usual is a column of strings for each column of documents that the table has, and rows with
a text and, where one is asked for, an id. Every other row is left to
:mod:`pipelines.readers.parquet.values`, which is the definition of what a row means; both give the
same columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.readers.parquet.conversations import is_string
from pipelines.readers.parquet.values import UNREADABLE, json_values, readable
from pipelines.readers.rows.plain import meta_column
from pipelines.readers.rows.visible import visible_texts
from pipelines.readers.span import Fields


class Usual(NamedTuple):
    """Columns of a :class:`pipelines.readers.rows.records.Row` but the messages, by name, of n
    rows; the rows for which they hold, (n,); and the bytes that text and meta take up to each,
    (n,).
    """

    columns: dict[str, pa.Array]
    holds: NDArray[np.bool_]
    taken: NDArray[np.int64]


def usual_columns(table: pa.RecordBatch, fields: Fields, record_bytes: int) -> Usual | None:
    """Columns of a table, whose texts of more than ``record_bytes`` are not usual; None where it
    is not a usual one.
    """
    sources = {
        "text": fields.text_field,
        "native_id": fields.id_field,
        "lang": fields.lang_field,
        "url": fields.url_field,
        "license": fields.license_field,
        "date": fields.date_field,
    }
    named = [name for name in sources.values() if name is not None]
    if fields.messages_field is not None or len(set(named)) < len(named):
        return None
    try:
        table = readable(table)
        columns = {column: _strings(table, name, column) for column, name in sources.items()}
        others = [name for name in table.schema.names if name not in named]
        meta = meta_column(json_values(table.select(others)), fields) if others else None
    except (NotUsualError, *UNREADABLE):
        return None
    if others and meta is None:
        return None
    for column, default in (("lang", fields.lang), ("license", fields.license)):
        columns[column] = _defaulted(columns[column], default)
    columns["meta"] = pa.nulls(table.num_rows, pa.large_string()) if meta is None else meta
    holds = _with_text(columns["text"], record_bytes)
    if fields.id_field is not None:
        holds &= _lengths(columns["native_id"]) > 0
    taken = np.cumsum(_lengths(columns["text"]) + _lengths(columns["meta"]))
    return Usual(columns, holds, taken)


class NotUsualError(Exception):
    """A column of documents that a table does not have as strings."""


def _strings(table: pa.RecordBatch, name: str | None, use: str) -> pa.Array:
    """A column of a table as the strings of one of documents, nulls where it has none.

    Raises: NotUsualError for a column of another type, ArrowInvalid for strings that are no UTF-8.
    """
    kind = pa.large_string() if use == "text" else pa.string()
    if name is None or name not in table.schema.names:
        return pa.nulls(table.num_rows, kind)
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    integers = use == "native_id" and pa.types.is_integer(column.type)
    if not (is_string(column.type) or pa.types.is_null(column.type) or integers):
        raise NotUsualError(name)
    column.validate(full=True)
    return column.cast(kind)


def _defaulted(values: pa.Array, default: str | None) -> pa.Array:
    """What a row does not say, or says with nothing, is the default."""
    said = pc.not_equal(values, "")
    if pc.all(said, skip_nulls=False).as_py():
        return values
    return pc.if_else(pc.fill_null(said, False), values, pa.scalar(default, values.type))


def _with_text(texts: pa.LargeStringArray, most_bytes: int) -> NDArray[np.bool_]:
    """The texts of at most so many bytes that surely have more than white space."""
    _, ends, data = texts.buffers()
    found = np.zeros(len(texts), np.bool_)
    if data is not None and ends is not None:
        window = np.frombuffer(ends, np.int64)[texts.offset : texts.offset + len(texts) + 1]
        visible_texts(np.frombuffer(data, np.uint8), window, found)
    found &= texts.is_valid().to_numpy(zero_copy_only=False)
    found &= _lengths(texts) <= most_bytes
    return found


def _lengths(values: pa.Array) -> NDArray[np.int64]:
    """Bytes of each value, 0 for a null."""
    lengths = pc.fill_null(pc.binary_length(values), 0).cast(pa.int64())
    found: NDArray[np.int64] = lengths.to_numpy(zero_copy_only=False)
    return found
