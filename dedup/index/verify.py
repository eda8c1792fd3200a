"""The greedy loop over a new batch whose rivals of earlier batches are already kept.

The rule is that of :func:`dedup.near.verify.greedy_keep`: of each group at most ``limit`` kept
members are looked at, in keep order, and of all of them ``limit`` compared, those sharing most
bands first; the most similar one that reaches the threshold stands for the document. Candidates are
numbered in keep order: 0 .. earlier - 1 of earlier batches, then the batch's rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel
from dedup.words import Hashes, Rows

_NUMBER_BITS = np.uint64(40)
_NUMBERS = np.uint64((1 << 40) - 1)
_ALL_BANDS = np.uint64((1 << 24) - 1)


@kernel
def similarity_from(hashes: Hashes, i: int, i_end: int, j: int, j_end: int, floor: float) -> float:
    """Jaccard similarity of two sorted sets, -1 once it is known to lie below ``floor``.

    With s elements in both sets together and d of them without a partner the similarity is (s - d)
    / (s + d): it reaches the floor while d is at most s (1 - floor) / (1 + floor).
    """
    total = (i_end - i) + (j_end - j)
    if total == 0:
        return 0.0
    # half an element above every rounding
    alone, most = 0, total * (1.0 - floor) / (1.0 + floor) + 0.5
    while i < i_end and j < j_end:
        one, other = hashes[i], hashes[j]
        alone += int(one != other)
        if alone > most:
            return -1.0
        i += int(one <= other)
        j += int(other <= one)
    alone += (i_end - i) + (j_end - j)
    common = (total - alone) // 2
    return common / (total - common)


@kernel
def keep_most_shared(
    candidates: Rows, found: int, shared: NDArray[np.int32], spare: Hashes
) -> None:
    """Reorder candidates: most bands shared first, then in keep order."""
    for k in range(found):
        spare[k] = ((_ALL_BANDS - np.uint64(shared[candidates[k]])) << _NUMBER_BITS) | np.uint64(
            candidates[k]
        )
    spare[:found].sort()
    for k in range(found):
        candidates[k] = np.int64(spare[k] & _NUMBERS)


@kernel
def verify_after(
    membership: Rows, offsets: Rows, members: Rows, counts: Rows, earlier: int, set_offsets: Rows,
    hashes: Hashes, threshold: float, limit: int, best: Rows, similarity: NDArray[np.float32],
    hits: NDArray[np.int32],
) -> tuple[int, int, int]:  # fmt: skip
    """Decide on the rows in order; fills ``best`` (candidate's number, -1 = kept), ``similarity``
    and ``hits``.

    ``counts``: kept members of each group so far, of which the first ``limit`` lie in ``members``;
    both grow. Returns pairs compared, pairs skipped, rows at which any was skipped.
    """
    rows, bands = membership.shape
    stamps, shared = np.full(earlier + rows, -1, np.int64), np.zeros(earlier + rows, np.int32)
    candidates, spare = np.empty(earlier + rows, np.int64), np.empty(earlier + rows, np.uint64)
    compared = skipped = bounded = 0
    for row in range(rows):
        found = beyond = 0
        for band in range(bands):
            group = membership[row, band]
            if group < 0:
                continue
            looked_at = min(counts[group], limit)
            beyond += counts[group] - looked_at
            for k in range(offsets[group], offsets[group] + looked_at):
                candidate = members[k]
                if stamps[candidate] != row:
                    stamps[candidate], shared[candidate] = row, 0
                    candidates[found] = candidate
                    found += 1
                shared[candidate] += 1
        if found > limit:
            keep_most_shared(candidates, found, shared, spare)
            beyond += found - limit
            found = limit
        compared += found
        skipped += beyond
        bounded += int(beyond > 0)
        floor, mine, end = threshold, set_offsets[earlier + row], set_offsets[earlier + row + 1]
        for k in range(found):
            other = candidates[k]
            value = similarity_from(
                hashes, mine, end, set_offsets[other], set_offsets[other + 1], floor
            )
            if value > floor or (value >= floor and (best[row] < 0 or other < best[row])):
                best[row], floor = other, value
        if best[row] >= 0:
            similarity[row], hits[row] = floor, shared[best[row]]
            continue
        for band in range(bands):
            group = membership[row, band]
            if group >= 0:
                if counts[group] < limit:
                    members[offsets[group] + counts[group]] = earlier + row
                counts[group] += 1
    return compared, skipped, bounded
