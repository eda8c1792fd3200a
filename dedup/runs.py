"""Rows that share a key: the grouping under exact dedup and LSH."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def equal_runs(
    keys: NDArray[Any], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows with equal keys, runs of one left out: offsets (runs + 1,) and members.

    ``keys`` and ``rows`` are (n,); runs come in the order of their keys, members by row. One sort
    of the keys (unstable, so the fastest there is); only members of runs are sorted again.
    """
    order = np.argsort(keys)
    ordered = keys[order]
    same = np.zeros(len(keys) + 1, bool)  # same[k]: ordered[k] equals ordered[k - 1]
    same[1:-1] = ordered[1:] == ordered[:-1]
    in_run = same[:-1] | same[1:]
    run = np.cumsum(~same[:-1][in_run]) - 1
    members = rows[order[in_run]]
    members = members[np.lexsort((members, run))]
    offsets = np.zeros((int(run[-1]) if len(run) else -1) + 2, np.int64)
    np.cumsum(np.bincount(run), out=offsets[1:])
    return offsets, members


def least_rows(groups: NDArray[np.int64], words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Of each row's group the row with the least id, (n,). groups: (n,) the same number for rows of
    one group; words: (n, 2) ids.
    """
    order = np.lexsort((words[:, 1], words[:, 0], groups))
    first = np.ones(len(order), np.bool_)
    first[1:] = groups[order[1:]] != groups[order[:-1]]
    least = np.empty(len(order), np.int64)
    least[order] = order[first][np.cumsum(first) - 1]
    return least
