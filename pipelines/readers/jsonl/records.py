"""Records of JSON Lines by a kernel: of each line the fields that fill columns, and the others.

See :func:`pipelines.readers.jsonl.columns.read_columns` for the arrays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel
from pipelines.readers.jsonl.fields import FURTHER, ID, TEXT, column_of, read_column
from pipelines.readers.jsonl.members import MEMBERS, sort_members, write_members
from pipelines.readers.jsonl.scan import (
    BARE,
    CLOSE,
    COLON,
    COMMA,
    NEWLINE,
    OPEN,
    QUOTE,
    Bytes,
    Ends,
    behind_space,
    is_word,
    string_end,
    value_end,
)
from pipelines.readers.rows.visible import visible

# outcome of a line; REST_IS_JSON: its further fields went through orjson
DECLINED, READ, REST_IS_JSON, SPREAD = 0, 1, 2, 3


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
            seen[TEXT]
            and (seen[ID] or not wanted[ID])
            and visible(texts, begun[TEXT], places[TEXT])
        ):
            outcome[row] = DECLINED
        if outcome[row] != DECLINED:
            place = write_members(data, members, count, rest, place)
            begun[:] = places
        text_ends[row + 1], rest_ends[row + 1] = begun[TEXT], place
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
        if column != FURTHER:
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
            or column_of(data, key, key_end, keys, key_ends, wanted) != FURTHER
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
