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

from pipelines.readers.span import Fields

INVALID_JSON = "invalid_json"
INVALID_UTF8 = "invalid_utf8"
NOT_AN_OBJECT = "not_an_object"
NO_TEXT = "no_text"
BAD_ID = "bad_id"
BAD_MESSAGES = "bad_messages"
LONE_SURROGATE = "lone_surrogate"
NUMBER_TOO_LARGE = "number_too_large"
LINE_TOO_LONG = "line_too_long"
RECORD_TOO_LONG = "record_too_long"

DETAIL_CHARACTERS = 300


class RecordRejectedError(Exception):
    """Why a record goes into quarantine: a reason code and a sentence for people."""

    def __init__(self, reason: str, detail: str | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = (
            None
            if detail is None
            else detail[:DETAIL_CHARACTERS].encode("utf-8", "backslashreplace").decode()
        )


class NonFinite(str):
    """NaN or an infinity of a Parquet column: no JSON number, so ``meta`` keeps it as a string."""

    __slots__ = ()


class Row(NamedTuple):
    """Columns of one document that come from its record; messages are (role, content) pairs."""

    text: str
    native_id: str | None = None
    lang: str | None = None
    url: str | None = None
    license: str | None = None
    date: str | None = None
    meta: str | None = None
    messages: tuple[tuple[str, str], ...] | None = None


def row_of(record: Any, fields: Fields) -> Row:
    """The row of a parsed record, which is emptied on the way.

    Raises: RecordRejectedError with not_an_object, bad_id, no_text, bad_messages or invalid_json.
    """
    if not isinstance(record, dict):
        raise RecordRejectedError(
            NOT_AN_OBJECT, f"a record is a JSON object, this is {_kind(record)}"
        )
    native_id = None if fields.id_field is None else _native_id(record, fields.id_field)
    messages = None
    if fields.messages_field is None:
        text = _text(record, fields.text_field)
    else:
        messages = _messages(record, fields.messages_field)
        text = "\n\n".join([content for _, content in messages])
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
    found = (
        "missing or null"
        if value is None
        else "empty"
        if value == ""
        else f"{_kind(value)}, not a string or an integer"
    )
    raise RecordRejectedError(BAD_ID, f"field {id_field!r} is {found}")


def _text(record: dict[str, Any], text_field: str) -> str:
    value = record.pop(text_field, None)
    if type(value) is str and value and not value.isspace():
        return value
    found = (
        "missing or null"
        if value is None
        else "empty"
        if type(value) is str
        else f"{_kind(value)}, not a string"
    )
    hint = (
        "; the record has 'messages': set messages_field for instruction data"
        if "messages" in record
        else ""
    )
    raise RecordRejectedError(NO_TEXT, f"field {text_field!r} is {found}{hint}")


def _messages(record: dict[str, Any], messages_field: str) -> tuple[tuple[str, str], ...]:
    value = record.pop(messages_field, None)
    if type(value) is not list or not value:
        found = (
            "missing or null"
            if value is None
            else "empty"
            if value == []
            else f"{_kind(value)}, not a list"
        )
        raise RecordRejectedError(BAD_MESSAGES, f"field {messages_field!r} is {found}")
    pairs, extras = [], []
    for place, message in enumerate(value):
        if type(message) is not dict:
            raise RecordRejectedError(
                BAD_MESSAGES, f"message {place} is {_kind(message)}, not an object"
            )
        role, content = message.pop("role", None), message.pop("content", None)
        for name, part in (("role", role), ("content", content)):
            if type(part) is not str:
                raise RecordRejectedError(
                    BAD_MESSAGES, f"message {place}: {name} is {_kind(part)}, not a string"
                )
        pairs.append((role, content))
        extras.append(message)
    if all(not content.strip() for _, content in pairs):
        raise RecordRejectedError(BAD_MESSAGES, "every message is empty")
    if any(extras):
        record["message_fields"] = (
            [extras, record["message_fields"]] if "message_fields" in record else extras
        )
    return tuple(pairs)


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


def _kind(value: Any) -> str:
    names = {
        dict: "an object",
        list: "an array",
        str: "a string",
        bool: "a boolean",
        int: "an integer",
        float: "a number",
        NonFinite: "not a finite number",
    }
    return "null" if value is None else names.get(type(value), type(value).__name__)
