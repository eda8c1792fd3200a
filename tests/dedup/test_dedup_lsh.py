from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from dedup.near.lsh import Groups, candidate_groups, cluster_roots, cluster_sizes
from dedup.runs import equal_runs

key_tables = st.integers(1, 4).flatmap(
    lambda bands: st.lists(
        st.tuples(st.booleans(), *[st.sampled_from([0, 1, 2, 2**64 - 1])] * bands),
        min_size=1,
        max_size=25,
    )
)


def table_of(rows: list[tuple[int, ...]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([row[1:] for row in rows], np.uint64), np.array([row[0] for row in rows], bool)


@given(key_tables)
@settings(deadline=None)
def test_groups_are_the_rows_that_share_a_key_in_a_band(rows: list[tuple[int, ...]]) -> None:
    keys, has_signature = table_of(rows)
    groups = candidate_groups(keys, has_signature)
    expected = []
    for band in range(keys.shape[1]):
        for key in sorted(set(keys[:, band].tolist())):
            members = [
                row for row in range(len(keys)) if has_signature[row] and keys[row, band] == key
            ]
            if len(members) > 1:
                expected.append(members)
    assert [groups[g].tolist() for g in range(len(groups))] == expected
    assert groups.candidates(len(rows)).tolist() == [
        any(row in members for members in expected) for row in range(len(rows))
    ]


@given(key_tables)
@settings(deadline=None)
def test_clusters_are_the_connected_components_of_scipy(rows: list[tuple[int, ...]]) -> None:
    keys, has_signature = table_of(rows)
    groups = candidate_groups(keys, has_signature)
    links = [(groups[g][0], member) for g in range(len(groups)) for member in groups[g][1:]]
    left, right = np.array(links, np.int64).reshape(-1, 2).T
    _, labels = connected_components(
        coo_matrix((np.ones(len(left)), (left, right)), shape=(len(rows), len(rows))),
        directed=False,
    )
    roots, sizes = cluster_roots(groups, len(rows)), cluster_sizes(groups, len(rows))
    for row in range(len(rows)):
        same = np.flatnonzero(labels == labels[row])
        assert roots[row] == same[0]
        assert sizes[row] == len(same)


def test_a_long_chain_is_one_cluster() -> None:
    documents = 50_000
    members = np.repeat(np.arange(documents), 2)[1:-1]
    groups = Groups(np.arange(0, len(members) + 1, 2), members)
    assert not cluster_roots(groups, documents).any()
    assert (cluster_sizes(groups, documents) == documents).all()


def test_no_rows_no_groups() -> None:
    groups = candidate_groups(np.zeros((0, 14), np.uint64), np.zeros(0, bool))
    assert (len(groups), len(groups.members), cluster_sizes(groups, 0).tolist()) == (0, 0, [])
    assert cluster_sizes(groups, 3).tolist() == [1, 1, 1]


def test_runs_of_one_are_left_out() -> None:
    offsets, members = equal_runs(
        np.array([7, 3, 7, 5, 3, 7], np.uint64), np.array([10, 11, 12, 13, 14, 15])
    )
    assert (offsets.tolist(), members.tolist()) == ([0, 2, 5], [11, 14, 10, 12, 15])
    offsets, members = equal_runs(np.array([1, 2], np.uint64), np.array([0, 1]))
    assert (offsets.tolist(), members.tolist()) == ([0], [])
