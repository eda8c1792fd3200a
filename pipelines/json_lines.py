"""Columns of text written as JSON Lines, straight from Arrow buffers: no Python object per document.

    lines = json_lines([("id", ids), ("text", texts)], rest)      # uint8 array, one line per row

The bytes are those of ``orjson.dumps`` of each row's fields: UTF-8 as it is; quotes, backslashes and control characters escaped. A
null leaves its field out; ``rest`` adds the members of an object that is JSON already.

A first pass adds up what every line takes, a second writes column by column, each row at its own place. Both are bound by reading:
some 2 and 1 GB/s of text on one core.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.jit import kernel

Bytes = NDArray[np.uint8]
Rows = NDArray[np.int64]
Marks = NDArray[np.bool_]

QUOTE, BACKSLASH, SPACE, OPEN, CLOSE, COMMA, NEWLINE, UNICODE, ZERO = (np.uint8(ord(sign)) for sign in '"\\ {},\nu0')
STRIDE = 16  # bytes looked at together

HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
LETTERS = np.arange(256, dtype=np.uint8)  # what stands for a byte, behind a backslash where it is escaped
LETTERS[:32] = UNICODE
for _code, _letter in zip(b"\b\t\n\f\r", b"btnfr", strict=True):
    LETTERS[_code] = _letter
CODED = LETTERS == UNICODE  # written by their number
CODED[UNICODE] = False
ESCAPED = np.zeros(256, np.int64)
ESCAPED[:32] = 1
ESCAPED[[QUOTE, BACKSLASH]] = 1


def json_lines(columns: Sequence[tuple[str, pa.Array]], rest: pa.Array, rows: Rows | None = None) -> Bytes:
    """Lines of the given rows, each ``{"field":"value",…}`` and a newline.

    ``columns``: field names with string or large_string arrays of one length; ``rest``: of the same length, null or a JSON object whose
    members follow the fields; ``rows``: which rows, default all.
    """
    rows = np.arange(len(rest), dtype=np.int64) if rows is None else rows
    texts = [(_key(name), *_buffers(column)) for name, column in columns]
    objects = _buffers(rest)
    lengths = np.zeros(len(rows), np.int64)
    for key, values, offsets, valid in texts:
        add_string_lengths(values, offsets, valid, rows, key.size, lengths)
    add_rest_lengths(objects[1], objects[2], rows, lengths)
    lengths += 2 + (lengths == 0)  # the closing brace and the newline, and of an empty object the opening brace
    starts = np.cumsum(lengths) - lengths
    lines = np.empty(int(lengths.sum()), np.uint8)
    places = starts.copy()
    for key, values, offsets, valid in texts:
        write_strings(values, offsets, valid, rows, key, starts, places, lines)
    write_rest(*objects, rows, starts, places, lines)
    return lines


def _key(name: str) -> Bytes:
    return np.frombuffer(orjson.dumps(name) + b':"', np.uint8)


def _buffers(column: pa.Array) -> tuple[Bytes, Rows, Marks]:
    """Bytes, offsets (n + 1,) and which values are no nulls (n,)."""
    column = column if pa.types.is_large_string(column.type) else column.cast(pa.large_string())
    _, offsets, values = column.buffers()
    ends = np.frombuffer(offsets, np.int64, len(column) + 1, column.offset * 8) if len(column) else np.zeros(1, np.int64)
    content = np.frombuffer(b"" if values is None else values, np.uint8)
    valid = pc.is_valid(column).to_numpy(zero_copy_only=False)
    for array in (ends, content, valid):
        array.flags.writeable = False
    return content, np.require(ends, requirements="A"), valid


@kernel
def add_string_lengths(values: Bytes, offsets: Rows, valid: Marks, rows: Rows, key_bytes: int, lengths: Rows) -> None:
    """Add what a field takes in each line: brace or comma, key, escaped value, closing quote."""
    for k in range(rows.size):
        row = rows[k]
        if not valid[row]:
            continue
        escapes = 0
        for i in range(offsets[row], offsets[row + 1]):
            byte = values[i]
            escapes += int(byte == QUOTE) + int(byte == BACKSLASH) + 5 * int(byte < SPACE)
            escapes -= 4 * int((byte >= 8) & (byte <= 13) & (byte != 11))  # those with a letter of their own
        lengths[k] += 2 + key_bytes + offsets[row + 1] - offsets[row] + escapes


@kernel
def add_rest_lengths(offsets: Rows, valid: Marks, rows: Rows, lengths: Rows) -> None:
    """Add what the members of an object take in each line, with the brace or comma before them."""
    for k in range(rows.size):
        length = offsets[rows[k] + 1] - offsets[rows[k]]
        if valid[rows[k]] and length > 2:
            lengths[k] += length - 1


@kernel
def write_strings(
    values: Bytes, offsets: Rows, valid: Marks, rows: Rows, key: Bytes, starts: Rows, places: Rows, lines: Bytes
) -> None:
    """Write one field of each line at its place, and move the place behind it."""
    for k in range(rows.size):
        row = rows[k]
        if not valid[row]:
            continue
        place = places[k]
        lines[place] = COMMA if place > starts[k] else OPEN
        place += 1
        for j in range(key.size):
            lines[place + j] = key[j]
        place += key.size
        place = write_escaped(values, offsets[row], offsets[row + 1], lines, place)
        lines[place] = QUOTE
        places[k] = place + 1


@kernel
def write_escaped(values: Bytes, i: int, end: int, lines: Bytes, place: int) -> int:
    """Write bytes ``i`` to ``end - 1`` as JSON escapes them; returns the place behind them."""
    while i < end:
        if i + STRIDE <= end:
            dirty = np.uint8(0)
            for k in range(STRIDE):
                byte = values[i + k]
                dirty |= np.uint8(byte < SPACE) | np.uint8(byte == QUOTE) | np.uint8(byte == BACKSLASH)
            if dirty == 0:
                for k in range(STRIDE):
                    lines[place + k] = values[i + k]
                i += STRIDE
                place += STRIDE
                continue
        for k in range(i, min(i + STRIDE, end)):  # no branch on what is common: the backslash is overwritten where none belongs
            byte = values[k]
            lines[place] = BACKSLASH
            place += ESCAPED[byte]
            lines[place] = LETTERS[byte]
            place += 1
            if CODED[byte]:
                place = write_code(byte, lines, place)
        i += STRIDE
    return place


@kernel
def write_code(byte: np.uint8, lines: Bytes, place: int) -> int:
    """Four hex digits, behind the u of a control character."""
    lines[place] = ZERO
    lines[place + 1] = ZERO
    lines[place + 2] = HEX[byte >> 4]
    lines[place + 3] = HEX[byte & 15]
    return place + 4


@kernel
def write_rest(values: Bytes, offsets: Rows, valid: Marks, rows: Rows, starts: Rows, places: Rows, lines: Bytes) -> None:
    """Write the members of each line's object, and the line's end."""
    for k in range(rows.size):
        row, place = rows[k], places[k]
        first, last = offsets[row], offsets[row + 1]
        if valid[row] and last - first > 2:
            lines[place] = COMMA if place > starts[k] else OPEN
            for i in range(first + 1, last - 1):
                lines[place + i - first] = values[i]
            place += last - first - 1
        elif place == starts[k]:
            lines[place] = OPEN
            place += 1
        lines[place] = CLOSE
        lines[place + 1] = NEWLINE
