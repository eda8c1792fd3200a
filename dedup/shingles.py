"""Shingles: hashes of runs of consecutive words, and the sorted sets of them that exact Jaccard
needs.

A shingle of words w_0 .. w_{k-1} is ``mix(sum_j w_j * c_j mod 2^64)`` with one odd constant per
place, so the order of words counts. The products of one shingle do not wait for each other, and the
loop over shingles vectorises: k multiplications per word instead of the chain that a rolling hash
would be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.jit import kernel
from artifacts.text_buffers import text_buffers
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

MAX_NGRAMS = 256  # far below words.BLOCK, whose tail carries over from block to block

_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class ShingleSets:
    """Sets of shingles in columns: ``offsets`` (n + 1,) int64 and ``hashes`` uint64, sorted and
    unique within a text.
    """

    offsets: Rows
    hashes: Hashes

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Hashes:
        return self.hashes[self.offsets[row] : self.offsets[row + 1]]

    @property
    def nbytes(self) -> int:
        """Bytes held, for callers that bound memory."""
        return self.offsets.nbytes + self.hashes.nbytes


def splitmix64(seed: int, length: int) -> Hashes:
    """The first ``length`` outputs of SplitMix64 (Steele, Lea, Flood 2014): the same on every
    platform and numpy version.
    """
    state, outputs = seed & _MASK, []
    for _ in range(length):
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        outputs.append(z ^ (z >> 31))
    return np.array(outputs, np.uint64)


def place_constants(ngrams: int) -> Hashes:
    """One odd multiplier per place in the shingle, (ngrams,)."""
    return splitmix64(0x5348494E474C4553, ngrams) | np.uint64(1)


@kernel
def add_places(
    words: Hashes, shingles: Hashes, last: int, constants: Hashes, first_place: int, end_place: int
) -> None:
    """Add the places ``first_place`` to ``end_place - 1`` to the sums of ``last`` shingles; place 0
    starts them.
    """
    for j in range(first_place, end_place):
        constant = constants[j]
        if j == 0:
            for k in range(last):
                shingles[k] = words[k] * constant
        else:
            for k in range(last):
                shingles[k] += words[k + j] * constant


@kernel
def mix_sums(sums: Hashes, last: int, shingles: Hashes) -> None:
    """Finish ``last`` shingles: the sums' low bits would otherwise depend on low bits only."""
    for k in range(last):
        mixed = (sums[k] ^ (sums[k] >> np.uint64(32))) * MIX
        shingles[k] = mixed ^ (mixed >> np.uint64(32))


@kernel
def hash_shingles(words: Hashes, count: int, constants: Hashes, shingles: Hashes) -> int:
    """Shingles of ``words[:count]`` into ``shingles``; returns how many there are."""
    last = max(0, count - constants.size + 1)
    add_places(words, shingles, last, constants, START, constants.size)
    mix_sums(shingles, last, shingles)
    return last


@kernel
def next_shingles(
    values: Bytes,
    i: int,
    end: int,
    table: Codes,
    constants: Hashes,
    words: Hashes,
    kept: int,
    state: np.uint64,
    shingles: Hashes,
) -> tuple[int, np.uint64, int, int]:
    """Shingles of the next block of a text.

    ``words[:kept]`` are the last words of the block before. Returns the next byte, the state of
    the scan, how many words to carry over (already moved to the front) and the number of shingles.
    """
    i, count, state = scan_words(values, i, end, table, words, kept, state)
    mix_words(words, kept, count)
    found = hash_shingles(words, count, constants, shingles)
    carried = min(count, constants.size - 1)
    for k in range(carried):
        words[k] = words[count - carried + k]
    return i, state, carried, found


@kernel
def sort_radix(keys: Hashes, first: int, last: int, spare: Hashes) -> None:
    """Sort ``keys[first:last]`` in place, by bytes from the lowest; ``spare`` is as long. No
    pattern in the keys slows it.
    """
    histograms = np.zeros((8, 256), np.int64)
    for k in range(first, last):
        for byte in range(8):
            histograms[byte, (keys[k] >> np.uint64(8 * byte)) & np.uint64(255)] += 1
    for byte in range(8):
        shift = np.uint64(8 * byte)
        place, crowded = 0, False
        for digit in range(256):
            here = histograms[byte, digit]
            crowded |= here == last - first
            histograms[byte, digit] = place
            place += here
        if crowded:
            continue
        for k in range(first, last):
            digit = (keys[k] >> shift) & np.uint64(255)
            spare[histograms[byte, digit]] = keys[k]
            histograms[byte, digit] += 1
        for k in range(first, last):
            keys[k] = spare[k - first]


@kernel
def collect_sets(
    values: Bytes,
    offsets: Rows,
    wanted: NDArray[np.bool_],
    table: Codes,
    constants: Hashes,
    sets: Hashes,
    spare: Hashes,
    bounds: Rows,
) -> None:
    """Sorted unique shingles of each wanted text into ``sets``, where they end into ``bounds``."""
    words = np.empty(BLOCK, np.uint64)
    shingles = np.empty(BLOCK, np.uint64)
    total = START
    for row in range(offsets.size - 1):
        first = total
        i, end, state, carried = offsets[row], offsets[row + 1], BASIS, START
        while i < end and wanted[row]:
            i, state, carried, found = next_shingles(
                values, i, end, table, constants, words, carried, state, shingles
            )
            for k in range(found):
                sets[total + k] = shingles[k]
            total += found
        sort_radix(sets, first, total, spare)
        unique = first
        for k in range(first, total):
            if k == first or sets[k] != sets[unique - 1]:
                sets[unique] = sets[k]
                unique += 1
        total = unique
        bounds[row] = total


def shingle_sets(
    texts: pa.LargeStringArray, ngrams: int, wanted: NDArray[np.bool_] | None = None
) -> ShingleSets:
    """The set of shingles of each text; texts not ``wanted`` (n,) and texts shorter than ``ngrams``
    words have the empty set.

    Needs 8 bytes per two bytes of wanted text while it runs, 8 bytes per distinct shingle
    afterwards.
    """
    values, offsets = text_buffers(texts)
    wanted = np.ones(len(texts), bool) if wanted is None else np.ascontiguousarray(wanted, bool)
    lengths = np.where(wanted, np.diff(offsets), 0)
    sets = np.empty(int(lengths.sum() // 2) + len(offsets), np.uint64)
    spare = np.empty(int(lengths.max(initial=0) // 2) + 1, np.uint64)
    bounds = np.zeros(len(offsets), np.int64)
    collect_sets(
        values, offsets, wanted, character_table(), place_constants(ngrams), sets, spare, bounds[1:]
    )
    return ShingleSets(bounds, sets[: bounds[-1]].copy())
