"""What a search found: a flat set instead of a lucky best, and ranks at two budgets."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from artifacts.errors import UserError
from trainer.experiments.fits.search import flat_set, rank_agreement

CONFIRMED = {"a": [3.00, 3.02, 3.01], "b": [3.01, 3.03, 3.02], "c": [3.10, 3.12, 3.11]}


def test_the_flat_set_is_all_within_one_pooled_deviation_of_the_best_confirmed() -> None:
    trials = {"a": 2.9, "b": 3.0, "c": 3.0, "d": 2.95, "e": 3.5, "f": None}
    found = flat_set(trials, CONFIRMED)
    assert (found.best, found.loss) == ("a", pytest.approx(3.01))
    assert found.deviation == pytest.approx(0.01)
    assert found.degrees == 6
    assert list(found.confirmed) == ["a", "b"]
    assert found.untried == {"d": 2.95}
    assert found.diverged == 1
    assert found.to_json()["limit"] == pytest.approx(3.02)


def test_the_lucky_trial_of_a_confirmed_configuration_does_not_count() -> None:
    found = flat_set({"c": 1.0}, CONFIRMED)
    assert "c" not in found.untried
    assert found.best == "a"


@given(st.floats(-5, 5))
def test_the_level_of_the_loss_does_not_matter(level: float) -> None:
    moved = {name: [loss + level for loss in losses] for name, losses in CONFIRMED.items()}
    assert flat_set({}, moved).best == flat_set({}, CONFIRMED).best
    assert flat_set({}, moved).deviation == pytest.approx(0.01)


def test_ranks_of_two_budgets_are_compared_over_what_both_have() -> None:
    short = {"a": 3.0, "b": 3.2, "c": 3.1, "d": 3.4, "e": 3.3, "alone": 1.0}
    long = {"a": 2.6, "b": 2.7, "c": 2.5, "d": 2.9, "e": 2.8}
    found = rank_agreement(short, long)
    assert found.configurations == 5
    names = sorted(long)
    columns = [[budget[name] for name in names] for budget in (short, long)]
    assert found.spearman.value == pytest.approx(stats.spearmanr(*columns).statistic)
    assert found.kendall.value == pytest.approx(stats.kendalltau(*columns).statistic)
    assert (found.best_short, found.best_long, found.rank_of_short) == ("a", "c", 2)
    assert found.to_json()["kendall"]["pairs"] == 5


def test_what_diverged_is_worse_than_all_and_alike() -> None:
    short = {"a": 3.0, "b": 3.1, "c": None, "d": None}
    assert rank_agreement(short, {"a": 1.0, "b": 2.0, "c": None, "d": None}).spearman.value == 1.0
    assert rank_agreement(short, {"a": None, "b": 2.0, "c": 1.0, "d": 1.0}).spearman.value < 0


def test_a_flat_set_of_equal_configurations_holds_most_of_them() -> None:
    draw = np.random.default_rng(6)
    losses = {str(place): draw.normal(3, 0.01, 3).tolist() for place in range(6)}
    assert len(flat_set({}, losses).confirmed) >= 3


def test_what_cannot_be_told_is_refused() -> None:
    with pytest.raises(UserError, match="run under several seeds"):
        flat_set({"a": 1.0}, {})
    with pytest.raises(UserError, match="one without a loss"):
        flat_set({}, {"a": []})
    with pytest.raises(UserError, match="at least two"):
        flat_set({}, {"a": [1.0]})
    with pytest.raises(UserError, match="finite"):
        flat_set({"x": math.nan}, CONFIRMED)
    with pytest.raises(UserError, match="2 in common"):
        rank_agreement({"a": 1.0, "b": 2.0}, {"a": 1.0, "b": 2.0})
    with pytest.raises(UserError, match="no ranks"):
        rank_agreement(dict.fromkeys("abc"), {"a": 1.0, "b": 2.0, "c": 3.0})
