"""Conversations as members of JSON records, in OpenAI's spelling."""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow as pa

from artifacts.messages import without_nulls

FIELD = "messages"


def with_messages(documents: pa.RecordBatch) -> pa.LargeStringArray:
    """The further fields of conversations, ``messages`` before those of ``meta``."""
    records = zip(documents["messages"].to_pylist(), documents["meta"].to_pylist(), strict=True)
    return pa.array([_record(messages, meta) for messages, meta in records], pa.large_string())


def _record(messages: list[dict[str, Any]] | None, meta: str | None) -> str | None:
    """Members of an object, the messages first; a member of ``meta`` of the same name is in an
    object ``meta``, as :func:`pipelines.readers.rows.records.spread` reads it.
    """
    if messages is None:
        return meta
    said = [_said(message) for message in without_nulls(messages)]
    rest = orjson.loads(meta) if meta else {}
    if FIELD in rest:
        rest["meta"] = {FIELD: rest.pop(FIELD), **rest.get("meta", {})}
    return orjson.dumps({FIELD: said, **rest}).decode()


def _said(message: dict[str, Any]) -> dict[str, Any]:
    if "tool_calls" in message:
        message["tool_calls"] = orjson.loads(message["tool_calls"])
    return message
