"""Intervals: how often they hold the truth, and what they say where nothing can be said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from artifacts.statistics.weighted_means import half_width

VALUES = st.lists(st.floats(-10, 10), min_size=2, max_size=20)


@given(VALUES)
def test_with_equal_weights_it_is_the_t_interval_of_the_mean(values: list[float]) -> None:
    found = half_width([3.0] * len(values), values)
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    wanted = stats.t.ppf(0.975, len(values) - 1) * error
    assert found == pytest.approx(wanted, abs=1e-9)


@given(VALUES, st.floats(0.1, 100))
def test_groups_without_weight_and_the_unit_of_weights_do_not_matter(
    values: list[float], unit: float
) -> None:
    weights = [1.0 + place % 3 for place in range(len(values))]
    found = half_width(weights, values)
    assert found == pytest.approx(half_width([*weights, 0.0], [*values, 1e6]))
    assert found == pytest.approx(half_width([unit * one for one in weights], values))


def test_one_group_says_nothing() -> None:
    assert half_width([], []) is None
    assert half_width([5.0, 0.0], [1.0, 2.0]) is None


def test_it_holds_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        weights = draw.integers(50, 150, 16)
        values = 5 + draw.normal(0, 1, 16) / np.sqrt(weights / 100)
        mean = float(np.average(values, weights=weights))
        width = half_width(weights.tolist(), values.tolist())
        assert width is not None
        held += abs(mean - 5) <= width
    assert 0.93 <= held / 2000 <= 0.97
