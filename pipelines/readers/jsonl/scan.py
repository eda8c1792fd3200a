"""Steps over the bytes of a JSON line, which ends with a newline and has bytes behind it.

Each begins at a place and returns the place behind what it stepped over, -1 where that is no such
thing: no string that JSON allows, no character. Bytes are UTF-8. The spelling of fractions and what
is nested is only stepped over here; orjson checks it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel
from artifacts.strides import STRIDE, copy_stride, plain_bytes

Bytes = NDArray[np.uint8]
Ends = NDArray[np.int64]

PADDING = STRIDE  # bytes behind the last line, so that whole strides can be looked at
DIGITS = 18  # of an integer that fits 64 bits whatever they are
# how a string is spelled: otherwise than orjson would, with escapes as it would, without any
OTHER, AS_WRITTEN, BARE = 0, 1, 2

QUOTE, BACKSLASH, SPACE, OPEN, CLOSE, COMMA, COLON, NEWLINE, MINUS, ZERO, NINE = (
    np.uint8(ord(sign)) for sign in '"\\ {},:\n-09'
)
OPEN_LIST, CLOSE_LIST, UNICODE, SLASH = (np.uint8(ord(sign)) for sign in "[]u/")

ESCAPES = np.zeros(256, np.uint8)  # what a letter behind a backslash stands for; 0: none, or \u
for _letter, _byte in zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t', strict=True):
    ESCAPES[_letter] = _byte
HEX = np.full(256, -1, np.int64)
for _value, _digit in enumerate(b"0123456789abcdef"):
    HEX[_digit] = HEX[ord(chr(_digit).upper())] = _value
SPACES = np.zeros(256, np.bool_)
SPACES[[ord(sign) for sign in " \t\r"]] = True


@kernel
def behind_space(data: Bytes, at: int) -> int:
    while SPACES[data[at]]:
        at += 1
    return at


@kernel
def string_end(data: Bytes, at: int) -> tuple[int, int]:
    """Where the string's closing quote is, -1 where it is none; and how it is spelled."""
    spelling = BARE
    while True:
        at += plain_bytes(data, at)
        byte = data[at]
        if byte == QUOTE:
            return at, spelling
        if byte < SPACE:
            return -1, OTHER
        if byte == BACKSLASH:
            at += 1
            letter = data[at]
            if letter == UNICODE:
                if unicode_unit(data, at + 1) < 0:
                    return -1, OTHER
                spelling = OTHER
                at += 4
            elif ESCAPES[letter] == 0:
                return -1, OTHER
            else:
                spelling = min(spelling, OTHER if letter == SLASH else AS_WRITTEN)
            at += 1


@kernel
def copy_string(data: Bytes, at: int, out: Bytes, place: int) -> tuple[int, int]:
    """The string that begins there, decoded; returns the places behind its closing quote, -1 where
    it is none, and behind the copy.
    """
    while True:
        copy_stride(data, at, out, place)
        clean = plain_bytes(data, at)
        at += clean
        place += clean
        if clean == STRIDE:
            continue
        if data[at] == QUOTE:
            return at + 1, place
        if data[at] != BACKSLASH:
            return -1, place
        letter = data[at + 1]
        if letter != UNICODE:
            if ESCAPES[letter] == 0:
                return -1, place
            out[place] = ESCAPES[letter]
            at += 2
            place += 1
        else:
            at, place = copy_character(data, at + 2, out, place)
            if at < 0:
                return -1, place


@kernel
def copy_character(data: Bytes, at: int, out: Bytes, place: int) -> tuple[int, int]:
    r"""The character whose digits, behind \u, begin there, as UTF-8; -1 for a lone surrogate or
    what are no digits.
    """
    code = unicode_unit(data, at)
    at += 4
    if code < 0 or 0xDC00 <= code < 0xE000:
        return -1, place
    if 0xD800 <= code < 0xDC00:
        low = (
            unicode_unit(data, at + 2) if data[at] == BACKSLASH and data[at + 1] == UNICODE else -1
        )
        if low < 0xDC00 or low >= 0xE000:
            return -1, place
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
        at += 6
    if code < 0x80:
        out[place] = code
        return at, place + 1
    if code < 0x800:
        out[place] = 0xC0 | code >> 6
        out[place + 1] = 0x80 | code & 63
        return at, place + 2
    if code < 0x10000:
        out[place] = 0xE0 | code >> 12
        out[place + 1] = 0x80 | code >> 6 & 63
        out[place + 2] = 0x80 | code & 63
        return at, place + 3
    out[place] = 0xF0 | code >> 18
    out[place + 1] = 0x80 | code >> 12 & 63
    out[place + 2] = 0x80 | code >> 6 & 63
    out[place + 3] = 0x80 | code & 63
    return at, place + 4


@kernel
def unicode_unit(data: Bytes, at: int) -> int:
    """The number of four hex digits, -1 where they are none; looks no further than the first that
    is none.
    """
    code = 0
    for k in range(4):
        digit = int(HEX[data[at + k]])
        if digit < 0:
            return -1
        code = code << 4 | digit
    return code


@kernel
def value_end(data: Bytes, at: int) -> tuple[int, bool]:
    """Where any value ends, -1 where it is none for sure; and whether orjson would write it as it
    stands.
    """
    byte = data[at]
    if byte == QUOTE:
        end, spelling = string_end(data, at + 1)
        return (end + 1 if end >= 0 else end), spelling != OTHER
    if byte in (OPEN, OPEN_LIST):
        return nested_end(data, at), False
    if byte == MINUS or ZERO <= byte <= NINE:
        return number_end(data, at)
    if is_word(data, at, 110, 117, 108, 108) or is_word(data, at, 116, 114, 117, 101):  # null, true
        return at + 4, True
    if is_word(data, at, 102, 97, 108, 115) and data[at + 4] == 101:  # false
        return at + 5, True
    return -1, False


@kernel
def number_end(data: Bytes, at: int) -> tuple[int, bool]:
    """Where a number ends; simple: an integer that orjson would write as it stands. Of others the
    spelling is not checked.
    """
    start = at
    if data[at] == MINUS:
        at += 1
    first = at
    while ZERO <= data[at] <= NINE:
        at += 1
    digits = at - first
    simple = 0 < digits <= DIGITS and (data[first] != ZERO or (digits == 1 and first == start))
    end = at
    while not (
        data[end] <= SPACE or data[end] == COMMA or data[end] == CLOSE or data[end] == CLOSE_LIST
    ):
        end += 1
    return end, simple and end == at


@kernel
def nested_end(data: Bytes, at: int) -> int:
    """The place behind an object or list, by its brackets; -1 where they do not close."""
    depth = 0
    while True:
        byte = data[at]
        if byte == QUOTE:
            at, _ = string_end(data, at + 1)
            if at < 0:
                return -1
        elif byte in (OPEN, OPEN_LIST):
            depth += 1
        elif byte in (CLOSE, CLOSE_LIST):
            depth -= 1
            if depth == 0:
                return at + 1
        elif byte == NEWLINE:
            return -1
        at += 1


@kernel
def is_word(data: Bytes, at: int, first: int, second: int, third: int, fourth: int) -> bool:
    return bool(
        data[at] == first
        and data[at + 1] == second
        and data[at + 2] == third
        and data[at + 3] == fourth
    )
