"""Texts that surely have more than white space, told by their bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel

VISIBLE = np.zeros(256, np.bool_)  # bytes that only a text with more than white space has
VISIBLE[0x21:0x80] = True
VISIBLE[0xC3:] = True
VISIBLE[0xE1:0xE4] = False  # U+1680, U+2000 and their like, U+3000 are white space


@kernel
def visible(texts: NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether a text surely has more than white space."""
    at = start
    while at < end and not VISIBLE[texts[at]]:
        at += 1
    return at < end


@kernel
def visible_texts(
    texts: NDArray[np.uint8], ends: NDArray[np.int64], found: NDArray[np.bool_]
) -> None:
    """The same of many texts: those between the ends, (n + 1,), into ``found``, (n,)."""
    for row in range(found.size):
        found[row] = visible(texts, ends[row], ends[row + 1])
