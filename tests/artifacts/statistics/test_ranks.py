"""Correlation of ranks: values against scipy, exact p, intervals that hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from artifacts.errors import UserError
from artifacts.statistics.ranks import kendall, spearman

VALUES = st.lists(st.integers(0, 9), min_size=4, max_size=12).filter(lambda x: len(set(x)) > 1)


@given(VALUES, st.randoms(use_true_random=False))
def test_values_are_scipys_with_ties(values: list[int], random: object) -> None:
    other = list(values)
    random.shuffle(other)  # type: ignore[attr-defined]
    assert spearman(values, other).value == pytest.approx(stats.spearmanr(values, other).statistic)
    assert kendall(values, other).value == pytest.approx(stats.kendalltau(values, other).statistic)


@given(VALUES)
def test_a_growing_function_changes_nothing(values: list[int]) -> None:
    other = [math.sin(7.0 * place) for place in range(len(values))]
    grown = [math.exp(value) for value in values]
    assert spearman(grown, other) == spearman(values, other)
    assert kendall(grown, other) == kendall(values, other)


def test_p_of_few_pairs_is_exact() -> None:
    x, y = [1, 2, 3, 4, 5], [2, 1, 3, 5, 4]
    tau = kendall(x, y)
    assert tau.p == pytest.approx(stats.kendalltau(x, y, method="exact").pvalue)
    assert spearman([1, 2, 3, 4], [1, 2, 3, 4]).p == pytest.approx(2 / 24)


def test_p_of_many_pairs_is_close_to_scipys() -> None:
    draw = np.random.default_rng(2)
    x = draw.normal(size=30)
    y = (x + draw.normal(0, 2, 30)).tolist()
    assert spearman(x.tolist(), y).p == pytest.approx(stats.spearmanr(x, y).pvalue)
    asymptotic = stats.kendalltau(x, y, method="asymptotic").pvalue
    assert kendall(x.tolist(), y).p == pytest.approx(asymptotic)


@pytest.mark.parametrize(("truth", "pairs"), [(0.5, 16), (0.9, 16), (0.8, 64)])
def test_the_interval_holds_the_truth_as_often_as_it_says(truth: float, pairs: int) -> None:
    draw, held = np.random.default_rng(5), 0
    pearson = 2 * math.sin(math.pi / 6 * truth)  # of the normal whose Spearman correlation it is
    for _ in range(600):
        x = draw.normal(size=pairs)
        y = pearson * x + math.sqrt(1 - pearson**2) * draw.normal(size=pairs)
        found = spearman(x.tolist(), y.tolist())
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth <= found.high
    assert 0.92 <= held / 600 <= 0.98


def test_ranks_that_all_agree_have_a_low_end_below_one() -> None:
    found = spearman(range(10), range(10))
    assert found.low is not None
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.9 < found.low < 1
    turned = kendall(range(10), range(10, 0, -1))
    assert (turned.value, turned.low) == (-1.0, -1.0)


def test_too_few_pairs_have_no_interval() -> None:
    found = spearman([1, 2, 3], [1, 3, 2])
    assert (found.low, found.high) == (None, None)
    assert found.to_json()["pairs"] == 3


@pytest.mark.parametrize(
    ("first", "second"),
    [([1, 2], [1, 2]), ([1, 2, 3], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, math.nan], [1, 2, 3])],
)
def test_what_has_no_ranks_is_refused(first: list[float], second: list[float]) -> None:
    with pytest.raises(UserError):
        spearman(first, second)
