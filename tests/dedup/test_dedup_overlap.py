"""Samples of shingles against plain sets, merging in any order, and estimates against the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.near.overlap import (
    ShingleSample,
    contained,
    merged,
    sample_limit,
    sample_of,
    sampled_shingles,
)
from tests.dedup.dedup_model import column, shingles_of

texts = st.lists(st.text(st.sampled_from("ab é字.\n"), max_size=60), max_size=5)


@given(texts, st.integers(1, 3), st.sampled_from([1, 2, 3, 16]))
@settings(max_examples=200, deadline=None)
def test_samples_are_the_shingles_of_the_model_below_the_limit(
    found: list[str], ngrams: int, scale: int
) -> None:
    offsets, hashes = sampled_shingles(column(found), ngrams, scale)
    for row, text in enumerate(found):
        expected = sorted(
            {shingle for shingle in shingles_of(text, ngrams) if shingle < 2**64 // scale}
        )
        assert hashes[offsets[row] : offsets[row + 1]].tolist() == expected


def test_long_and_many_texts_have_room() -> None:
    long = " ".join(f"w{number % 4000}" for number in range(9000))
    found = [long, "a b", long]
    offsets, hashes = sampled_shingles(column(found), 2, 1)
    assert np.diff(offsets).tolist() == [4000, 1, 4000]
    assert hashes[:4000].tolist() == sorted(set(shingles_of(long, 2)))
    assert (
        np.diff(sampled_shingles(column(found * 50), 2, 7)[0]).reshape(-1, 3)
        == np.diff(sampled_shingles(column(found), 2, 7)[0])
    ).all()


values = st.lists(st.integers(0, 2**64 - 1), max_size=40)


@given(
    st.lists(values, min_size=1, max_size=4), st.integers(1, 12), st.randoms(use_true_random=False)
)
@settings(max_examples=300, deadline=None)
def test_merging_comes_to_the_sample_of_everything_in_any_order(
    parts: list[list[int]], most: int, random: object
) -> None:
    limit = sample_limit(2)
    whole = sample_of(np.array([value for part in parts for value in part], np.uint64), limit, most)
    samples = [sample_of(np.array(part, np.uint64), limit, most) for part in parts]
    random.shuffle(samples)  # type: ignore[attr-defined]
    together = samples[0]
    for sample in [*samples[1:], samples[0]]:
        together = merged(together, sample, most)
    assert (together.limit, together.hashes.tolist()) == (whole.limit, whole.hashes.tolist())
    assert len(whole.hashes) <= most
    if whole.limit < limit:  # halved no more often than needed
        assert len({value for part in parts for value in part if value < 2 * whole.limit}) > most


@given(values, values)
@settings(max_examples=200, deadline=None)
def test_of_all_hashes_the_share_is_exact(one: list[int], other: list[int]) -> None:
    whole = 1 << 64
    share = contained(
        sample_of(np.array(one, np.uint64), whole), sample_of(np.array(other, np.uint64), whole)
    )
    assert (share.hits, share.trials) == (len(set(one) & set(other)), len(set(one)))


@pytest.mark.slow
def test_estimates_are_near_the_truth_and_the_interval_holds_it_as_often_as_it_says() -> None:
    """A small source of which 3 % lie in one that is 50 times as large and thinned more."""
    random = np.random.default_rng(3)
    inside, sizes, shares = 0, [], []
    for _ in range(120):
        large = random.integers(0, 2**64, 100_000, np.uint64, endpoint=False)
        small = np.concatenate(
            [large[:60], random.integers(0, 2**64, 1940, np.uint64, endpoint=False)]
        )
        one, other = (
            sample_of(small, sample_limit(4)),
            sample_of(large, sample_limit(4), most=10_000),
        )
        assert other.limit < one.limit
        share = contained(one, other)
        inside += int(share.low <= 0.03 <= share.high)
        shares.append(share.value or 0.0)
        sizes.append(other.distinct)
    assert inside >= 0.95 * 120
    assert np.mean(shares) == pytest.approx(0.03, rel=0.12)
    assert np.mean(sizes) == pytest.approx(100_000, rel=0.005)
    # 6,250 or so are looked at
    assert np.std(sizes) == pytest.approx(100_000 / np.sqrt(6000), rel=0.35)


def test_an_empty_source_is_in_no_other() -> None:
    empty, full = (
        ShingleSample(np.empty(0, np.uint64), 1 << 64),
        ShingleSample(np.array([5], np.uint64), 1 << 64),
    )
    assert contained(empty, full).value is None
    assert contained(full, empty).value == 0.0
