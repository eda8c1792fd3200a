"""Power: published figures, scipy's noncentral t, and what a simulation shows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from artifacts.errors import UserError
from artifacts.statistics.power import half_width, power, seeds_needed


@pytest.mark.parametrize(
    ("seeds", "width"), [(2, 8.98), (3, 2.48), (4, 1.59), (5, 1.24), (8, 0.84)]
)
def test_half_widths_in_units_of_the_deviation(seeds: int, width: float) -> None:
    assert half_width(seeds, 1.0) == pytest.approx(width, abs=0.005)


@pytest.mark.parametrize(("seeds", "chance"), [(3, 0.47), (4, 0.755), (5, 0.91)])
def test_power_at_an_effect_of_two_deviations(seeds: int, chance: float) -> None:
    assert power(seeds, 2.0, 1.0) == pytest.approx(chance, abs=0.0051)


@given(st.integers(2, 40), st.floats(0.05, 4), st.booleans())
def test_power_is_the_noncentral_t_of_scipy(seeds: int, effect: float, paired: bool) -> None:
    degrees = (seeds - 1) * (1 if paired else 2)
    shift = effect * math.sqrt(seeds / (1 if paired else 2))
    limit = stats.t.ppf(0.975, degrees)
    wrong_side = stats.nct.cdf(-limit, degrees, shift)  # nan where it is too small for a float
    wanted = stats.nct.sf(limit, degrees, shift) + np.nan_to_num(wrong_side)
    assert power(seeds, effect, 1.0, paired=paired) == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize("paired", [True, False])
def test_power_is_how_often_a_test_finds_the_effect(paired: bool) -> None:
    draw = np.random.default_rng(1)
    first, second = draw.normal(0, 1, (2, 1500, 5))
    if paired:
        p = stats.ttest_1samp(first + 1.5, 0, axis=1).pvalue
    else:
        p = stats.ttest_ind(first + 1.5, second, axis=1).pvalue
    found = int((p < 0.05).sum())
    low, high = stats.binom.interval(0.999, 1500, power(5, 1.5, 1.0, paired=paired))
    assert low <= found <= high


@given(st.floats(0.2, 6), st.booleans(), st.floats(0.2, 0.95))
def test_the_seeds_needed_are_the_fewest_that_suffice(
    effect: float, paired: bool, target: float
) -> None:
    seeds = seeds_needed(effect, 1.0, paired=paired, target=target)
    assert power(seeds, effect, 1.0, paired=paired) >= target
    assert seeds == 2 or power(seeds - 1, effect, 1.0, paired=paired) < target


@given(st.floats(0.001, 10), st.floats(0.01, 100))
def test_the_unit_of_losses_does_not_matter(effect: float, unit: float) -> None:
    assert power(4, effect * unit, unit) == pytest.approx(power(4, effect, 1.0), abs=1e-9)


def test_large_effects_and_many_seeds_end_at_one() -> None:
    assert power(3, 1e4, 1.0) == pytest.approx(1.0)
    assert power(10_000, 5.0, 1.0) == 1.0
    assert seeds_needed(0.01, 1.0) == pytest.approx((1.96 + 1.2816) ** 2 / 1e-4, rel=0.001)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"effect": 0.0, "deviation": 1.0}, "effect"),
        ({"effect": math.nan, "deviation": 1.0}, "effect"),
        ({"effect": 1.0, "deviation": 0.0}, "deviation"),
        ({"effect": 1.0, "deviation": math.nan}, "deviation"),
        ({"effect": 1.0, "deviation": 1.0, "alpha": 1.0}, "alpha"),
        ({"effect": 1.0, "deviation": 1.0, "target": 1.0}, "target"),
        ({"effect": 1.0, "deviation": 1.0, "target": 0.01}, "target"),
        ({"effect": 1e-9, "deviation": 1.0}, "effect"),
    ],
)
def test_what_no_number_of_seeds_can_show_is_refused(
    arguments: dict[str, float], field: str
) -> None:
    with pytest.raises(UserError) as raised:
        seeds_needed(**arguments)  # type: ignore[arg-type]
    assert raised.value.field == field


@pytest.mark.parametrize("call", [lambda: power(1, 1.0, 1.0), lambda: half_width(1, 1.0)])
def test_one_seed_has_no_power(call: object) -> None:
    assert callable(call)
    with pytest.raises(UserError, match="cannot be seen in one"):
        call()


@pytest.mark.parametrize("seeds", [2, 5, 10, 16, 40])
@pytest.mark.parametrize("paired", [True, False])
def test_power_of_any_large_effect_is_one(seeds: int, paired: bool) -> None:
    chances = [power(seeds, effect, 1.0, paired=paired) for effect in np.geomspace(1, 1e12, 300)]
    assert np.diff(chances).min() >= -1e-9
    assert chances[-1] == 1.0
