"""A file that is one JSON array, as instruction data often is: its elements become lines.

    [{"a": 1},          ·{"a": 1}⏎
     {"b":              ·{"b":·
        2}]             ···2}·

Commas between elements become line ends; the brackets around them, and line ends within them,
become blanks. Nothing moves: an element keeps its place in the stream, and is then read as a line.
What stands behind the array is left as it is. An array that does not end is damage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel
from pipelines.readers.streams.damage import TRUNCATED_STREAM, Damage
from pipelines.readers.streams.opened import compression_of, open_input

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PEEKED = 4096  # bytes at a time, of which the first that is no blank is looked for
_LONGEST_BEGINNING = 1 << 16  # from the bracket to what is in it
_QUOTE, _BACKSLASH, _COMMA = 0x22, 0x5C, 0x2C
_OPEN_LIST, _CLOSE_LIST, _OPEN_OBJECT, _CLOSE_OBJECT = 0x5B, 0x5D, 0x7B, 0x7D
_BLANK, _LINE_FEED, _RETURN = 0x20, 0x0A, 0x0D
_DEPTH, _IN_STRING, _ESCAPED, _ENDED = range(4)


def may_be_array(path: str) -> bool:
    """Whether a file is named as one JSON value: ``.json``, plain or compressed."""
    suffixes = [suffix.lower() for suffix in PurePosixPath(path).suffixes]
    compressed = compression_of(path) is not None
    return len(suffixes) > compressed and suffixes[-1 - compressed] == ".json"


def is_array(url: str) -> bool:
    """Whether a plain file begins as an array of objects. Raises: UserError when it cannot be
    opened.
    """
    beginning = _Beginning()
    with open_input(url) as file:
        while block := file.read(_PEEKED):
            if (verdict := beginning.add(block)) is not None:
                return verdict
    return False


def elements_as_lines(blocks: Iterable[bytes | Damage]) -> Iterator[bytes | Damage]:
    """Blocks of a stream, those of an array with an element in each line; the same bytes where it
    begins otherwise. An array that does not end has damage there.
    """
    stream = iter(blocks)
    beginning, array = _Beginning(), None
    held: list[bytes | Damage] = []
    for block in stream:
        held.append(block)
        array = False if isinstance(block, Damage) else beginning.add(block)
        if array is not None:
            break
        if beginning.blank:
            yield from held
            held.clear()
    yield from _spread_out(chain(held, stream)) if array else chain(held, stream)


def _spread_out(blocks: Iterable[bytes | Damage]) -> Iterator[bytes | Damage]:
    state, size, damaged = np.zeros(4, np.int64), 0, False
    for block in blocks:
        if isinstance(block, Damage):
            damaged = True
            state[:3] = (min(state[_DEPTH], 1), 0, 0)  # the next element is looked for behind it
            yield block
            continue
        spread = np.frombuffer(bytearray(block), np.uint8)
        _spread(spread, state)
        size += len(block)
        yield spread.tobytes()
    if not state[_ENDED] and not damaged:
        yield Damage(TRUNCATED_STREAM, "the array is not closed where the file ends")


class _Beginning:
    """The first bytes of a stream that are no blanks: those of an array of objects, or of an empty
    one? Lines may be arrays of other values.
    """

    def __init__(self) -> None:
        self._first, self._seen = b"", 0

    @property
    def blank(self) -> bool:
        """Nothing but blanks so far."""
        return not self._first

    def add(self, block: bytes) -> bool | None:
        """The verdict, None where it takes more bytes."""
        start = block.removeprefix(_BYTE_ORDER_MARK) if not self._seen else block
        self._seen += len(block)
        self._first = (self._first + start).lstrip()[:_LONGEST_BEGINNING]
        if not self._first:
            return None
        inside = self._first[1:].lstrip()[:1]
        if self._first[:1] != b"[" or inside:
            return self._first[:1] == b"[" and inside in (b"{", b"]")
        return None if len(self._first) < _LONGEST_BEGINNING else False


@kernel
def _spread(data: NDArray[np.uint8], state: NDArray[np.int64]) -> None:
    """Put the elements of an array on lines, in place; ``state`` goes on from block to block."""
    depth, in_string, escaped = state[_DEPTH], state[_IN_STRING], state[_ESCAPED]
    for at in range(data.size):
        if state[_ENDED]:
            break
        byte = data[at]
        if in_string:
            if escaped:
                escaped = 0
            elif byte == _BACKSLASH:
                escaped = 1
            elif byte == _QUOTE:
                in_string = 0
        elif depth == 0:
            if byte == _OPEN_LIST:
                depth = 1
                data[at] = _BLANK
        elif byte == _QUOTE:
            in_string = 1
        elif byte in (_OPEN_LIST, _OPEN_OBJECT):
            depth += 1
        elif depth == 1 and byte == _CLOSE_LIST:
            depth = 0
            data[at] = _BLANK
            state[_ENDED] = 1
        elif byte in (_CLOSE_LIST, _CLOSE_OBJECT):
            depth = max(depth - 1, 1)
        elif byte == _COMMA and depth == 1:
            data[at] = _LINE_FEED
        elif byte in (_LINE_FEED, _RETURN):
            data[at] = _BLANK
    state[_DEPTH], state[_IN_STRING], state[_ESCAPED] = depth, in_string, escaped
