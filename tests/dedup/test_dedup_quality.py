"""Measured quality against brute force: the join over all pairs, intervals by their definition, and
what a run missed.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from artifacts.errors import UserError
from dedup.near.curve import Curve
from dedup.near.quality import (
    confirmations,
    expected_recall,
    plain_jaccard,
    plain_shingles,
    proportion,
    recall_of,
    sample_index,
    similar_pairs,
)
from dedup.shingles import ShingleSets, shingle_sets
from tests.dedup.dedup_model import column, jaccard_of, words_of


def sets_of(sets: list[frozenset[int]]) -> ShingleSets:
    offsets = np.cumsum([0, *[len(values) for values in sets]])
    return ShingleSets(
        offsets.astype(np.int64),
        np.array([v for values in sets for v in sorted(values)], np.uint64),
    )


few = st.frozensets(st.integers(0, 12).map(lambda number: number * 0x1555555555555555), max_size=12)


@given(
    st.lists(few, max_size=12),
    st.lists(few, max_size=12),
    st.sampled_from([0.05, 1 / 3, 0.5, 0.6, 2 / 3, 0.7, 0.75, 1.0]),
)
@settings(max_examples=500, deadline=None)
def test_the_join_finds_the_pairs_that_comparing_all_finds(
    sample: list[frozenset[int]], probes: list[frozenset[int]], threshold: float
) -> None:
    pairs = similar_pairs(sample_index(sets_of(sample), threshold), sets_of(probes))
    found = list(
        zip(pairs.probe.tolist(), pairs.sample.tolist(), pairs.similarity.tolist(), strict=True)
    )
    similar = [
        (p, s, np.float32(jaccard_of(one, other)).item())
        for p, one in enumerate(probes)
        for s, other in enumerate(sample)
        if one and other and jaccard_of(one, other) >= threshold
    ]
    assert found == similar


def test_the_join_grows_with_what_it_finds() -> None:
    sets = sets_of([frozenset(range(20))] * 60)
    pairs = similar_pairs(sample_index(sets, 0.7), sets)
    assert len(pairs.sample) == 3600
    assert (pairs.similarity == 1).all()


@given(st.integers(0, 60), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_the_interval_is_that_of_clopper_and_pearson(hits: int, trials: int) -> None:
    hits = min(hits, trials)
    found = proportion(hits, trials)
    assert found.low <= hits / trials <= found.high
    if hits:  # at its ends what was seen, or more extreme, has probability 2.5 %
        assert binom.sf(hits - 1, trials, found.low) == pytest.approx(0.025)
    if hits < trials:
        assert binom.cdf(hits, trials, found.high) == pytest.approx(0.025)


def test_the_whole_population_leaves_nothing_to_guess_and_nothing_everything() -> None:
    whole, nothing = proportion(3, 10, 10), proportion(0, 0)
    assert (whole.value, whole.low, whole.high) == (0.3, 0.3, 0.3)
    assert (nothing.value, nothing.low, nothing.high) == (None, 0.0, 1.0)


def test_the_interval_of_recall_holds_the_truth_as_often_as_it_says() -> None:
    """900 removed, 10,000 kept of which 150 were missed: samples of 1,000."""
    random = np.random.default_rng(4)
    truth, inside, values = 900 / 1050, 0, []
    for _ in range(400):
        hits = int(random.hypergeometric(150, 9850, 1000))
        value, low, high = recall_of(900, 10_000, proportion(hits, 1000, 10_000))
        inside += int(low <= truth <= high)
        values.append(1000 * (1 / value - 1) if value else 0.0)
    assert inside >= 0.95 * 400
    # of the missed ones the estimate is unbiased
    assert np.mean(values) == pytest.approx(1000 * 150 / 900, rel=0.03)


def test_recall_without_anything_to_find_is_not_known() -> None:
    assert recall_of(0, 50, proportion(0, 50, 50)) == (None, 0.0, 1.0)
    assert recall_of(0, 50, proportion(2, 50, 50)) == (0.0, 0.0, 0.0)
    assert recall_of(10, 50, proportion(0, 50, 50)) == (1.0, 1.0, 1.0)


def test_the_expected_recall_is_near_that_of_drawn_pairs() -> None:
    random = np.random.default_rng(8)
    curve = Curve(14, 8)
    similarity = random.uniform(0.6, 1.0, 40_000).astype(np.float32)
    found = similarity[random.uniform(size=len(similarity)) < curve.probability(similarity)]
    assert expected_recall(found, curve) == pytest.approx(len(found) / len(similarity), abs=0.01)
    assert expected_recall(np.empty(0, np.float32), curve) is None


scripts = st.text(st.sampled_from("abÀ é字語한ไß.1ـ️‍\U00020000\U0001f600"), max_size=40)


@given(scripts, st.integers(1, 4))
@settings(max_examples=300, deadline=None)
def test_plain_shingles_are_runs_of_the_words_of_the_model(text: str, ngrams: int) -> None:
    words = words_of(text)
    runs = {tuple(words[start : start + ngrams]) for start in range(len(words) - ngrams + 1)}
    assert plain_shingles(text, ngrams) == runs


@given(scripts, scripts)
@settings(max_examples=200, deadline=None)
def test_both_implementations_agree_on_the_similarity(one: str, other: str) -> None:
    sets = shingle_sets(column([one, other]), 2)
    assert plain_jaccard(one, other, 2) == jaccard_of(
        frozenset(sets[0].tolist()), frozenset(sets[1].tolist())
    )


def test_confirmations_count_pairs_that_reach_the_threshold() -> None:
    pairs = [("a b c d", "a b c d"), ("a b c d", "a b c e"), ("a b c d", "w x y z")]
    assert confirmations(iter(pairs), 2, 0.5) == (2, 3)


def test_a_threshold_out_of_range_is_named() -> None:
    with pytest.raises(UserError) as caught:
        sample_index(sets_of([]), 0.0)
    assert caught.value.field == "threshold"
