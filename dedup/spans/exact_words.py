"""Words with the bytes they are made of: where they lie in a text, and hashes that stand for every
byte.

What a word is, is said in :mod:`dedup.words`, and the count is the same: characters in scripts
without spaces. But nothing is folded here. Two runs of words are equal if and only if their bytes
are equal, from the first byte of the first word to the last of the last; what stands between the
words counts, what stands around them does not. So ``a + b`` and ``a - b`` differ, and cutting an
equal run cuts nothing but a copy.

Each word has two hashes: ``bare`` of its own bytes and ``full`` of these and whatever follows up to
the next word. A run of n words is hashed from n - 1 full ones and a last bare one.
"""

from __future__ import annotations

import numpy as np

from artifacts.jit import kernel
from dedup.shingles import splitmix64
from dedup.words import (
    BASIS,
    MIX,
    PRIME,
    SEPARATOR,
    SKIP,
    START,
    UNIT,
    Bytes,
    Codes,
    Hashes,
    Rows,
    classify,
    decode,
)

BASE = splitmix64(0x52554E53, 1)[0] | np.uint64(1)  # of the rolling hash
_ONE = np.uint64(1)


@kernel
def mixed(value: np.uint64) -> np.uint64:
    """One multiply-xorshift round: the low bits depend on all."""
    value = (value ^ (value >> np.uint64(32))) * MIX
    return value ^ (value >> np.uint64(32))


@kernel
def scan_exact(
    values: Bytes,
    i: int,
    end: int,
    table: Codes,
    starts: Rows,
    ends: Rows,
    bare: Hashes,
    full: Hashes,
) -> int:
    """The words of ``values[i:end]``: first byte, byte behind the last, and both hashes of each;
    returns how many.

    The arrays hold at least ``end - i`` words. Marks that take no room belong to the word before
    them.
    """
    found = START
    state = BASIS
    unfinished = False  # the last word's end is not known yet
    joins = False  # a letter here would go on with it
    while i < end:
        byte = values[i]
        width, entry = 1, np.uint32(0)
        if byte < 128:
            entry = table[byte]
        else:
            code, width = decode(values, i, end)
            entry = classify(code, table)
        if entry == SEPARATOR:
            if unfinished:
                ends[found - 1], bare[found - 1] = i, mixed(state)
                unfinished = joins = False
        elif entry != SKIP and (entry & UNIT or not joins):
            if found > 0:
                if unfinished:
                    ends[found - 1], bare[found - 1] = i, mixed(state)
                full[found - 1] = mixed(state)
            starts[found] = i
            found += 1
            state = BASIS
            unfinished, joins = True, not entry & UNIT
        for k in range(i, i + width):
            state = (state ^ np.uint64(values[k])) * PRIME
        i += width
    if found > 0:
        if unfinished:
            ends[found - 1], bare[found - 1] = end, mixed(state)
        full[found - 1] = mixed(state)
    return found


@kernel
def hash_runs(bare: Hashes, full: Hashes, words: int, length: int, runs: Hashes) -> int:
    """Hashes of all runs of ``length`` (from 2 on) of the first ``words`` words into ``runs``;
    returns how many there are.

    A rolling polynomial (Karp and Rabin 1987) over word hashes modulo 2^64, its last term bare,
    mixed.
    """
    last = words - length + 1
    if last <= 0:
        return START
    highest = _ONE
    state = np.uint64(0)
    for k in range(length - 1):
        state = state * BASE + full[k]
        highest *= BASE
    for k in range(last):
        runs[k] = mixed(state * BASE + bare[k + length - 1])
        state = state * BASE + full[k + length - 1] - full[k] * highest
    return last


@kernel
def separators_after(values: Bytes, i: int, end: int, table: Codes) -> int:
    """Where the next word begins, from byte ``i`` on; ``end`` if none does."""
    while i < end:
        code, width = (np.uint32(values[i]), 1) if values[i] < 128 else decode(values, i, end)
        entry = classify(code, table)
        if entry != SEPARATOR and entry != SKIP:
            return i
        i += width
    return end


@kernel
def count_words(values: Bytes, i: int, end: int, table: Codes) -> int:
    """Words that begin in ``values[i:end]``."""
    found, joins = START, False
    while i < end:
        code, width = (np.uint32(values[i]), 1) if values[i] < 128 else decode(values, i, end)
        entry = classify(code, table)
        if entry == SEPARATOR:
            joins = False
        elif entry != SKIP:
            found += int(entry & UNIT != 0 or not joins)
            joins = not entry & UNIT
        i += width
    return found
