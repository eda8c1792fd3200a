"""Conversations in Parquet: which columns may hold them, and what their types cannot say.

A struct has every member in every row, so a tool call whose arguments are a struct is read with
those of all other calls, as nulls. These are left out again: which of them a call had as null
cannot be told.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from artifacts.errors import UserError
from pipelines.readers.rows.conversations import ANSWERS, INSTRUCTION, LISTS

ALLOWED = [
    "list<struct<role: string, content: string>>",
    "list<struct<from: string, value: string>>",
    "string, of instruction beside output or response",
]


class NotTextsError(UserError):
    """A table of conversations was to be read as texts."""


def is_string(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def conversation_columns(schema: pa.Schema) -> list[str]:
    """Columns that may hold conversations: lists of messages, else instructions with answers."""
    lists = [name for name in LISTS if _messages_of(schema, name) is not None]
    return lists or [INSTRUCTION] * is_conversation(schema, INSTRUCTION)


def is_conversation(schema: pa.Schema, name: str) -> bool:
    """True if a column's type is that of a conversation."""
    if name == INSTRUCTION and is_string(_kind(schema, name)):
        return any(is_string(_kind(schema, answer)) for answer in ANSWERS)
    return _messages_of(schema, name) is not None


def without_absent_arguments(rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    """Take the nulls out of tool calls' arguments, in columns where these are structs."""
    for name in schema.names:
        message = _messages_of(schema, name)
        if message is None or not (
            _has_structs(_member(_item(_member(message, "tool_calls")), "function"))
            or _has_structs(_item(_member(message, "tool_calls")))
            or _has_structs(_member(message, "function_call"))
        ):
            continue
        for row in rows:
            for said in row[name] or ():
                _tidy(said)


def _tidy(message: dict[str, Any] | None) -> None:
    if message is None:
        return
    calls = message.get("tool_calls")
    for call in [*(calls if type(calls) is list else ()), message.get("function_call")]:
        for function in (call, call.get("function")) if type(call) is dict else ():
            if type(function) is dict and "arguments" in function:
                function["arguments"] = _present(function["arguments"])


def _present(value: Any) -> Any:
    if type(value) is dict:
        return {name: _present(inner) for name, inner in value.items() if inner is not None}
    return [*map(_present, value)] if type(value) is list else value


def _kind(schema: pa.Schema, name: str) -> pa.DataType:
    if schema.names.count(name) != 1:
        return pa.null()
    kind = schema.field(name).type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _messages_of(schema: pa.Schema, name: str) -> pa.DataType | None:
    """The type of a column's messages; None where it holds none."""
    message = _item(_kind(schema, name))
    for role, content in (("role", "content"), ("from", "value")):
        said = _member(message, content)
        parts = not pa.types.is_null(_item(said))
        if is_string(_member(message, role)) and (is_string(said) or parts):
            return message
    return None


def _item(kind: pa.DataType) -> pa.DataType:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return kind.value_type if lists else pa.null()


def _member(kind: pa.DataType, name: str) -> pa.DataType:
    if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
        return pa.null()
    return kind.field(name).type


def _has_structs(function: pa.DataType) -> bool:
    return bool(pa.types.is_struct(_member(function, "arguments")))
