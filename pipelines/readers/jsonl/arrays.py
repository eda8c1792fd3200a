"""A file that is one JSON array, as instruction data often is: its elements become lines.

    [{"a": 1},          ·{"a": 1}⏎
     {"b":              ·{"b":·
        2}]             ···2}·

Commas between elements become line ends; the brackets around them, and line ends within them,
become blanks. Nothing moves: an element keeps its place in the stream, and is then read as a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel
from pipelines.readers.streams.damage import Damage
from pipelines.readers.streams.opened import compression_of, open_input

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PEEKED = 4096  # bytes, in which the first that is no blank is looked for
_QUOTE, _BACKSLASH, _COMMA = 0x22, 0x5C, 0x2C
_OPEN_LIST, _CLOSE_LIST, _OPEN_OBJECT, _CLOSE_OBJECT = 0x5B, 0x5D, 0x7B, 0x7D
_BLANK, _LINE_FEED, _RETURN = 0x20, 0x0A, 0x0D
_DEPTH, _IN_STRING, _ESCAPED = range(3)


def may_be_array(path: str) -> bool:
    """Whether a file is named as one JSON value: ``.json``, plain or compressed."""
    suffixes = [suffix.lower() for suffix in PurePosixPath(path).suffixes]
    compressed = compression_of(path) is not None
    return len(suffixes) > compressed and suffixes[-1 - compressed] == ".json"


def is_array(url: str) -> bool:
    """Whether a plain file begins as an array. Raises: UserError when it cannot be opened."""
    with open_input(url) as file:
        return _begins_array(file.read(_PEEKED))


def elements_as_lines(blocks: Iterable[bytes | Damage]) -> Iterator[bytes | Damage]:
    """Blocks of a stream, those of an array with an element in each line; the same bytes where it
    begins otherwise.
    """
    state = np.zeros(3, np.int64)
    array: bool | None = None
    for block in blocks:
        if isinstance(block, Damage):
            yield block
            continue
        if array is None and block.removeprefix(_BYTE_ORDER_MARK).strip():
            array = _begins_array(block)
        if not array:
            yield block
            continue
        spread = np.frombuffer(bytearray(block), np.uint8)
        _spread(spread, state)
        yield spread.tobytes()


def _begins_array(start: bytes) -> bool:
    return start.removeprefix(_BYTE_ORDER_MARK).lstrip()[:1] == b"["


@kernel
def _spread(data: NDArray[np.uint8], state: NDArray[np.int64]) -> None:
    """Put the elements of an array on lines, in place; ``state`` goes on from block to block."""
    depth, in_string, escaped = state[_DEPTH], state[_IN_STRING], state[_ESCAPED]
    for at in range(data.size):
        byte = data[at]
        if in_string:
            if escaped:
                escaped = 0
            elif byte == _BACKSLASH:
                escaped = 1
            elif byte == _QUOTE:
                in_string = 0
        elif byte == _QUOTE:
            in_string = 1
        elif byte in (_OPEN_LIST, _OPEN_OBJECT):
            depth += 1
            if depth == 1:
                data[at] = _BLANK
        elif byte in (_CLOSE_LIST, _CLOSE_OBJECT):
            depth = max(depth - 1, 0)
            if depth == 0:
                data[at] = _BLANK
        elif byte == _COMMA and depth == 1:
            data[at] = _LINE_FEED
        elif (byte in (_LINE_FEED, _RETURN)) and depth > 0:
            data[at] = _BLANK
    state[_DEPTH], state[_IN_STRING], state[_ESCAPED] = depth, in_string, escaped
