"""Estimates over seeds: t intervals, pairs, margins, families and pooled spreads, against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from artifacts.errors import UserError
from artifacts.statistics.estimates import Estimate, difference, mean_of, paired_difference
from artifacts.statistics.families import holm
from artifacts.statistics.margins import equivalence, inferiority, not_worse, superiority
from artifacts.statistics.pooled import pooled_variance

LOSSES = st.lists(st.floats(1, 9), min_size=2, max_size=8)
P = st.lists(st.floats(0, 1), min_size=1, max_size=9)


def test_a_paired_difference_is_the_paired_t_interval() -> None:
    first, second = [3.1, 3.2, 3.15, 3.3], [3.2, 3.25, 3.3, 3.35]
    found = paired_difference(dict(enumerate(first)), dict(enumerate(second)))
    wanted = stats.ttest_rel(first, second).confidence_interval()
    assert found.interval() == pytest.approx((wanted.low, wanted.high))
    assert (found.low, found.high) == found.interval()
    assert found.degrees == 3


def test_pairs_are_made_by_seed_and_not_by_place() -> None:
    first, second = {1: 3.0, 2: 3.5, 3: 3.2}, {3: 3.3, 1: 3.0, 2: 3.7}
    assert paired_difference(first, second).value == pytest.approx(-0.1)


def test_an_unpaired_difference_is_welchs() -> None:
    first, second = [3.1, 3.2, 3.15], [3.2, 3.25, 3.3, 3.9]
    found = difference(first, second)
    wanted = stats.ttest_ind(first, second, equal_var=False)
    assert found.interval() == pytest.approx(tuple(wanted.confidence_interval()))
    assert found.degrees == pytest.approx(wanted.df)


@given(LOSSES, st.floats(-1, 1))
def test_one_sided_p_are_those_of_scipy_and_add_to_one(losses: list[float], bound: float) -> None:
    found = mean_of(losses)
    if found.error < 1e-9:
        return
    centre = found.value + bound
    below = stats.ttest_1samp(losses, centre, alternative="less").pvalue
    assert found.p_below(centre) == pytest.approx(below, abs=1e-9)
    assert found.p_below(centre) + found.p_above(centre) == pytest.approx(1)


@given(LOSSES, st.floats(0, 2))
def test_equivalence_agrees_with_the_interval_inside_the_margin(
    losses: list[float], margin: float
) -> None:
    found = mean_of([loss - 5 for loss in losses])
    low, high = found.interval(0.95)
    if min(abs(low + margin), abs(high - margin)) < 1e-9 or found.error < 1e-9:
        return
    assert (equivalence(found, margin) < 0.025) == (low > -margin and high < margin)
    assert (superiority(found, margin) < 0.025) == (high < -margin)
    assert (inferiority(found, margin) < 0.025) == (low > margin)
    assert (not_worse(found, margin) < 0.025) == (high < margin)


def test_without_spread_p_is_certain() -> None:
    same = paired_difference({1: 3.0, 2: 4.0}, {1: 3.0, 2: 4.0})
    assert (same.error, same.interval()) == (0.0, (0.0, 0.0))
    assert equivalence(same, 0.02) == 0.0
    assert equivalence(same, 0.0) == 1.0
    assert superiority(same) == 1.0


def test_another_unit_scales_the_interval() -> None:
    found = Estimate(2.0, 0.5, 4).scaled(-2)
    assert (found.value, found.error, found.degrees) == (-4.0, 1.0, 4)
    assert found.to_json()["low"] == found.low


@pytest.mark.parametrize("margin", [-0.1, math.nan, math.inf])
def test_a_margin_is_a_distance(margin: float) -> None:
    with pytest.raises(UserError, match="a margin is a distance"):
        superiority(Estimate(0, 1, 2), margin)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(UserError, match="seeds that only one side has: 2, 3"):
        paired_difference({1: 3.0, 2: 3.0}, {1: 3.0, 3: 3.0})
    with pytest.raises(UserError, match="noise of seeds"):
        mean_of([3.0])
    with pytest.raises(UserError, match="noise of seeds"):
        difference([3.0, 3.1], [])
    with pytest.raises(UserError) as raised:
        mean_of([3.0, math.nan])
    assert raised.value.field == "values[1]"
    with pytest.raises(UserError, match="finite value"):
        Estimate(1.0, math.nan, 2)


def test_holm_adjusts_as_r_does() -> None:
    """p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm"), by R's documented rule."""
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([]) == []


@given(P)
def test_holm_is_between_no_correction_and_bonferronis_and_keeps_the_order(p: list[float]) -> None:
    adjusted = holm(p)
    for raw, value in zip(p, adjusted, strict=True):
        assert raw <= value <= min(1.0, raw * len(p)) + 1e-12
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
    assert holm(p[::-1]) == pytest.approx(adjusted[::-1])


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan])
def test_holm_refuses_what_is_no_probability(wrong: float) -> None:
    with pytest.raises(UserError) as raised:
        holm([0.5, wrong])
    assert raised.value.field == "p[1]"


def test_the_chance_of_any_false_claim_stays_at_alpha() -> None:
    draw = np.random.default_rng(3)
    p = draw.uniform(size=(2000, 6))
    false = sum(min(holm(row.tolist())) <= 0.05 for row in p)
    low, high = stats.binom.interval(0.999, 2000, 1 - (1 - 0.05 / 6) ** 6)
    assert low <= false <= high


def test_the_pooled_deviation_is_the_root_of_the_mean_square_within_groups() -> None:
    groups = [[3.0, 3.2, 3.1], [4.0, 4.1], [9.0]]
    found = pooled_variance(groups)
    wanted = (2 * np.var(groups[0], ddof=1) + np.var(groups[1], ddof=1)) / 3
    assert found.value == pytest.approx(wanted)
    assert found.degrees == 3
    assert found.deviation == pytest.approx(math.sqrt(wanted))


@given(LOSSES, LOSSES, st.floats(-3, 3))
def test_a_group_may_be_moved_without_changing_the_pooled_variance(
    one: list[float], other: list[float], shift: float
) -> None:
    moved = [value + shift for value in other]
    assert pooled_variance([one, moved]).value == pytest.approx(
        pooled_variance([one, other]).value, abs=1e-9
    )


def test_the_interval_of_a_deviation_is_chi_squareds() -> None:
    found = pooled_variance([[1.0, 2.0, 4.0]])
    low, high = (math.sqrt(found.value * 2 / stats.chi2.ppf(area, 2)) for area in (0.975, 0.025))
    assert found.deviation_interval() == pytest.approx((low, high))


def test_a_spread_needs_two_seeds_somewhere() -> None:
    with pytest.raises(UserError, match="at least two"):
        pooled_variance([[1.0], [2.0]])
