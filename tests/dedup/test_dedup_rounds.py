"""Rounds over blocks of a cluster decide what the one greedy loop decides, counts included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.near.rounds import Bounds, Cluster, blocks, joined, matches_before, settle_block
from dedup.near.verify import Verdict, greedy_keep
from tests.dedup.test_dedup_verify import Case, cases, groups_of, sets_of


def in_rounds(case: Case, first: int, pieces: int) -> Verdict:
    """``case`` in keep order; every block is matched in so many pieces."""
    sets = sets_of(case.sets)
    cluster = Cluster(groups_of(case.groups), sets.offsets[:-1], sets.offsets[1:], sets.hashes)
    bounds = Bounds(case.threshold, case.limit, case.measure == "containment")
    kept = np.ones(len(cluster), np.bool_)
    settled = []
    for start, end in blocks(len(cluster), first, largest=3 * first):
        cuts = np.linspace(start, end, pieces + 1).astype(int).tolist()
        parts = [
            matches_before(cluster, kept, start, (one, other), bounds)
            for one, other in zip(cuts, cuts[1:], strict=False)
        ]
        matches = joined(parts)
        settled.append(settle_block(cluster, kept, start, (start, end), matches, bounds))
        kept[settled[-1].row] = False
    columns = [
        np.concatenate([getattr(part, name) for part in settled])
        for name in ("row", "kept_row", "similarity", "bands_hit")
    ]
    counts = [
        sum(getattr(part, name) for part in settled) for name in ("compared", "skipped", "bounded")
    ]
    return Verdict(kept, *columns, np.zeros(0, np.int64), *counts, 0)


@given(cases(), st.integers(1, 4), st.integers(1, 3))
@settings(max_examples=400, deadline=None)
def test_rounds_decide_as_the_one_loop(case: Case, first: int, pieces: int) -> None:
    ordered = Case(
        list(range(len(case.sets))),
        case.groups,
        case.sets,
        case.threshold,
        case.limit,
        case.measure,
    )
    one = greedy_keep(
        np.arange(len(case.sets)),
        groups_of(case.groups),
        sets_of(case.sets),
        case.threshold,
        case.limit,
        case.measure,
    )
    other = in_rounds(ordered, first, pieces)
    for name in ("kept", "document", "kept_document", "similarity", "bands_hit"):
        assert getattr(other, name).tolist() == getattr(one, name).tolist(), name
    assert (other.compared, other.skipped, other.bounded) == (
        one.compared,
        one.skipped,
        one.bounded,
    )


@pytest.mark.parametrize("limit", [pytest.param(8, marks=pytest.mark.slow), 1 << 20])
def test_a_large_template_with_copies_in_it(limit: int) -> None:
    rng = np.random.default_rng(limit)
    own = [
        frozenset(rng.integers(100 + 1000 * k, 1100 + 1000 * k, 30).tolist()) for k in range(900)
    ]
    sets = [frozenset(range(40)) | values for values in own]
    for copy in rng.integers(100, 900, 150):
        sets[copy] = sets[int(rng.integers(0, copy))]
    bands = [sorted(rng.choice(900, 700, replace=False).tolist()) for _ in range(5)]
    case = Case(list(range(900)), bands, sets, 0.7, limit)
    one = greedy_keep(np.arange(900), groups_of(bands), sets_of(sets), 0.7, limit)
    other = in_rounds(case, 64, 4)
    assert other.document.tolist() == one.document.tolist()
    assert len(one.document) > (50 if limit > 8 else 0)
    assert other.kept_document.tolist() == one.kept_document.tolist()
    assert (other.compared, other.skipped, other.bounded) == (
        one.compared,
        one.skipped,
        one.bounded,
    )


def test_blocks_double_and_cover_all_rows() -> None:
    assert blocks(10, 2, 4) == [(0, 2), (2, 4), (4, 8), (8, 10)]
    assert blocks(0) == []
    for documents in (1, 1023, 5000, 1_000_000):
        found = blocks(documents)
        assert [start for start, _ in found] == [0, *[end for _, end in found[:-1]]]
        assert found[-1][1] == documents
