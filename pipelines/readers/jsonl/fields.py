"""Fields of a JSON record that fill columns: which column a key names, and its value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel
from pipelines.readers.jsonl.scan import QUOTE, Bytes, Ends, copy_string, is_word, number_end

SHORT = ("native_id", "lang", "url", "license", "date")
TEXT, ID, FURTHER = 0, 1, -1  # columns by number: the text, then SHORT; a field that fills none


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
    if column == TEXT:
        at, places[column] = copy_string(data, at + 1, texts, places[column])
        return at
    start = places[column]
    at, places[column] = copy_string(data, at + 1, short[column - 1], start)
    valid[column - 1] = True
    return -1 if column == ID and places[column] == start else at


@kernel
def other_column(
    data: Bytes, at: int, column: int, short: Bytes, valid: NDArray[np.bool_], places: Ends
) -> int:
    """A column's value that is no string: an integer as an id, null elsewhere. Returns the place
    behind it, -1 to decline.
    """
    if column == TEXT:
        return -1
    if column != ID:
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
    return FURTHER
