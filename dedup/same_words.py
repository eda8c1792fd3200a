"""One hash for all texts with the same words in the same order: case, accents, punctuation and
spacing do not count.

What a word is says :mod:`dedup.words`. The hash is 128 bits: two chains over the 64-bit hashes of
the words, each with its own multiplier and start, so that two texts meet by chance with probability
2^-128 a pair.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.jit import kernel
from artifacts.text_buffers import text_buffers
from dedup import words as _words
from dedup.words import (
    BASIS,
    BLOCK,
    MIX,
    START,
    Bytes,
    Codes,
    Hashes,
    Rows,
    character_table,
    mix_words,
    scan_words,
)

ALGORITHM = f"same words/1 {_words.ALGORITHM}"

_OTHER = np.uint64(0x9E3779B97F4A7C15)
_THIRD = np.uint64(0xBF58476D1CE4E5B9)


def same_words_hashes(texts: pa.LargeStringArray) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Hashes as two words each, (n, 2) uint64, and which texts have any word, (n,) bool; the
    others' hashes are 0.
    """
    values, offsets = text_buffers(texts)
    hashes, has_words = np.zeros((len(texts), 2), np.uint64), np.zeros(len(texts), np.bool_)
    hash_words_in_order(values, offsets, character_table(), hashes, has_words)
    return hashes, has_words


@kernel
def hash_words_in_order(
    values: Bytes, offsets: Rows, table: Codes, hashes: Hashes, has_words: NDArray[np.bool_]
) -> None:
    """Both chains over the words of each text."""
    words = np.empty(BLOCK, np.uint64)
    for row in range(offsets.size - 1):
        i, end, state = offsets[row], offsets[row + 1], BASIS
        one, other, total = MIX, _OTHER, 0
        while i < end:
            i, count, state = scan_words(values, i, end, table, words, START, state)
            mix_words(words, START, count)
            for k in range(count):
                one = (one ^ words[k]) * MIX
                one ^= one >> np.uint64(32)
                other = (other + words[k]) * _THIRD
                other ^= other >> np.uint64(31)
            total += count
        if total > 0:
            hashes[row, 0], hashes[row, 1], has_words[row] = one, other, True
