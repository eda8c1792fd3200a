"""From a parsed record to a row of documents, or to the reason why it is none.

Fields that fill no column go into ``meta`` as JSON with sorted keys. An object named ``meta`` is
spread into it first; where one of its keys is also a field of the record, the record's field takes
the place and the other value stays under ``meta``.
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import orjson

from pipelines.readers.rows.conversations import Conversation, conversation_of, hint
from pipelines.readers.rows.rejections import NonFinite, RecordRejectedError, kind_of, not_that
from pipelines.readers.span import Fields

__all__ = [
    "BAD_ID",
    "INVALID_JSON",
    "INVALID_UTF8",
    "LINE_TOO_LONG",
    "LONE_SURROGATE",
    "NOT_AN_OBJECT",
    "NO_TEXT",
    "RECORD_TOO_LONG",
    "RecordRejectedError",
    "Row",
    "canonical_json",
    "default_of",
    "finite",
    "row_of",
    "spread",
]

INVALID_JSON = "invalid_json"
INVALID_UTF8 = "invalid_utf8"
NOT_AN_OBJECT = "not_an_object"
NO_TEXT = "no_text"
BAD_ID = "bad_id"
LONE_SURROGATE = "lone_surrogate"
NUMBER_TOO_LARGE = "number_too_large"
LINE_TOO_LONG = "line_too_long"
RECORD_TOO_LONG = "record_too_long"


class Row(NamedTuple):
    """Columns of one document that come from its record."""

    text: str
    native_id: str | None = None
    lang: str | None = None
    url: str | None = None
    license: str | None = None
    date: str | None = None
    meta: str | None = None
    messages: Conversation | None = None


def row_of(record: Any, fields: Fields) -> Row:
    """The row of a parsed record, which is emptied on the way.

    Raises: RecordRejectedError with not_an_object, bad_id, no_text, bad_messages,
    content_not_text, unwanted_answer or invalid_json.
    """
    if not isinstance(record, dict):
        raise RecordRejectedError(
            NOT_AN_OBJECT, f"a record is a JSON object, this is {kind_of(record)}"
        )
    native_id = None if fields.id_field is None else _native_id(record, fields.id_field)
    messages = None
    if fields.messages_field is None:
        text = _text(record, fields.text_field)
    else:
        messages = conversation_of(record, fields.messages_field)
        text = messages.text()
    lang = _string(record, fields.lang_field) or default_of(record, fields.lang_field, fields.lang)
    url = _string(record, fields.url_field)
    license_ = _string(record, fields.license_field) or default_of(
        record, fields.license_field, fields.license
    )
    date = _string(record, fields.date_field)
    return Row(text, native_id, lang, url, license_, date, _meta(record, fields), messages)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces.

    Raises: RecordRejectedError with invalid_json when the value is nested too deeply.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:  # integers beyond 64 bits, or nested deeper than orjson writes
        pass
    try:
        return json.dumps(
            value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
        )
    except RecursionError:
        raise RecordRejectedError(INVALID_JSON, "nested too deeply") from None


def _native_id(record: dict[str, Any], id_field: str) -> str:
    value = record.pop(id_field, None)
    if type(value) is str and value:
        return value
    if type(value) is int:
        return str(value)
    found = not_that(value, "a string or an integer")
    raise RecordRejectedError(BAD_ID, f"field {id_field!r} is {found}")


def _text(record: dict[str, Any], text_field: str) -> str:
    value = record.pop(text_field, None)
    if type(value) is str and value and not value.isspace():
        return value
    found = "empty" if type(value) is str else not_that(value, "a string")
    raise RecordRejectedError(NO_TEXT, f"field {text_field!r} is {found}{hint(record)}")


def _string(record: dict[str, Any], name: str) -> str | None:
    """A field that fills a column if it is a string; any other value stays behind for meta."""
    value = record.get(name)
    if type(value) is str or value is None:
        record.pop(name, None)
        return value
    return None


def default_of(rest: dict[str, Any], name: str, default: str | None) -> str | None:
    """What fills a column that a record has no string for; nothing where another value of that name
    stays in ``rest``.
    """
    return None if name in rest else default


def _meta(record: dict[str, Any], fields: Fields) -> str | None:
    rest = spread(record, fields)
    return canonical_json(rest) if rest else None


def spread(record: dict[str, Any], fields: Fields) -> dict[str, Any]:
    """What ``meta`` keeps of a record that was emptied of its columns: an object named ``meta`` is
    spread into the rest.

    Members of it whose names the record or a column has already stay in an object ``meta``, so that
    no name is said twice.
    """
    inner = record.get("meta")
    if type(inner) is not dict:
        return record
    del record["meta"]
    clash = {
        key: inner.pop(key)
        for key in [key for key in inner if key in record or key in fields.named or key == "meta"]
    }
    rest = {**inner, **record}
    if clash:
        rest["meta"] = clash
    return rest


def finite(value: float) -> float | NonFinite:
    """The value, NaN and infinities as what ``meta`` keeps of them."""
    if math.isfinite(value):
        return value
    return NonFinite("NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity")
