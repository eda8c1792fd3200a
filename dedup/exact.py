"""Exact duplicates: of the copies of one text the most wanted stays."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.ids import as_words
from dedup.runs import equal_runs


def keep_first(
    hashes: pa.FixedSizeBinaryArray, priority: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
    """Keep one row of each hash, the one with the lowest priority number.

    hashes: (n,) of 16 bytes, of whatever decides equality (text, URL). priority: (n,) ranks, 0 =
    most wanted, no two rows of one hash alike. Returns kept (n,) bool, kept_row (n,) the row that
    stands for each row (itself if kept) and cluster_size (n,) how many rows share its hash. Depends
    on hashes and priorities alone, not on the order of rows. 16-byte hashes: two texts of a corpus
    of 10^12 meet with probability 10^-15.

    Raises: ValueError when hashes are not 16 bytes wide or null, or lengths differ.
    """
    if hashes.type != pa.binary(16) or hashes.null_count:
        raise ValueError(
            f"hashes must be 16 bytes wide without nulls, not {hashes.type} with "
            f"{hashes.null_count} nulls"
        )
    if len(hashes) != len(priority):
        raise ValueError(f"{len(hashes)} hashes but {len(priority)} priorities")
    kept_row = np.arange(len(hashes), dtype=np.int64)
    cluster_size = np.ones(len(hashes), np.int64)
    halves = as_words(hashes)
    _, rows = equal_runs(halves[:, 0], kept_row)  # few rows share even half a hash
    rows = rows[np.lexsort((priority[rows], halves[rows, 1], halves[rows, 0]))]
    first = np.ones(len(rows), bool)
    first[1:] = (halves[rows[1:]] != halves[rows[:-1]]).any(axis=1)
    cluster = np.cumsum(first) - 1
    kept_row[rows] = rows[first][cluster]
    cluster_size[rows] = np.bincount(cluster)[cluster] if len(rows) else 0
    return kept_row == np.arange(len(hashes)), kept_row, cluster_size
