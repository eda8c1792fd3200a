"""Many parsed records at once into columns: the records in which nothing is unusual, which are
nearly all.

A pass per field over a run of records costs a fraction of a pass over the fields of each. What
:func:`odd_rows` names goes through :func:`pipelines.readers.rows.records.row_of` instead, which
says what is wrong with it; both give the same columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pyarrow as pa

from pipelines.readers.rows.records import default_of, spread
from pipelines.readers.span import Fields

Columns = dict[str, "list[str | None] | pa.Array"]  # columns of a Row but the messages, by name

SHORT_LINE = 64  # bytes
_STRINGS = {str}
_STRINGS_OR_NONE = {str, type(None)}
_IDS = {str, int}


def parsed(lines: Sequence[bytes]) -> list[Any]:
    """The value of each line, None for one that orjson does not parse."""
    try:
        return list(map(orjson.loads, lines))
    except orjson.JSONDecodeError:
        bad: set[bytes] = set()  # a file of one bad line again and again should cost little
        return [_value(line, bad) for line in lines]


def odd_rows(records: Sequence[Any], fields: Fields) -> list[int]:
    """Rows that may be no document, ascending; of conversations every row."""
    if fields.messages_field is not None or fields.id_field == fields.text_field:
        return list(range(len(records)))
    if set(map(type, records)) == {dict}:
        texts = [record.get(fields.text_field) for record in records]
        usable = (
            set(map(type, texts)) == _STRINGS and all(texts) and not any(map(str.isspace, texts))
        )
        if usable and fields.id_field is not None:
            ids = [record.get(fields.id_field) for record in records]
            usable = set(map(type, ids)) <= _IDS and "" not in ids
        if usable:
            return []
    return [row for row, record in enumerate(records) if not _usable(record, fields)]


def plain_columns(records: Sequence[dict[str, Any]], fields: Fields) -> Columns | None:
    """Columns of records that are not odd, which are emptied on the way; None where one holds what
    orjson does not write.
    """
    natives: list[str | None] = [None] * len(records)
    if fields.id_field is not None:
        ids = [record.pop(fields.id_field) for record in records]
        natives = ids if set(map(type, ids)) == _STRINGS else [str(value) for value in ids]
    columns: Columns = {
        "native_id": natives,
        "text": [record.pop(fields.text_field) for record in records],
        "lang": _defaulted(records, fields.lang_field, fields.lang),
        "url": _strings(records, fields.url_field),
        "license": _defaulted(records, fields.license_field, fields.license),
        "date": _strings(records, fields.date_field),
    }
    meta = meta_column(records, fields)
    if meta is None:
        return None
    columns["meta"] = meta
    return columns


def meta_column(records: Sequence[dict[str, Any]], fields: Fields) -> pa.LargeStringArray | None:
    """What ``meta`` keeps of records that were emptied of their columns; None where one holds what
    orjson does not write.
    """
    try:
        rest = [
            orjson.dumps(fuller, option=orjson.OPT_SORT_KEYS)
            if (fuller := spread(record, fields))
            else None
            for record in records
        ]
    except orjson.JSONEncodeError:  # nested deeper than it writes
        return None
    return pa.array(rest, pa.large_binary()).view(pa.large_string())


def _value(line: bytes, bad: set[bytes]) -> Any:
    short = len(line) < SHORT_LINE
    if short and line in bad:
        return None
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        if short:
            bad.add(line)
        return None


def _usable(record: Any, fields: Fields) -> bool:
    if type(record) is not dict:
        return False
    text = record.get(fields.text_field)
    if type(text) is not str or not text or text.isspace():
        return False
    identity = None if fields.id_field is None else record.get(fields.id_field)
    return fields.id_field is None or (type(identity) in _IDS and identity != "")


def _defaulted(
    records: Sequence[dict[str, Any]], name: str, default: str | None
) -> list[str | None]:
    values = _strings(records, name)
    return [
        value or default_of(record, name, default)
        for value, record in zip(values, records, strict=True)
    ]


def _strings(records: Sequence[dict[str, Any]], name: str) -> list[str | None]:
    """A field's values where they are strings or missing; any other value stays behind for meta."""
    values = [record.pop(name, None) for record in records]
    if not set(map(type, values)) <= _STRINGS_OR_NONE:
        for row, value in enumerate(values):
            if type(value) is not str and value is not None:
                records[row][name], values[row] = value, None
    return values
