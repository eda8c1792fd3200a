"""How good a deduplication was, by exact similarity on a sample: what it missed, and whether what
it removed resembles what stayed.

*Missed* is a kept document that a more wanted kept document resembles by the threshold or more: in
the order of preference it would have gone, had the pair become a candidate. Of kept documents a
uniform sample is joined with **all** kept documents, exactly, so each sampled one is missed or not
without any estimate; the share m / n of missed ones in the sample is then an unbiased estimate of
the share among all K kept documents, and

    recall = R / (R + K m / n)        with R removed documents, confirmed by the precision

falls as m / n grows, so the ends of an interval of m / n are the ends of one of the recall.
Intervals are those of Clopper and Pearson (1934): exact binomial, at least as wide as they say, and
wider still for a sample that is a large part of the whole.

The join is that of AllPairs and PPJoin (Bayardo, Ma, Srikant 2007; Xiao, Wang, Lin, Yu 2008) with
hash values as the common order: two sets x, y of Jaccard similarity t or more share one of the
first ``|x| - ceil(t |x|) + 1`` elements of x and of as many of y, and their sizes are within a
factor t of each other. The sample's first elements are indexed; everybody else's are looked up.

:func:`plain_jaccard` is the second implementation that precision is measured with: Python sets of
tuples of words, which share the table of characters with :mod:`dedup.words`, and no hash, sort,
kernel or offset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from artifacts.errors import UserError
from artifacts.jit import kernel
from dedup.near.curve import Curve
from dedup.shingles import ShingleSets
from dedup.words import SEPARATOR, SKIP, UNIT, Hashes, Rows, character_table

CONFIDENCE = 0.95

_SLACK = 1e-9  # below any difference of two products that are whole numbers


@dataclass(frozen=True)
class Proportion:
    """A share and its confidence interval: ``hits`` of ``trials``; (0, 1) and None where nothing
    was tried.
    """

    hits: int
    trials: int
    value: float | None
    low: float
    high: float


def proportion(
    hits: int, trials: int, population: int | None = None, confidence: float = CONFIDENCE
) -> Proportion:
    """The interval of Clopper and Pearson; a single point when the sample is the whole
    ``population``.
    """
    if not trials:
        return Proportion(hits, trials, None, 0.0, 1.0)
    share = hits / trials
    if population is not None and trials >= population:
        return Proportion(hits, trials, share, share, share)
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, hits, trials - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, trials - hits)) if hits < trials else 1.0
    return Proportion(hits, trials, share, low, high)


def recall_of(removed: int, kept: int, missed: Proportion) -> tuple[float | None, float, float]:
    """Recall and the ends of its interval, from ``missed`` among ``kept`` documents; None where
    there was nothing to find.
    """

    def at(share: float) -> float:
        return removed / (removed + kept * share) if removed else 0.0

    if missed.value is None or (not removed and not missed.hits):
        return None, 0.0, 1.0
    return (
        at(missed.value),
        at(missed.high),
        1.0 if not removed and not missed.low else at(missed.low),
    )


def expected_recall(similarity: NDArray[np.float32], curve: Curve) -> float | None:
    """Recall as the S-curve has it, without reading a text: R / sum 1 / P(s) over the removed
    documents (Horvitz, Thompson 1952).

    A document removed at similarity s was found with probability P(s), so it speaks for 1 / P(s)
    such documents. Documents that resemble several kept ones are found more often than that, so
    this is a low estimate, far too low where P(s) is small. None where nothing was removed.
    """
    if not len(similarity):
        return None
    return float(
        len(similarity)
        / (1.0 / curve.probability(np.clip(similarity.astype(np.float64), 0, 1))).sum()
    )


@dataclass(frozen=True)
class SampleIndex:
    """The sampled sets and their first shingles, sorted, with the row each is of; ``buckets`` are
    offsets by the top ``bits`` bits.
    """

    sets: ShingleSets
    threshold: float
    keys: Hashes
    rows: Rows
    buckets: Rows
    bits: int


@dataclass(frozen=True)
class Pairs:
    """Similar pairs in columns, by probe, then sample row."""

    sample: Rows
    probe: Rows
    similarity: NDArray[np.float32]


def sample_index(sets: ShingleSets, threshold: float) -> SampleIndex:
    """Index sets for :func:`similar_pairs`; an empty one resembles nothing. Raises: UserError for a
    threshold out of range.
    """
    if not 0.0 < threshold <= 1.0:
        fix = "give a number above 0, up to 1"
        raise UserError(
            "quality: the similarity threshold is out of range",
            parameter="threshold",
            found=threshold,
            fix=fix,
        )
    lengths = prefix_lengths(np.diff(sets.offsets), threshold)
    rows = np.repeat(np.arange(len(sets)), lengths)
    ends = np.cumsum(lengths)
    places = (
        np.arange(len(rows))
        - np.repeat(ends - lengths, lengths)
        + np.repeat(sets.offsets[:-1], lengths)
    )
    keys = sets.hashes[places]
    order = np.argsort(keys, kind="stable")
    keys, rows = keys[order], rows[order]
    bits = max(8, int(np.ceil(np.log2(len(keys) + 1))) + 1)
    buckets = np.searchsorted(
        keys >> np.uint64(64 - bits), np.arange((1 << bits) + 1, dtype=np.uint64)
    ).astype(np.int64)
    return SampleIndex(sets, threshold, keys, rows, buckets, bits)


def prefix_lengths(sizes: Rows, threshold: float) -> Rows:
    """How many elements of sets of these sizes have to be looked at."""
    least = np.ceil(threshold * sizes - _SLACK).astype(np.int64)
    return np.where(sizes > 0, sizes - least + 1, 0).clip(0, sizes).astype(np.int64)


def similar_pairs(index: SampleIndex, probes: ShingleSets) -> Pairs:
    """Every (sampled set, probe) whose exact Jaccard similarity reaches the threshold; a sampled
    document among the probes meets itself.
    """
    prefixes = prefix_lengths(np.diff(probes.offsets), index.threshold)
    room = 1024
    while True:
        sample, probe = np.empty(room, np.int64), np.empty(room, np.int64)
        similarity = np.empty(room, np.float32)
        found = join(
            index.keys, index.rows, index.buckets, np.uint64(64 - index.bits), index.sets.offsets,
            index.sets.hashes, probes.offsets, probes.hashes, prefixes, index.threshold,
            np.full(len(index.sets), -1, np.int64), sample, probe, similarity,
        )  # fmt: skip
        if found <= room:
            order = np.lexsort((sample[:found], probe[:found]))
            return Pairs(sample[:found][order], probe[:found][order], similarity[:found][order])
        room = int(found)


@kernel
def merged_jaccard(
    left: Hashes, i: int, left_size: int, right: Hashes, j: int, right_size: int
) -> float:
    """Jaccard similarity of two sorted sets, neither empty, that begin at ``i`` and ``j``."""
    left_end, right_end, common = i + left_size, j + right_size, 0
    while i < left_end and j < right_end:
        one, other = left[i], right[j]
        common += int(one == other)
        i += int(one <= other)
        j += int(other <= one)
    return common / (left_size + right_size - common)


@kernel
def join(
    keys: Hashes, rows: Rows, buckets: Rows, shift: np.uint64, sample_offsets: Rows,
    sample_hashes: Hashes, offsets: Rows, hashes: Hashes, prefixes: Rows, threshold: float,
    stamps: Rows, sample: Rows, probe: Rows, similarity: NDArray[np.float32],
) -> int:  # fmt: skip
    """Number of pairs found, of which the first ``sample.size`` are written."""
    found = 0
    for p in range(prefixes.size):
        size = offsets[p + 1] - offsets[p]
        for k in range(offsets[p], offsets[p] + prefixes[p]):
            value = hashes[k]
            bucket = value >> shift
            for place in range(buckets[bucket], buckets[bucket + np.uint64(1)]):
                if keys[place] != value:
                    continue
                row = rows[place]
                if stamps[row] == p:
                    continue
                stamps[row] = p
                other = sample_offsets[row + 1] - sample_offsets[row]
                if min(size, other) < threshold * max(size, other) * 0.999999:
                    continue
                near = merged_jaccard(
                    sample_hashes, sample_offsets[row], other, hashes, offsets[p], size
                )
                if near >= threshold:
                    if found < sample.size:
                        sample[found], probe[found], similarity[found] = row, p, near
                    found += 1
    return found


# -- the second implementation --------------------------------------------------------------------


class _Folding(dict[int, str]):
    """What ``str.translate`` makes of each character: nothing, a space, a folded letter, or a word
    of its own.
    """

    def __missing__(self, code: int) -> str:
        if code < 0x20000:
            entry = int(character_table()[code])
        elif code < 0x40000:
            entry = code | int(UNIT)
        else:
            entry = int(SKIP) if 0xE0000 <= code <= 0xE01EF else int(SEPARATOR)
        if entry == SKIP:
            folded = ""
        elif entry == SEPARATOR:
            folded = " "
        else:
            folded = chr(entry & ~int(UNIT))
            folded = f" {folded} " if entry & int(UNIT) else folded
        self[code] = folded
        return folded


@cache
def _folding() -> _Folding:
    return _Folding()


def plain_shingles(text: str, ngrams: int) -> set[tuple[str, ...]]:
    """The shingles of a text as tuples of words."""
    words = [word for word in text.translate(_folding()).split(" ") if word]
    return set(zip(*(words[place:] for place in range(ngrams)), strict=False))


def plain_jaccard(one: str, other: str, ngrams: int) -> float:
    """Jaccard similarity of the two texts' sets of shingles; 0 for two texts shorter than a
    shingle.
    """
    left, right = plain_shingles(one, ngrams), plain_shingles(other, ngrams)
    union = len(left | right)
    return len(left & right) / union if union else 0.0


def confirmations(
    pairs: Iterator[tuple[str, str]], ngrams: int, threshold: float
) -> tuple[int, int]:
    """How many pairs of (removed, kept) texts reach the threshold by :func:`plain_jaccard`, and how
    many pairs there are.
    """
    confirmed = total = 0
    for removed, kept in pairs:
        total += 1
        confirmed += int(plain_jaccard(removed, kept, ngrams) >= threshold)
    return confirmed, total
