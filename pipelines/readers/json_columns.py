"""Lines of JSON objects into columns of documents, straight from the bytes: no Python object per
record.

    # lines: bytes, starts: (n + 1,) where each begins
    columns, outcome = read_columns(lines, starts, fields)

What is usual is read by a kernel, at about 2 GB/s; a line with anything it does not know
(malformed, a column of another type, a field given twice, no text) is :data:`DECLINED` and left to
:mod:`pipelines.readers.plain`, which is the definition of what a line means. Of a record whose
further fields are not plain (nested values, fractions, escapes that have another spelling) only
those go through orjson.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.jit import kernel
from pipelines.readers.json_scan import (
    BARE,
    CLOSE,
    COLON,
    COMMA,
    NEWLINE,
    OPEN,
    PADDING,
    QUOTE,
    Bytes,
    behind_space,
    copy_string,
    is_word,
    number_end,
    string_end,
    value_end,
)
from pipelines.readers.records import spread
from pipelines.readers.span import Fields

Ends = NDArray[np.int64]

# outcome of a line; REST_IS_JSON: its further fields went through orjson
DECLINED, READ, REST_IS_JSON, SPREAD = 0, 1, 2, 3

MEMBERS = 64  # further fields of a record; one with more is declined
VISIBLE = np.zeros(256, np.bool_)  # bytes that only a text with more than white space has
VISIBLE[0x21:0x80] = True
VISIBLE[0xC3:] = True
VISIBLE[0xE1:0xE4] = False  # U+1680, U+2000 and their like, U+3000 are white space

SHORT = ("native_id", "lang", "url", "license", "date")
_TEXT, _ID, _FURTHER = 0, 1, -1  # columns by number: the text, then SHORT


def read_columns(
    lines: bytes, starts: Ends, fields: Fields
) -> tuple[dict[str, pa.Array], Bytes] | None:
    """Columns of lines, and what became of each, (n,); rows of declined lines are not to be used.

    ``lines``: whole lines with their newlines, and :data:`PADDING` zero bytes. None where these
    fields or bytes are none for the kernel: conversations, one field for two columns, invalid
    UTF-8.
    """
    names = [
        fields.text_field,
        fields.id_field,
        fields.lang_field,
        fields.url_field,
        fields.license_field,
        fields.date_field,
    ]
    named = [name for name in names if name is not None]
    if fields.messages_field is not None or len(set(named)) < len(named) or not _valid_utf8(lines):
        return None
    keys = [b"" if name is None else name.encode("utf-8", "surrogatepass") for name in names]
    key_ends = np.cumsum([0, *map(len, keys)])
    wanted = np.array([name is not None for name in names])
    data = np.frombuffer(lines, np.uint8)
    rows, room = len(starts) - 1, int(starts[-1] - starts[0]) + PADDING
    outcome = np.empty(rows, np.uint8)
    texts, text_ends = np.empty(room, np.uint8), np.zeros(rows + 1, np.int64)
    short, short_ends, short_valid = (
        np.empty((5, room), np.uint8),
        np.zeros((5, rows + 1), np.int32),
        np.empty((5, rows), np.bool_),
    )
    rest, rest_ends = np.empty(room, np.uint8), np.zeros(rows + 1, np.int64)
    read_lines(
        data, starts, np.frombuffer(b"".join(keys) + b"\0", np.uint8), key_ends, wanted, texts,
        text_ends, short, short_ends, short_valid, rest, rest_ends, outcome,
    )  # fmt: skip
    columns = {
        "text": pa.Array.from_buffers(
            pa.large_string(), rows, [None, pa.py_buffer(text_ends), pa.py_buffer(texts)]
        )
    }
    for number, name in enumerate(SHORT):
        columns[name] = _strings(
            pa.string(), short_ends[number], short[number], short_valid[number]
        )
    for name, default in (("lang", fields.lang), ("license", fields.license)):
        columns[name] = _defaulted(columns[name], default)
    columns["meta"] = _meta(
        _strings(pa.large_string(), rest_ends, rest, rest_ends[1:] > rest_ends[:-1]),
        outcome,
        fields,
    )
    return columns, outcome


def _valid_utf8(lines: bytes) -> bool:
    whole = pa.LargeStringArray.from_buffers(
        1, pa.py_buffer(np.array([0, len(lines)], np.int64)), pa.py_buffer(lines)
    )
    try:
        whole.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _strings(
    kind: pa.DataType, ends: NDArray[Any], values: Bytes, valid: NDArray[np.bool_] | None = None
) -> pa.Array:
    nulls = (
        None
        if valid is None or valid.all()
        else pa.py_buffer(np.packbits(valid, bitorder="little"))
    )
    content = pa.py_buffer(values[: ends[-1]].tobytes())
    return pa.Array.from_buffers(
        kind, len(ends) - 1, [nulls, pa.py_buffer(ends.tobytes()), content]
    )


def _defaulted(values: pa.Array, default: str | None) -> pa.Array:
    """What a record does not say, or says with nothing, is the default."""
    lengths = np.diff(np.frombuffer(values.buffers()[1], np.int32))
    if lengths.all():
        return values
    if not lengths.any():
        return pa.repeat(pa.scalar(default, pa.string()), len(values))
    return pa.array([value or default for value in values.to_pylist()], pa.string())


def _meta(rest: pa.Array, outcome: Bytes, fields: Fields) -> pa.Array:
    """Further fields with sorted keys; lines whose further fields are no JSON become declined."""
    rows = np.flatnonzero(outcome == REST_IS_JSON)
    if not len(rows):
        return rest
    values = rest.to_pylist()
    for row in rows.tolist():
        try:
            fuller = spread(orjson.loads(values[row]), fields)
            values[row] = (
                orjson.dumps(fuller, option=orjson.OPT_SORT_KEYS).decode() if fuller else None
            )
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            values[row], outcome[row] = None, DECLINED
    return pa.array(values, pa.large_string())


@kernel
def read_lines(
    data: Bytes, starts: Ends, keys: Bytes, key_ends: Ends, wanted: NDArray[np.bool_], texts: Bytes,
    text_ends: Ends, short: Bytes, short_ends: NDArray[np.int32], short_valid: NDArray[np.bool_],
    rest: Bytes, rest_ends: Ends, outcome: Bytes,
) -> None:  # fmt: skip
    """Read each line; see :func:`read_columns` for the arrays."""
    # of a line, not in a column: where key and value begin and end
    members = np.empty((MEMBERS, 4), np.int64)
    seen = np.empty(6, np.bool_)
    begun = np.zeros(6, np.int64)  # of each column, where this line's value goes
    places = np.empty(6, np.int64)  # and where the next one's
    place = 0
    for row in range(outcome.size):
        outcome[row], spread, count = SPREAD, True, 0
        while outcome[row] == SPREAD:
            seen[:] = False
            places[:] = begun
            valid = short_valid[:, row]
            valid[:] = False
            count, outcome[row] = read_record(
                data,
                starts[row],
                keys,
                key_ends,
                wanted,
                texts,
                short,
                valid,
                places,
                seen,
                members,
                spread,
            )
            if outcome[row] == READ and not sort_members(data, members, count):
                # of a field given twice the last one counts
                outcome[row] = SPREAD if spread else REST_IS_JSON
            spread = False
        if not (
            seen[_TEXT]
            and (seen[_ID] or not wanted[_ID])
            and visible(texts, begun[_TEXT], places[_TEXT])
        ):
            outcome[row] = DECLINED
        if outcome[row] != DECLINED:
            place = write_members(data, members, count, rest, place)
            begun[:] = places
        text_ends[row + 1], rest_ends[row + 1] = begun[_TEXT], place
        for column in range(1, 6):
            short_ends[column - 1, row + 1] = begun[column]


@kernel
def read_record(
    data: Bytes, at: int, keys: Bytes, key_ends: Ends, wanted: NDArray[np.bool_], texts: Bytes,
    short: Bytes, valid: NDArray[np.bool_], places: Ends, seen: NDArray[np.bool_],
    members: NDArray[np.int64], spread: bool,
) -> tuple[int, int]:  # fmt: skip
    """The members of the object that begins there: columns into their arrays, of the others where
    they stand.

    Returns how many others, and the outcome. ``spread``: those of an object ``meta`` stand for it
    where all is plain; where they cannot, the outcome is SPREAD, and the line is to be read again
    without.
    """
    count, outcome, metas = 0, READ, 0
    at = behind_space(data, at)
    if data[at] != OPEN:
        return 0, DECLINED
    at = behind_space(data, at + 1)
    while data[at] != CLOSE:
        key, key_end, at = key_and_value(data, at)
        if at < 0:
            return 0, DECLINED
        column = column_of(data, key, key_end, keys, key_ends, wanted)
        if column != _FURTHER:
            if seen[column]:
                return 0, DECLINED
            seen[column] = True
            at = read_column(data, at, column, texts, short, valid, places)
        elif spread and is_meta(data, key, key_end):
            metas += 1
            count, end = (
                read_inner(data, at, keys, key_ends, wanted, members, count)
                if data[at] == OPEN
                else (count, -1)
            )
            if end < 0 or metas > 1:
                return 0, SPREAD
            at = end
        else:
            value = at
            at, simple = value_end(data, at)
            if count == MEMBERS:
                return 0, DECLINED
            members[count, 0], members[count, 1], members[count, 2], members[count, 3] = (
                key,
                key_end,
                value,
                at,
            )
            count += 1
            if not simple:
                if spread and at >= 0:
                    return 0, SPREAD
                outcome = REST_IS_JSON
        at = behind_member(data, at)
        if at < 0:
            return 0, DECLINED
    return (count, outcome) if data[behind_space(data, at + 1)] == NEWLINE else (0, DECLINED)


@kernel
def read_inner(
    data: Bytes,
    at: int,
    keys: Bytes,
    key_ends: Ends,
    wanted: NDArray[np.bool_],
    members: NDArray[np.int64],
    count: int,
) -> tuple[int, int]:
    """Members of a nested object, added where they stand; returns how many there are then, and the
    place behind.

    The place is -1 if one is not plain, or has the name of a column.
    """
    at = behind_space(data, at + 1)
    while data[at] != CLOSE:
        key, key_end, at = key_and_value(data, at)
        if (
            at < 0
            or count == MEMBERS
            or is_meta(data, key, key_end)
            or column_of(data, key, key_end, keys, key_ends, wanted) != _FURTHER
        ):
            return count, -1
        value = at
        at, simple = value_end(data, at)
        if not simple:
            return count, -1
        members[count, 0], members[count, 1], members[count, 2], members[count, 3] = (
            key,
            key_end,
            value,
            at,
        )
        count += 1
        at = behind_member(data, at)
        if at < 0:
            return count, -1
    return count, at + 1


@kernel
def key_and_value(data: Bytes, at: int) -> tuple[int, int, int]:
    """Where a member's key begins and ends and its value begins; the last is -1 where there is
    none, or the key has escapes.
    """
    if data[at] != QUOTE:
        return at, at, -1
    end, spelling = string_end(data, at + 1)
    if end < 0 or spelling != BARE:
        return at, at, -1
    behind = behind_space(data, end + 1)
    return at + 1, end, behind_space(data, behind + 1) if data[behind] == COLON else -1


@kernel
def behind_member(data: Bytes, at: int) -> int:
    """From the end of a member to the next, or to the closing brace; -1 where neither follows, or
    the member had no end.
    """
    if at < 0:
        return -1
    at = behind_space(data, at)
    if data[at] != COMMA:
        return at if data[at] == CLOSE else -1
    at = behind_space(data, at + 1)
    return at if data[at] == QUOTE else -1


@kernel
def is_meta(data: Bytes, key: int, key_end: int) -> bool:
    return key_end - key == 4 and is_word(data, key, 109, 101, 116, 97)


@kernel
def read_column(
    data: Bytes,
    at: int,
    column: int,
    texts: Bytes,
    short: Bytes,
    valid: NDArray[np.bool_],
    places: Ends,
) -> int:
    """Copy a column's value; returns the place behind it, -1 to decline the line."""
    if data[at] != QUOTE:
        return other_column(data, at, column, short, valid, places)
    if column == _TEXT:
        at, places[column] = copy_string(data, at + 1, texts, places[column])
        return at
    start = places[column]
    at, places[column] = copy_string(data, at + 1, short[column - 1], start)
    valid[column - 1] = True
    return -1 if column == _ID and places[column] == start else at


@kernel
def other_column(
    data: Bytes, at: int, column: int, short: Bytes, valid: NDArray[np.bool_], places: Ends
) -> int:
    """A column's value that is no string: an integer as an id, null elsewhere. Returns the place
    behind it, -1 to decline.
    """
    if column == _TEXT:
        return -1
    if column != _ID:
        return at + 4 if is_word(data, at, 110, 117, 108, 108) else -1
    end, simple = number_end(data, at)
    if end < 0 or not simple:
        return -1
    for i in range(at, end):
        short[column - 1, places[column]] = data[i]
        places[column] += 1
    valid[column - 1] = True
    return end


@kernel
def column_of(
    data: Bytes, key: int, key_end: int, keys: Bytes, key_ends: Ends, wanted: NDArray[np.bool_]
) -> int:
    for column in range(6):
        start, length = key_ends[column], key_ends[column + 1] - key_ends[column]
        if wanted[column] and length == key_end - key:
            same = True
            for i in range(length):
                if data[key + i] != keys[start + i]:
                    same = False
                    break
            if same:
                return column
    return _FURTHER


@kernel
def visible(texts: Bytes, start: int, end: int) -> bool:
    """Whether a text surely has more than white space."""
    at = start
    while at < end and not VISIBLE[texts[at]]:
        at += 1
    return at < end


@kernel
def sort_members(data: Bytes, members: NDArray[np.int64], count: int) -> bool:
    """Sort members by their keys' bytes; False where two have one key (the order is then as before,
    or nearly).
    """
    for i in range(1, count):
        j = i
        while j > 0:
            order = compared(data, members[j - 1], members[j])
            if order == 0:
                return False
            if order < 0:
                break
            for k in range(4):
                members[j - 1, k], members[j, k] = members[j, k], members[j - 1, k]
            j -= 1
    return True


@kernel
def compared(data: Bytes, one: Ends, other: Ends) -> int:
    """Below, above or equal to 0, as the key of one member sorts before or behind the other's, or
    is the same.
    """
    length, other_length = int(one[1] - one[0]), int(other[1] - other[0])
    for i in range(min(length, other_length)):
        first, second = data[one[0] + i], data[other[0] + i]
        if first != second:
            return -1 if first < second else 1
    return length - other_length


@kernel
def write_members(
    data: Bytes, members: NDArray[np.int64], count: int, out: Bytes, place: int
) -> int:
    """An object of these members, nothing for none; returns the place behind it."""
    for number in range(count):
        key, key_end, value, end = members[number]
        out[place] = COMMA if number else OPEN
        place += 1
        for i in range(key - 1, key_end + 1):
            out[place] = data[i]
            place += 1
        out[place] = COLON
        place += 1
        for i in range(value, end):
            out[place] = data[i]
            place += 1
    if count:
        out[place] = CLOSE
        place += 1
    return place
