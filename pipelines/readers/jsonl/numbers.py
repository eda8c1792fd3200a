"""Integers in JSON that 64 bits do not hold: orjson would make the nearest double of them.

    rows = wide_rows(data, ends)   # of many records at once, at the speed of memory

A run of 19 digits covers a place that 19 divides, so that few bytes are looked at.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel
from pipelines.readers.jsonl.scan import MINUS, NINE, PADDING, QUOTE, ZERO, Bytes, Ends, string_end

_FEWEST = 19  # digits of an integer that may be beyond 64 bits
_SIGNED = np.frombuffer(b"9223372036854775808", np.uint8)
_UNSIGNED = np.frombuffer(b"18446744073709551615", np.uint8)
_FRACTION = np.zeros(256, np.bool_)  # bytes of a number that is not spelled as an integer
_FRACTION[[ord(sign) for sign in "0123456789.eE+-"]] = True
_BEGINS_FRACTION = np.zeros(256, np.bool_)
_BEGINS_FRACTION[[ord(sign) for sign in ".eE"]] = True


@kernel
def wide_rows(data: Bytes, ends: Ends, wide: NDArray[np.bool_]) -> None:
    """Which records, from one end to the next, hold an integer beyond 64 bits, strings aside."""
    for row in range(wide.size):
        wide[row] = has_long_run(data, ends[row], ends[row + 1]) and is_wide(
            data, ends[row], ends[row + 1]
        )


@kernel
def has_long_run(data: Bytes, start: int, end: int) -> bool:
    """Whether there are 19 digits in a row."""
    at = start + _FEWEST - 1
    while at < end:
        if ZERO <= data[at] <= NINE:
            first, behind = at, at + 1
            while first > start and ZERO <= data[first - 1] <= NINE:
                first -= 1
            while behind < end and ZERO <= data[behind] <= NINE:
                behind += 1
            if behind - first >= _FEWEST:
                return True
        at += _FEWEST
    return False


@kernel
def is_wide(data: Bytes, at: int, end: int) -> bool:
    """Whether an integer outside of strings is beyond 64 bits, signed or not."""
    while at < end:
        byte = data[at]
        if byte == QUOTE:
            at, _ = string_end(data, at + 1)
            if at < 0:
                return False
            at += 1
        elif byte == MINUS or ZERO <= byte <= NINE:
            first = at + 1 if byte == MINUS else at
            at = first
            while at < end and ZERO <= data[at] <= NINE:
                at += 1
            if _BEGINS_FRACTION[data[at]]:
                while at < end and _FRACTION[data[at]]:
                    at += 1
            elif beyond(data, first, at - first, byte == MINUS):
                return True
        else:
            at += 1
    return False


@kernel
def beyond(data: Bytes, first: int, digits: int, negative: bool) -> bool:
    """Whether an integer of these digits is below -2^63, or above 2^64 - 1."""
    most = _SIGNED if negative else _UNSIGNED
    if digits != most.size:
        return bool(digits > most.size)
    for k in range(digits):
        if data[first + k] != most[k]:
            return bool(data[first + k] > most[k])
    return False


def holds_wide_integer(record: bytes) -> bool:
    """:func:`wide_rows` for one record by itself."""
    data = np.frombuffer(record + b"\n" + bytes(PADDING), np.uint8)
    end = len(record)
    return bool(has_long_run(data, 0, end) and is_wide(data, 0, end))
