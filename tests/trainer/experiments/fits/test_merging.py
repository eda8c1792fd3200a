"""Merges of checkpoints: published weights, and equality with a decay whose updates do not change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from trainer.experiments.fits.merging import merge, merge_weights, merges_by_span, update_weights
from trainer.optimizer.schedules import DecayShape, DecaySpec, decay_factor

SHAPES: list[DecayShape] = [
    "linear",
    "exponential",
    "one_minus_sqrt",
    "cosine",
    "inverse_linear",
    "linear_to",
]


@given(st.integers(1, 40))
def test_the_linear_decay_to_zero_is_the_uniform_mean(count: int) -> None:
    found = merge(range(count + 1), DecaySpec(shape="linear"))
    assert found.weights == pytest.approx([1 / (count + 1)] * (count + 1))


@pytest.mark.parametrize("shape", SHAPES)
@given(st.integers(1, 30), st.integers(1, 500))
def test_weights_are_a_mean_and_give_the_shape_back(
    shape: DecayShape, count: int, gap: int
) -> None:
    decay = DecaySpec(shape=shape)
    found = merge([gap * place for place in range(count + 1)], decay)
    assert sum(found.weights) == pytest.approx(1)
    assert min(found.weights) >= 0
    factors = [decay_factor(decay, place, count) for place in range(1, count + 1)]
    assert update_weights(found.weights) == pytest.approx(factors)
    assert found.span == gap * count


@pytest.mark.parametrize("shape", SHAPES)
def test_a_merge_is_the_run_whose_updates_were_scaled_by_the_decay(shape: DecayShape) -> None:
    updates = np.random.default_rng(1).normal(size=(8, 5))
    checkpoints = np.vstack([np.zeros(5), updates.cumsum(0)])
    decay = DecaySpec(shape=shape)
    found = merge(range(9), decay)
    factors = np.array([decay_factor(decay, place, 8) for place in range(1, 9)])
    np.testing.assert_allclose(found.weights @ checkpoints, factors @ updates, atol=1e-12)


def test_a_half_life_is_in_steps() -> None:
    found = merge([100, 150, 200, 250], DecaySpec(half_life=50))
    assert update_weights(found.weights) == pytest.approx([0.5, 0.25, 0.125])
    assert found.weights == pytest.approx([0.5, 0.25, 0.125, 0.125])
    assert found.to_json()["half_life"] == 50


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_weights_and_factors_are_each_others_inverse(falls: list[float]) -> None:
    factors = sorted(falls, reverse=True)
    assert update_weights(merge_weights(factors)) == pytest.approx(factors, abs=1e-12)


def test_merges_by_span_take_the_last_checkpoints() -> None:
    found = merges_by_span([0, 10, 20, 30, 40], [10, 25, 40], DecaySpec(shape="linear"))
    assert [one.steps for one in found] == [(30, 40), (20, 30, 40), (0, 10, 20, 30, 40)]
    assert [one.span for one in found] == [10, 20, 40]


@pytest.mark.parametrize("steps", [[], [1], [1, 2, 4], [3, 2, 1], [1, 1]])
def test_checkpoints_at_uneven_distances_are_refused(steps: list[int]) -> None:
    with pytest.raises(UserError, match="even distances"):
        merge(steps, DecaySpec())


@pytest.mark.parametrize("span", [0, 5, 41])
def test_spans_that_checkpoints_do_not_cover_are_refused(span: int) -> None:
    with pytest.raises(UserError) as raised:
        merges_by_span([0, 10, 20, 30, 40], [10, span], DecaySpec())
    assert raised.value.field == "spans[1]"


@pytest.mark.parametrize("factors", [[], [0.5, 0.6], [1.1], [-0.1], [float("nan")]])
def test_factors_that_do_not_fall_are_refused(factors: list[float]) -> None:
    with pytest.raises(UserError, match="fall from 1 to 0"):
        merge_weights(factors)
