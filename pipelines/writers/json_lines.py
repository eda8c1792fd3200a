"""Columns of text written as JSON Lines, straight from Arrow buffers: no Python object per
document.

    lines = json_lines([("id", ids), ("text", texts)], rest)      # uint8 array, one line per row

The bytes are those of ``orjson.dumps`` of each row's fields: UTF-8 as it is; quotes, backslashes
and control characters escaped. A null leaves its field out; ``rest`` adds the members of an object
that is JSON already.

A first pass adds up what every line takes, a second writes column by column, each row at its own
place; over a piece of lines at a time, so that the second finds it in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.jit import kernel
from artifacts.strides import STRIDE, copy_stride, plain_bytes

Bytes = NDArray[np.uint8]
Rows = NDArray[np.int64]
Marks = NDArray[np.bool_]

QUOTE, BACKSLASH, SPACE, OPEN, CLOSE, COMMA, NEWLINE, UNICODE, ZERO = (
    np.uint8(ord(sign)) for sign in '"\\ {},\nu0'
)
PIECE_BYTES = 1 << 20

HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
# what stands for a byte, behind a backslash where it is escaped
LETTERS = np.arange(256, dtype=np.uint8)
LETTERS[:32] = UNICODE
for _code, _letter in zip(b"\b\t\n\f\r", b"btnfr", strict=True):
    LETTERS[_code] = _letter
CODED = LETTERS == UNICODE  # written by their number
CODED[UNICODE] = False
ESCAPED = np.zeros(256, np.int64)
ESCAPED[:32] = 1
ESCAPED[[QUOTE, BACKSLASH]] = 1


def json_lines(
    columns: Sequence[tuple[str, pa.Array]], rest: pa.Array, rows: Rows | None = None
) -> Bytes:
    """Lines of the given rows, each ``{"field":"value",…}`` and a newline.

    ``columns``: field names with string or large_string arrays of one length; ``rest``: of the same
    length, null or a JSON object whose members follow the fields; ``rows``: which rows, default
    all.
    """
    pieces = [piece.copy() for piece in json_line_pieces(columns, rest, rows)]
    return np.concatenate(pieces) if pieces else np.empty(0, np.uint8)


def json_line_pieces(
    columns: Sequence[tuple[str, pa.Array]], rest: pa.Array, rows: Rows | None = None
) -> Iterator[Bytes]:
    """The same in pieces of about 1 MiB and whole lines, each valid until the next is asked for."""
    rows = np.arange(len(rest), dtype=np.int64) if rows is None else rows
    texts = [(_key(name), *_buffers(column)) for name, column in columns]
    objects = _buffers(rest)
    sizes = sum(
        offsets[rows + 1] - offsets[rows]
        for offsets in (objects[1], *(offsets for _, _, offsets, _ in texts))
    )
    piece = np.cumsum(sizes) // PIECE_BYTES
    scratch = np.empty(0, np.uint8)
    for some in np.split(rows, np.flatnonzero(np.diff(piece)) + 1) if len(rows) else ():
        lengths = np.zeros(len(some), np.int64)
        for key, values, offsets, valid in texts:
            add_string_lengths(values, offsets, valid, some, key.size, lengths)
        add_rest_lengths(objects[1], objects[2], some, lengths)
        # the closing brace and the newline, and of an empty object the opening brace
        lengths += 2 + (lengths == 0)
        starts = np.cumsum(lengths) - lengths
        total = int(lengths.sum())
        scratch = scratch if len(scratch) >= total else np.empty(total + total // 4, np.uint8)
        lines = scratch[:total]
        places = starts.copy()
        for key, values, offsets, valid in texts:
            write_strings(values, offsets, valid, some, key, starts, places, lines)
        write_rest(*objects, some, starts, places, lines)
        yield lines


def _key(name: str) -> Bytes:
    return np.frombuffer(orjson.dumps(name) + b':"', np.uint8)


def _buffers(column: pa.Array) -> tuple[Bytes, Rows, Marks]:
    """Bytes, offsets (n + 1,) and which values are no nulls (n,)."""
    column = column if pa.types.is_large_string(column.type) else column.cast(pa.large_string())
    _, offsets, values = column.buffers()
    ends = (
        np.frombuffer(offsets, np.int64, len(column) + 1, column.offset * 8)
        if len(column)
        else np.zeros(1, np.int64)
    )
    content = np.frombuffer(b"" if values is None else values, np.uint8)
    valid = pc.is_valid(column).to_numpy(zero_copy_only=False)
    for array in (ends, content, valid):
        array.flags.writeable = False
    return content, np.require(ends, requirements="A"), valid


@kernel
def add_string_lengths(
    values: Bytes, offsets: Rows, valid: Marks, rows: Rows, key_bytes: int, lengths: Rows
) -> None:
    """Add what a field takes in each line: brace or comma, key, escaped value, closing quote."""
    for k in range(rows.size):
        row = rows[k]
        if not valid[row]:
            continue
        lengths[k] += (
            2
            + key_bytes
            + offsets[row + 1]
            - offsets[row]
            + escapes_of(values, offsets[row], offsets[row + 1])
        )


@kernel
def escapes_of(values: Bytes, i: int, end: int) -> int:
    """Bytes that escaping adds to bytes ``i`` to ``end - 1``."""
    escapes = 0
    while i + STRIDE <= end:
        i += plain_bytes(values, i)
        if i + STRIDE <= end:
            escapes += added(values[i])
            i += 1
    for k in range(i, end):
        escapes += added(values[k])
    return escapes


@kernel
def added(byte: np.uint8) -> int:
    return (
        int(byte == QUOTE)
        + int(byte == BACKSLASH)
        + 5 * int(byte < SPACE)
        - 4 * int(LETTERS[byte] != UNICODE and byte < SPACE)
    )


@kernel
def add_rest_lengths(offsets: Rows, valid: Marks, rows: Rows, lengths: Rows) -> None:
    """Add what the members of an object take in each line, with the brace or comma before them."""
    for k in range(rows.size):
        length = offsets[rows[k] + 1] - offsets[rows[k]]
        if valid[rows[k]] and length > 2:
            lengths[k] += length - 1


@kernel
def write_strings(
    values: Bytes,
    offsets: Rows,
    valid: Marks,
    rows: Rows,
    key: Bytes,
    starts: Rows,
    places: Rows,
    lines: Bytes,
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
    while i + STRIDE <= end:
        # stays within the field: what is left of it takes as many bytes at least
        copy_stride(values, i, lines, place)
        clean = plain_bytes(values, i)
        i += clean
        place += clean
        if clean < STRIDE:
            place = write_byte(values[i], lines, place)
            i += 1
    for k in range(i, end):
        place = write_byte(values[k], lines, place)
    return place


@kernel
def write_byte(byte: np.uint8, lines: Bytes, place: int) -> int:
    """No branch on what is common: the backslash is overwritten where none belongs."""
    lines[place] = BACKSLASH
    place += ESCAPED[byte]
    lines[place] = LETTERS[byte]
    place += 1
    return write_code(byte, lines, place) if CODED[byte] else place


@kernel
def write_code(byte: np.uint8, lines: Bytes, place: int) -> int:
    """Four hex digits, behind the u of a control character."""
    lines[place] = ZERO
    lines[place + 1] = ZERO
    lines[place + 2] = HEX[byte >> 4]
    lines[place + 3] = HEX[byte & 15]
    return place + 4


@kernel
def write_rest(
    values: Bytes, offsets: Rows, valid: Marks, rows: Rows, starts: Rows, places: Rows, lines: Bytes
) -> None:
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
