"""Candidates by locality-sensitive hashing: rows that share a band key, and the clusters they form.

A cluster (everything reachable over shared keys) is reported, never acted upon: chains a~b~c~d join
documents that have nothing in common. :mod:`dedup.near.verify` decides pair by pair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel
from dedup.runs import equal_runs
from dedup.words import Hashes, Rows


@dataclass(frozen=True)
class Groups:
    """Rows that share a band key, in columns: group g is ``members[offsets[g]:offsets[g + 1]]``, at
    least two rows, ascending.
    """

    offsets: Rows
    members: Rows

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, group: int) -> Rows:
        return self.members[self.offsets[group] : self.offsets[group + 1]]

    def candidates(self, documents: int) -> NDArray[np.bool_]:
        """Which of the table's rows are in any group, (documents,): those whose shingle sets
        verification needs.
        """
        mask = np.zeros(documents, bool)
        mask[self.members] = True
        return mask


def candidate_groups(keys: Hashes, has_signature: NDArray[np.bool_]) -> Groups:
    """Groups of rows with equal keys in a band: keys (n, bands), has_signature (n,).

    Bands in order, in a band by key. A pair that agrees in three bands is in three groups. One
    sort per band; 24 bytes per row of scratch.
    """
    rows = np.flatnonzero(has_signature)
    bands = [
        equal_runs(np.ascontiguousarray(keys[rows, band]), rows) for band in range(keys.shape[1])
    ]
    lengths = np.concatenate([np.zeros(1, np.int64), *[np.diff(offsets) for offsets, _ in bands]])
    members = np.concatenate([np.zeros(0, np.int64), *[members for _, members in bands]])
    return Groups(np.cumsum(lengths), members)


def cluster_roots(groups: Groups, documents: int) -> Rows:
    """The lowest row of each row's cluster, (documents,): connected components over the groups."""
    parents = np.arange(documents, dtype=np.int64)
    unite(groups.offsets, groups.members, parents)
    flatten(parents)
    return parents


def cluster_sizes(groups: Groups, documents: int) -> Rows:
    """How many rows are in each row's cluster, (documents,); 1 for a row without candidates."""
    roots = cluster_roots(groups, documents)
    return np.bincount(roots, minlength=documents)[roots].astype(np.int64)


@kernel
def unite(offsets: Rows, members: Rows, parents: Rows) -> None:
    """Union-find with path halving, the lower row on top: joins the groups to the clusters that
    ``parents`` holds already.
    """
    for group in range(offsets.size - 1):
        one = members[offsets[group]]
        for k in range(offsets[group] + 1, offsets[group + 1]):
            other = members[k]
            while parents[one] != one:
                parents[one] = parents[parents[one]]
                one = parents[one]
            while parents[other] != other:
                parents[other] = parents[parents[other]]
                other = parents[other]
            low, high = min(one, other), max(one, other)
            parents[high] = low
            one = low


@kernel
def flatten(parents: Rows) -> None:
    """Make every parent a root, in place."""
    for row in range(parents.size):  # parents are lower rows, so theirs are final
        parents[row] = parents[parents[row]]
