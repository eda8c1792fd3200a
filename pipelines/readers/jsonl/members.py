"""Further fields of a JSON record, by where they stand: sorted by key and written as an object.

# members: (MEMBERS, 4) of a record, where key and value begin and end
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel
from pipelines.readers.jsonl.scan import CLOSE, COLON, COMMA, OPEN, Bytes, Ends

MEMBERS = 64  # further fields of a record; one with more is declined


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
