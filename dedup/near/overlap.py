"""How much of one source is in another, from samples of their shingles.

A sample holds the distinct shingles whose hash lies below a limit, the same for all (FracMinHash:
Irber et al. 2022; Hera, Pierce-Ward, Koslicki 2023). With A and B below the lesser of two limits,

    |A and B| / |A|   is an unbiased estimate of the share of A's distinct shingles that occur in B,
                      and
    |A| / limit       of the number of A's distinct shingles, as a share of all hashes,

for sources of any two sizes. The first is a share of |A| independent draws, so it has the exact
interval of :func:`dedup.near.quality.proportion`; the second has a relative standard error of
|A|^(-1/2). Counters such as HyperLogLog give |A|, |B| and |A or B| to about 1 %, and their
difference |A| + |B| - |A or B| to 1 % of the *union*: an overlap of 1 % would drown in it.

Samples merge by union. One that outgrows :data:`MOST` halves its limit until it fits, which comes
to the same set in whatever order parts are merged: the limit depends on the union alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.jit import kernel
from artifacts.text_buffers import text_buffers
from dedup import words as _words
from dedup.near.quality import Proportion, proportion
from dedup.shingles import next_shingles, place_constants, sort_radix
from dedup.words import BASIS, BLOCK, START, Bytes, Codes, Hashes, Rows, character_table

ALGORITHM = f"shingle sample/1 {_words.ALGORITHM}"
MOST = 1 << 20  # shingles in a merged sample: 8 MiB

_ALL = float(1 << 64)


def sample_limit(scale: int) -> int:
    """Shingles with hashes below this are one in ``scale``."""
    return (1 << 64) // scale


def sampled_shingles(texts: pa.LargeStringArray, ngrams: int, scale: int) -> tuple[Rows, Hashes]:
    """Of each text the distinct shingles below the limit, sorted: offsets (n + 1,) and hashes."""
    values, offsets = text_buffers(texts)
    limit = np.uint64(sample_limit(scale) - 1)
    bounds = np.zeros(len(offsets), np.int64)
    room = 4096 + 2 * int(offsets[-1] - offsets[0]) // scale
    while True:
        hashes = np.empty(room, np.uint64)
        total = sample_texts(
            values, offsets, character_table(), place_constants(ngrams), limit, hashes, bounds[1:]
        )
        if total <= room:
            return bounds, hashes[:total].copy()
        room = int(total)


@dataclass(frozen=True)
class ShingleSample:
    """Distinct hashes below ``limit``, sorted: of a document, a chunk or a source."""

    hashes: Hashes
    limit: int

    @property
    def distinct(self) -> float:
        """Estimate of how many distinct shingles there are."""
        return len(self.hashes) * (_ALL / self.limit)

    def below(self, limit: int) -> Hashes:
        return (
            self.hashes
            if limit >= self.limit
            else self.hashes[: np.searchsorted(self.hashes, np.uint64(limit))]
        )


def sample_of(hashes: Hashes, limit: int, most: int = MOST) -> ShingleSample:
    """A sample of hashes in any order, repeated or not; those at or above the limit are left
    out.
    """
    distinct = np.unique(hashes)
    while True:
        if limit < 1 << 64:
            distinct = distinct[: np.searchsorted(distinct, np.uint64(limit))]
        if len(distinct) <= most:
            return ShingleSample(distinct, limit)
        limit //= 2


def merged(one: ShingleSample, other: ShingleSample, most: int = MOST) -> ShingleSample:
    """The sample of both together; associative, commutative and idempotent."""
    limit = min(one.limit, other.limit)
    return sample_of(np.concatenate([one.below(limit), other.below(limit)]), limit, most)


def contained(one: ShingleSample, other: ShingleSample) -> Proportion:
    """The share of one's distinct shingles that occur in the other, with its interval."""
    limit = min(one.limit, other.limit)
    left, right = one.below(limit), other.below(limit)
    return proportion(int(np.isin(left, right, assume_unique=True).sum()), len(left))


@kernel
def sort_few(keys: Hashes, first: int, last: int) -> None:
    """Sort a few keys in place, by insertion."""
    for k in range(first + 1, last):
        key, place = keys[k], k
        while place > first and keys[place - 1] > key:
            keys[place] = keys[place - 1]
            place -= 1
        keys[place] = key


@kernel
def sample_texts(
    values: Bytes,
    offsets: Rows,
    table: Codes,
    constants: Hashes,
    last: np.uint64,
    sample: Hashes,
    bounds: NDArray[np.int64],
) -> int:
    """Sorted distinct shingles up to ``last`` of each text; returns the room they need, of which
    what fits is written.
    """
    words, shingles = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint64)
    spare = np.empty(sample.size, np.uint64)
    total, needed = START, START
    for row in range(offsets.size - 1):
        first = total
        i, end, state, carried = offsets[row], offsets[row + 1], BASIS, START
        while i < end:
            i, state, carried, count = next_shingles(
                values, i, end, table, constants, words, carried, state, shingles
            )
            for k in range(count):
                if shingles[k] <= last:
                    if total < sample.size:
                        sample[total] = shingles[k]
                        total += 1
                    needed += 1
        if total - first > 1:
            if total - first > 64:
                sort_radix(sample, first, total, spare)
            else:
                sort_few(sample, first, total)
            unique = first
            for k in range(first, total):
                if k == first or sample[k] != sample[unique - 1]:
                    sample[unique] = sample[k]
                    unique += 1
            total = unique
        bounds[row] = total
    return total if needed <= sample.size else needed
