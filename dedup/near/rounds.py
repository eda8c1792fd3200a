"""The verdict of :func:`dedup.near.verify.greedy_keep` on one large cluster, in rounds whose
comparisons run in parallel.

Greedy verification takes documents one after another, and what a document is compared with depends
on who was kept before. In a round the documents of a *block*, the next in keep order, are compared
with what earlier rounds kept, any part of the block apart from the others (:func:`matches_before`);
then one pass over the block (:func:`settle_block`) makes the comparisons within it and decides. A
template of hundreds of thousands of pages soon has as many kept members in each group as may be
looked at, and then nothing is left to compare within a block. The outcome is that of the one loop,
evidence and counts included.

Rows are in keep order: row k is the k-th most wanted of the cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel
from dedup.near.lsh import Groups
from dedup.near.verify import bounded_similarity, gather_candidates, most_shared_first
from dedup.words import Hashes, Rows

FIRST_BLOCK, LARGEST_BLOCK = 1024, 1 << 16


@dataclass(frozen=True)
class Cluster:
    """Documents in keep order.

    groups: of their rows. starts, ends: (n,) where each document's set lies in ``hashes``, sorted
    and unique.
    """

    groups: Groups
    starts: Rows
    ends: Rows
    hashes: Hashes

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True)
class Bounds:
    """How documents are compared: see :func:`dedup.near.verify.greedy_keep`. contained: by
    containment rather than by Jaccard.
    """

    threshold: float
    max_comparisons: int
    contained: bool


@dataclass(frozen=True)
class Matches:
    """Pairs that reach the threshold, by row: the columns of the document, of the earlier kept one,
    and their similarity.
    """

    row: Rows
    earlier: Rows
    similarity: NDArray[np.float64]

    def first(self, count: int) -> Matches:
        """A copy of the first ``count``."""
        return Matches(
            self.row[:count].copy(), self.earlier[:count].copy(), self.similarity[:count].copy()
        )


@dataclass(frozen=True)
class Settled:
    """Who goes of a block: rows, the kept row each is most like, similarity and bands shared; and
    what was compared, as in a verdict.
    """

    row: Rows
    kept_row: Rows
    similarity: NDArray[np.float32]
    bands_hit: NDArray[np.int32]
    compared: int
    skipped: int
    bounded: int


def blocks(
    documents: int, first: int = FIRST_BLOCK, largest: int = LARGEST_BLOCK
) -> list[tuple[int, int]]:
    """Rows of the rounds, (from, to): the first block small, since it is compared within itself,
    each next as large as all before.
    """
    found, start = [], 0
    while start < documents:
        end = min(documents, start + min(largest, max(first, start)))
        found.append((start, end))
        start = end
    return found


def matches_before(
    cluster: Cluster, kept: NDArray[np.bool_], decided: int, rows: tuple[int, int], bounds: Bounds
) -> Matches:
    """Compare rows (from, to) with what is kept of the ``decided`` first rows. kept: (n,) bool,
    read up to ``decided``.
    """
    work = _Work(cluster, kept, decided, bounds.max_comparisons)
    space = max(1 << 16, 4 * min(bounds.max_comparisons, len(cluster)))
    found = Matches(
        np.empty(space, np.int64), np.empty(space, np.int64), np.empty(space, np.float64)
    )
    parts = [found.first(0)]
    row = rows[0]
    while row < rows[1]:  # in as many calls as matches fill the space
        row, count = _match(
            row,
            rows[1],
            *work.tables,
            cluster.starts,
            cluster.ends,
            cluster.hashes,
            bounds.contained,
            bounds.threshold,
            bounds.max_comparisons,
            found.row,
            found.earlier,
            found.similarity,
        )
        parts.append(found.first(count))
    return joined(parts)


def joined(parts: Sequence[Matches]) -> Matches:
    """Matches one behind the other."""
    return Matches(
        np.concatenate([part.row for part in parts]),
        np.concatenate([part.earlier for part in parts]),
        np.concatenate([part.similarity for part in parts]),
    )


def settle_block(
    cluster: Cluster,
    kept: NDArray[np.bool_],
    decided: int,
    rows: tuple[int, int],
    matches: Matches,
    bounds: Bounds,
) -> Settled:
    """Decide rows (from, to) in order; ``rows[0]`` is ``decided``, and ``matches`` those of the
    whole block with what was kept before.
    """
    work = _Work(cluster, kept, decided, bounds.max_comparisons)
    size = rows[1] - rows[0]
    best, similarity, hits = (
        np.full(size, -1, np.int64),
        np.zeros(size, np.float32),
        np.zeros(size, np.int32),
    )
    match_offsets = np.searchsorted(matches.row, np.arange(rows[0], rows[1] + 1))
    compared, skipped, bounded = _settle(
        rows[0], rows[1], *work.tables, cluster.starts, cluster.ends, cluster.hashes,
        bounds.contained, bounds.threshold, bounds.max_comparisons, match_offsets, matches.earlier,
        matches.similarity, best, similarity, hits,
    )  # fmt: skip
    gone = np.flatnonzero(best >= 0)
    return Settled(
        gone + rows[0],
        best[gone],
        similarity[gone],
        hits[gone],
        int(compared),
        int(skipped),
        int(bounded),
    )


class _Work:
    """Tables of the kernels: groups of each document, kept members of each group so far,
    scratch.
    """

    def __init__(self, cluster: Cluster, kept: NDArray[np.bool_], decided: int, limit: int) -> None:
        documents, groups = len(cluster), cluster.groups
        offsets, membership = (
            np.zeros(documents + 1, np.int64),
            np.empty(len(groups.members), np.int64),
        )
        _memberships(groups.offsets, groups.members, offsets, membership)
        kept_members, counts = (
            np.empty(len(groups.members), np.int64),
            np.zeros(len(groups), np.int64),
        )
        _kept_of_groups(groups.offsets, groups.members, kept, decided, kept_members, counts)
        order = np.arange(documents, dtype=np.int64)
        scratch = (
            np.full(documents, -1, np.int64),
            np.zeros(documents, np.int32),
            np.empty(documents, np.int64),
        )
        keys = np.empty(documents, np.uint64), np.empty(documents, np.uint64)
        self.tables = (
            offsets,
            membership,
            groups.offsets,
            kept_members,
            counts,
            order,
            *scratch,
            *keys,
        )


@kernel
def _memberships(group_offsets: Rows, members: Rows, offsets: Rows, membership: Rows) -> None:
    """Groups of each row in columns, ascending: ``offsets`` (n + 1,), zero before, and
    ``membership``.
    """
    for k in range(members.size):
        offsets[members[k] + 1] += 1
    for row in range(1, offsets.size):
        offsets[row] += offsets[row - 1]
    for group in range(group_offsets.size - 1):
        for k in range(group_offsets[group], group_offsets[group + 1]):
            membership[offsets[members[k]]] = group
            offsets[members[k]] += 1
    for row in range(offsets.size - 1, 0, -1):  # each now stands where the next began
        offsets[row] = offsets[row - 1]
    offsets[0] = 0


@kernel
def _kept_of_groups(
    group_offsets: Rows,
    members: Rows,
    kept: NDArray[np.bool_],
    decided: int,
    kept_members: Rows,
    counts: Rows,
) -> None:
    """Kept members of each group among the ``decided`` first rows, in order, where the group's
    members begin.
    """
    for group in range(group_offsets.size - 1):
        start = group_offsets[group]
        for k in range(start, group_offsets[group + 1]):
            if members[k] >= decided:
                break
            if kept[members[k]]:
                kept_members[start + counts[group]] = members[k]
                counts[group] += 1


@kernel
def _looked_at(
    row: int, offsets: Rows, membership: Rows, group_offsets: Rows, kept_members: Rows,
    counts: Rows, order: Rows, stamps: Rows, shared: NDArray[np.int32], candidates: Rows,
    keys: Hashes, spare: Hashes, limit: int,
) -> tuple[int, int]:  # fmt: skip
    """Kept documents that ``row`` is compared with, into ``candidates``: how many, and how many
    were left out.
    """
    found, beyond = gather_candidates(
        membership,
        offsets[row],
        offsets[row + 1],
        group_offsets,
        kept_members,
        counts,
        limit,
        row,
        stamps,
        shared,
        candidates,
    )
    if found > limit:
        most_shared_first(candidates, found, shared, order, order, keys, spare)
        beyond += found - limit
        found = limit
    return found, beyond


@kernel
def _match(
    row: int, last: int, offsets: Rows, membership: Rows, group_offsets: Rows, kept_members: Rows,
    counts: Rows, order: Rows, stamps: Rows, shared: NDArray[np.int32], candidates: Rows,
    keys: Hashes, spare: Hashes, starts: Rows, ends: Rows, hashes: Hashes, contained: bool,
    threshold: float, limit: int, found_row: Rows, found_earlier: Rows,
    found_similarity: NDArray[np.float64],
) -> tuple[int, int]:  # fmt: skip
    """Matches of rows from ``row`` on, until ``last`` or until the space might not hold those of
    the next; that row and their number.
    """
    count = 0
    while row < last and count + min(limit, stamps.size) <= found_row.size:
        found, _ = _looked_at(
            row,
            offsets,
            membership,
            group_offsets,
            kept_members,
            counts,
            order,
            stamps,
            shared,
            candidates,
            keys,
            spare,
            limit,
        )
        for k in range(found):
            other = candidates[k]
            value = bounded_similarity(
                hashes, starts[row], ends[row], starts[other], ends[other], contained, threshold
            )
            if value >= threshold:
                found_row[count], found_earlier[count], found_similarity[count] = row, other, value
                count += 1
        row += 1
    return row, count


@kernel
def _settle(
    row: int, last: int, offsets: Rows, membership: Rows, group_offsets: Rows, kept_members: Rows,
    counts: Rows, order: Rows, stamps: Rows, shared: NDArray[np.int32], candidates: Rows,
    keys: Hashes, spare: Hashes, starts: Rows, ends: Rows, hashes: Hashes, contained: bool,
    threshold: float, limit: int, match_offsets: Rows, earlier: Rows,
    match_similarity: NDArray[np.float64], best: Rows, similarity: NDArray[np.float32],
    hits: NDArray[np.int32],
) -> tuple[int, int, int]:  # fmt: skip
    """The greedy loop over a block; fills ``best`` (-1 = kept), ``similarity`` and ``hits``, by
    place in the block.
    """
    first = row
    compared = skipped = bounded = 0
    for row in range(first, last):
        place = row - first
        found, beyond = _looked_at(
            row,
            offsets,
            membership,
            group_offsets,
            kept_members,
            counts,
            order,
            stamps,
            shared,
            candidates,
            keys,
            spare,
            limit,
        )
        compared += found
        skipped += beyond
        bounded += int(beyond > 0)
        floor = threshold
        for k in range(found):
            other = candidates[k]
            value = -1.0
            if other < first:
                for m in range(match_offsets[place], match_offsets[place + 1]):
                    if earlier[m] == other:
                        value = match_similarity[m]
            else:
                value = bounded_similarity(
                    hashes, starts[row], ends[row], starts[other], ends[other], contained, floor
                )
            if value > floor or (value >= floor and (best[place] < 0 or other < best[place])):
                best[place], floor = other, value
        if best[place] >= 0:
            similarity[place], hits[place] = floor, shared[best[place]]
            continue
        for m in range(offsets[row], offsets[row + 1]):
            group = membership[m]
            kept_members[group_offsets[group] + counts[group]] = row
            counts[group] += 1
    return compared, skipped, bounded
