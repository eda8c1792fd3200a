"""Why a record is no document: what quarantine says of it."""

from __future__ import annotations

from typing import Any

BAD_MESSAGES = "bad_messages"
CONTENT_NOT_TEXT = "content_not_text"
UNWANTED_ANSWER = "unwanted_answer"

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
    """NaN or an infinity of a record: no JSON number, so ``meta`` keeps it as a string."""

    __slots__ = ()


def kind_of(value: Any) -> str:
    """What a JSON value is, as a detail says it."""
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


def not_that(value: Any, wanted: str) -> str:
    """What a value is in place of what was wanted: ``missing or null``, ``empty``, ``an integer,
    not a list``.
    """
    if value is None:
        return "missing or null"
    if value in ("", [], {}):
        return "empty"
    return f"{kind_of(value)}, not {wanted}"
