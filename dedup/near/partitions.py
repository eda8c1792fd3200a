"""Cutting a large comparison into parts of bounded size that are decided independently of one
another.

Before candidates are known, keys are cut: a *partition* holds the keys of one band that begin with
the same bits, so that equal keys always meet. Afterwards clusters are: a *shard* holds whole
clusters, so that all documents a document may be compared with are in its shard.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel
from dedup.words import Hashes, Rows

MAX_PREFIXES = 1 << 16

NO_SHARD = -1


def prefixes_for(rows: int, partition_rows: int) -> int:
    """How many prefixes cut the keys of one band of ``rows`` documents into partitions of about
    ``partition_rows``: a power of two.
    """
    prefixes = 1
    while prefixes < MAX_PREFIXES and rows > prefixes * partition_rows:
        prefixes *= 2
    return prefixes


def partitions(
    keys: Hashes, rows: NDArray[np.uint32], prefixes: int
) -> Iterator[tuple[int, Hashes, NDArray[np.uint32]]]:
    """Keys by partition: (number, keys, rows) with number = band * prefixes + first bits of the
    key, ascending, empty ones too.

    keys: (n, bands); rows: (n,) the row of each; prefixes: a power of two. Within a partition rows
    keep their order.
    """
    shift = np.uint64(64 - (prefixes.bit_length() - 1))
    for band in range(keys.shape[1]):
        column = np.ascontiguousarray(keys[:, band])
        if prefixes == 1:
            yield band, column, rows
            continue
        prefix = (column >> shift).astype(np.uint16)
        order = np.argsort(prefix, kind="stable")
        bounds = np.searchsorted(prefix[order], np.arange(prefixes + 1))
        for number in range(prefixes):
            here = order[bounds[number] : bounds[number + 1]]
            yield band * prefixes + number, column[here], rows[here]


def deal_clusters(
    roots: Rows, is_candidate: NDArray[np.bool_], weight: Rows, budget: int
) -> tuple[NDArray[np.int32], int]:
    """Deal clusters into shards, in the order of their lowest rows, each shard as many as stay
    within ``budget``.

    roots: (n,) lowest row of each row's cluster. is_candidate: (n,). weight: (n,) of each row, at
    least 0; on return that of the whole cluster at each root. A cluster heavier than the budget has
    a shard of its own. Returns the shard of each row, (n,) int32, :data:`NO_SHARD` for those that
    are no candidates, and the number of shards.
    """
    shard = np.full(len(roots), NO_SHARD, np.int32)
    return shard, int(_deal(roots, is_candidate, weight, budget, shard))


@kernel
def _deal(
    roots: Rows,
    is_candidate: NDArray[np.bool_],
    weight: Rows,
    budget: int,
    shard: NDArray[np.int32],
) -> int:
    for row in range(roots.size):
        if is_candidate[row] and roots[row] != row:
            weight[roots[row]] += weight[row]
    shards = filled = 0
    for row in range(roots.size):
        if not is_candidate[row]:
            continue
        if roots[row] == row:
            if shards == 0 or filled + weight[row] > budget:
                shards += 1
                filled = 0
            filled += weight[row]
            shard[row] = shards - 1
        else:
            shard[row] = shard[roots[row]]  # a root is the lowest row of its cluster
    return shards
