"""Kernels of encoding and decoding: cut text where no piece reaches across, join ids, join bytes.

All work on the buffers of one Arrow column: ``values`` uint8, the UTF-8 of all documents end to
end; positions are byte positions in it. See :mod:`tokenizer.vocabulary` for what a safe cut is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel

_MULTIPLIER = 0x9E3779B97F4A7C15


@kernel
def mark_cuts(
    values: NDArray[np.uint8],
    start: int,
    stop: int,
    borders: NDArray[np.int64],
    ascii_pairs: NDArray[np.uint8],
    table: NDArray[np.uint64],
    longest: int,
) -> NDArray[np.uint8]:
    """Flags (stop - start,) uint8: 1 where a word starts: a document's start, a safe cut,
    ``longest`` bytes after the last.

    ``borders`` are the starts of documents in [start, stop), ascending, repeated for empty ones.

    ``start`` and ``stop`` lie on character borders, ``start`` begins a word, and the text is valid
    UTF-8. U+2581 stands in no pair, so it is always a word by itself.
    """
    cuts = np.zeros(stop - start, np.uint8)
    mask = np.uint64(len(table) - 1)
    left = np.int64(-1)
    position = word = start
    border = 0
    while position < stop:
        while border < len(borders) and borders[border] <= position:
            if borders[border] == position:
                left = np.int64(-1)
            border += 1
        lead = values[position]
        right = np.int64(lead)
        if lead < 0x80:
            width = 1
        elif lead < 0xE0:
            right = np.int64(lead & 0x1F) << 6 | np.int64(values[position + 1] & 0x3F)
            width = 2
        elif lead < 0xF0:
            right = np.int64(lead & 0x0F) << 12 | np.int64(values[position + 1] & 0x3F) << 6
            right |= np.int64(values[position + 2] & 0x3F)
            width = 3
        else:
            right = np.int64(lead & 0x07) << 18 | np.int64(values[position + 1] & 0x3F) << 12
            right |= np.int64(values[position + 2] & 0x3F) << 6 | np.int64(
                values[position + 3] & 0x3F
            )
            width = 4
        if left < 0 or position - word >= longest:
            joined = False
        elif left < 128 and right < 128:
            joined = ascii_pairs[left * 128 + right] != 0
        else:
            pair = np.uint64(left) << np.uint64(21) | np.uint64(right)
            slot = (pair * np.uint64(_MULTIPLIER)) >> np.uint64(32) & mask
            while table[slot] != np.uint64(0) and table[slot] != pair:
                slot = (slot + np.uint64(1)) & mask
            joined = table[slot] == pair
        if not joined:
            cuts[position - start] = 1
            word = position
        left = right
        position += width
    return cuts


@kernel
def join_tokens(
    words: NDArray[np.int32], table: NDArray[np.int32], offsets: NDArray[np.int64], total: int
) -> NDArray[np.int32]:
    """Ids of a text from the ids of its words.

    ``words`` (w,) numbers into a table of distinct words, whose ids are
    ``table[offsets[i]:offsets[i + 1]]``; ``total`` is the number of ids in all.
    """
    tokens = np.empty(total, np.int32)
    place = 0
    for word in words:
        for index in range(offsets[word], offsets[word + 1]):
            tokens[place] = table[index]
            place += 1
    return tokens


@kernel
def join_bytes(
    tokens: NDArray[np.int64], values: NDArray[np.uint8], offsets: NDArray[np.int64], total: int
) -> NDArray[np.uint8]:
    """Bytes of a row of ids; id i decodes to ``values[offsets[i]:offsets[i + 1]]``."""
    text = np.empty(total, np.uint8)
    place = 0
    for token in tokens:
        for index in range(offsets[token], offsets[token + 1]):
            text[place] = values[index]
            place += 1
    return text
