"""The chairman assignment: every source within one window of its share, always, in exact
numbers.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixtures.plan.shares import apportioned, between, shares_of
from mixtures.sequences.chairman import LONGEST_RAMP, SHARE_UNITS, Mix, assign

WEIGHTS = st.lists(st.integers(0, 1000), min_size=1, max_size=50).filter(
    lambda weights: sum(weights) > 0
)


def shares(weights: list[int]) -> tuple[int, ...]:
    return apportioned([Fraction(weight) for weight in weights])


def due(mix: Mix, windows: int) -> list[Fraction]:
    """P_i from its definition: the sum of the shares in the middle of each window."""
    horizon = mix.horizon or 1
    total = [Fraction(0)] * len(mix.start)
    for window in range(windows):
        part = (Fraction(2 * window + 1, 2 * horizon)) if mix.horizon else Fraction(0)
        total = [
            sofar + (first + (last - first) * part) / SHARE_UNITS
            for sofar, first, last in zip(total, mix.start, mix.end, strict=True)
        ]
    return total


def worst(mix: Mix, windows: int) -> float:
    """The largest deviation from the due counts after any window, in whole numbers over 2 h U."""
    sequence = mix.sequence(0, windows)
    horizon = mix.horizon or SHARE_UNITS
    window = np.arange(1, windows + 1, dtype=object)
    largest = 0
    for source, (first, last) in enumerate(zip(mix.start, mix.end, strict=True)):
        had = np.cumsum(sequence == source).astype(object)
        off = had * (2 * horizon * SHARE_UNITS) - (
            2 * horizon * first * window + (last - first) * window * window
        )
        largest = max(largest, int(np.abs(off).max()))
    return largest / (2 * horizon * SHARE_UNITS)


@given(WEIGHTS, st.integers(1, 600))
@settings(max_examples=60)
def test_constant_shares_are_kept_within_one_window(weights: list[int], windows: int) -> None:
    own = shares(weights)
    sources = max(2, sum(share > 0 for share in own))
    assert worst(Mix(own, own), windows) <= 1 - 1 / (2 * sources - 2) + 1e-9


@given(WEIGHTS, st.data(), st.integers(1, 600))
@settings(max_examples=60)
def test_shares_on_a_ramp_are_kept_within_one_window(
    weights: list[int], data: st.DataObject, horizon: int
) -> None:
    other = data.draw(st.permutations(weights))
    mix = Mix(shares(weights), shares(other), horizon)
    assert worst(mix, horizon) < 1
    assert mix.due(horizon) == pytest.approx(
        [float(value) for value in due(mix, horizon)], abs=1e-6
    )


@pytest.mark.parametrize(
    "weights", [[49] + [1] * 49, [1] * 50, list(range(1, 51)), [1000, 1, 1], [1, 0, 1]]
)
def test_fifty_sources_stay_within_one_window_over_twenty_thousand(weights: list[int]) -> None:
    own = shares(weights)
    assert worst(Mix(own, own), 20_000) < 1


def test_the_longest_ramp_does_not_overflow() -> None:
    mix = Mix((SHARE_UNITS, 0, 0), (0, 1, SHARE_UNITS - 1), LONGEST_RAMP)
    assert mix.counts(LONGEST_RAMP).sum() == LONGEST_RAMP
    assert np.abs(mix.counts(LONGEST_RAMP) - mix.due(LONGEST_RAMP)).max() < 1
    assert np.abs(mix.counts(177_777) - mix.due(177_777)).max() < 1


def test_a_constant_mix_has_shown_exactly_its_shares_after_a_period_and_repeats() -> None:
    own = shares([5, 3, 1, 0])
    mix = Mix(own, own)
    assert mix.counts(SHARE_UNITS).tolist() == list(own)
    assert (
        mix.counts(3 * SHARE_UNITS + 10).tolist() == (3 * np.array(own) + mix.counts(10)).tolist()
    )
    around = mix.sequence(SHARE_UNITS - 5, SHARE_UNITS + 5)
    assert around.tolist() == [
        *mix.sequence(SHARE_UNITS - 5, SHARE_UNITS).tolist(),
        *mix.sequence(0, 5).tolist(),
    ]


def test_a_source_without_a_share_is_never_served() -> None:
    own = shares([1, 0, 2])
    assert not (Mix(own, own).sequence(0, 5000) == 1).any()


@given(WEIGHTS, st.integers(0, 9000), st.integers(0, 300))
@settings(max_examples=40)
def test_any_stretch_and_count_is_that_of_the_whole_sequence(
    weights: list[int], first: int, length: int
) -> None:
    own = shares(weights)
    mix = Mix(own, own)
    whole = assign(np.array(own), np.array(own), SHARE_UNITS, 9300)
    assert (mix.sequence(first, first + length) == whole[first : first + length]).all()
    assert (mix.counts(first) == np.bincount(whole[:first], minlength=len(own))).all()


@pytest.mark.parametrize("horizon", [0, 5000])
def test_place_of_finds_each_window_of_a_source(horizon: int) -> None:
    mix = Mix(shares([3, 2, 1]), shares([3, 2, 1] if not horizon else [1, 2, 3]), horizon)
    sequence = mix.sequence(0, 5000)
    for source in range(3):
        places = np.flatnonzero(sequence == source)
        assert [mix.place_of(source, number) for number in range(0, len(places), 97)] == places[
            ::97
        ].tolist()
    if not horizon:
        again = mix.place_of(1, mix.start[1] + 7)
        assert again == SHARE_UNITS + mix.place_of(1, 7)


@given(WEIGHTS)
def test_units_sum_exactly_and_are_within_one_of_the_weight(weights: list[int]) -> None:
    own = shares(weights)
    assert sum(own) == SHARE_UNITS
    assert all(
        abs(share - SHARE_UNITS * weight / sum(weights)) < 1
        for share, weight in zip(own, weights, strict=True)
    )


def test_shares_between_two_mixes_are_linear() -> None:
    assert between((SHARE_UNITS, 0), (0, SHARE_UNITS), Fraction(1, 4)) == (
        SHARE_UNITS * 3 // 4,
        SHARE_UNITS // 4,
    )
    assert shares_of({"b": 0.25, "a": 0.75}, ["a", "b", "c"], "weights") == (
        SHARE_UNITS * 3 // 4,
        SHARE_UNITS // 4,
        0,
    )
