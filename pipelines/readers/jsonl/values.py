"""One line of JSON to its value, with the digits of integers kept whatever they are.

orjson reads nearly every line. What it refuses and Python reads is nested deeply, or has surrogates
that stand alone; what it reads otherwise than written are integers beyond 64 bits. A fraction is
the double nearest to it, as in every reader; a number beyond all doubles is refused, since no
reader of ``meta`` could hold it.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import orjson

from pipelines.readers.jsonl.numbers import holds_wide_integer
from pipelines.readers.rows.records import (
    INVALID_JSON,
    INVALID_UTF8,
    LONE_SURROGATE,
    NUMBER_TOO_LARGE,
    RecordRejectedError,
)

_SHOWN_DIGITS = 40
_LONGEST_INTEGER = 309  # digits of the largest double
_DEEPEST_SHORT = 255  # brackets at least of a line that orjson refuses for its depth alone


def parse_record(line: bytes) -> Any:
    """Parse one JSON value, integers exactly, at a depth that orjson refuses too.

    Raises: RecordRejectedError with invalid_utf8, invalid_json, number_too_large or lone_surrogate.
    """
    complaint = "an integer cannot be read"
    try:
        value = orjson.loads(line)
        if not holds_wide_integer(line):
            return value
    except orjson.JSONDecodeError as error:
        complaint = str(error)
        if _hopeless(line):
            raise RecordRejectedError(INVALID_JSON, complaint) from None
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordRejectedError(INVALID_UTF8, f"byte {error.start}: {error.reason}") from None
    try:
        value = json.loads(text, parse_constant=_no_number, parse_float=_number, parse_int=_integer)
    except RecursionError:
        raise RecordRejectedError(INVALID_JSON, "nested too deeply") from None
    except ValueError:
        raise RecordRejectedError(INVALID_JSON, complaint) from None
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise RecordRejectedError(
            LONE_SURROGATE, f"U+{ord(error.object[error.start]):04X} stands alone in a string"
        ) from None
    except RecursionError:
        raise RecordRejectedError(INVALID_JSON, "nested too deeply") from None
    return value


def _hopeless(line: bytes) -> bool:
    """True where nothing but wrong syntax makes orjson refuse an ASCII line."""
    return (
        len(line) < _DEEPEST_SHORT
        and line.isascii()
        and b"\\u" not in line
        and b"N" not in line
        and b"I" not in line
        and b"e" not in line
        and b"E" not in line
    )


def _no_number(spelling: str) -> NoReturn:
    raise RecordRejectedError(INVALID_JSON, f"{spelling} is no JSON value")


def _number(spelling: str) -> float:
    value = float(spelling)
    if not math.isfinite(value):
        raise _too_large(spelling)
    return value


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_INTEGER + 1 or not math.isfinite(float(digits)):
        raise _too_large(digits)
    return int(digits)


def _too_large(spelling: str) -> RecordRejectedError:
    shown = spelling if len(spelling) <= _SHOWN_DIGITS else f"{spelling[:_SHOWN_DIGITS]}…"
    return RecordRejectedError(
        NUMBER_TOO_LARGE, f"{shown} ({len(spelling)} characters) is beyond every double"
    )
