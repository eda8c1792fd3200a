"""Merges that stand for decays: WSM's theorem where it is exact, and the uniform mean."""

from __future__ import annotations

from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from trainer.optimizer.merge_coefficients import merge_coefficients, update_weights
from trainer.optimizer.schedules import DecayShape, DecaySpec, decay_factor, rate, wsd

SHAPES = get_args(DecayShape)
DECAYS = st.one_of(
    st.builds(DecaySpec, shape=st.sampled_from(SHAPES), final=st.floats(0.01, 1.0)),
    st.sampled_from([DecaySpec(shape=shape) for shape in SHAPES]),
    st.builds(DecaySpec, half_life=st.floats(0.5, 50.0)),
)
STEPS = st.sets(st.integers(0, 10_000), min_size=2, max_size=12).map(sorted)


@given(decay=DECAYS, updates=st.integers(1, 25), seed=st.integers(0, 1 << 31))
def test_where_gradients_do_not_depend_on_weights_the_merge_is_the_decayed_training(
    decay: DecaySpec, updates: int, seed: int
) -> None:
    """Losses g_i . theta, minimised by SGD: a checkpoint after every update."""
    draw, start, peak = np.random.default_rng(seed), 7, 0.3
    gradients = draw.normal(size=(updates, 5))
    stable = [draw.normal(size=5)]
    for gradient in gradients:
        stable.append(stable[-1] - peak * gradient)
    schedule = wsd(start + updates, updates, peak=peak, decay=decay)
    decayed = stable[0]
    for number, gradient in enumerate(gradients, 1):
        decayed = decayed - rate(schedule, start + number) * gradient
    steps = range(start, start + updates + 1)
    merge = sum(
        by * weights for by, weights in zip(merge_coefficients(decay, steps), stable, strict=True)
    )
    np.testing.assert_allclose(merge, decayed, rtol=1e-12, atol=1e-12)


@given(decay=DECAYS, steps=STEPS, seed=st.integers(0, 1 << 31))
def test_between_checkpoints_far_apart_every_update_counts_as_its_stretch_does(
    decay: DecaySpec, steps: list[int], seed: int
) -> None:
    draw = np.random.default_rng(seed)
    moved = draw.normal(size=len(steps) - 1)
    stable = np.concatenate([[0.5], 0.5 + np.cumsum(moved)])
    merge = float(np.dot(merge_coefficients(decay, steps), stable))
    assert merge == pytest.approx(0.5 + float(np.dot(update_weights(decay, steps), moved)))


@given(decay=DECAYS, steps=STEPS)
def test_coefficients_are_shares(decay: DecaySpec, steps: list[int]) -> None:
    found = merge_coefficients(decay, steps)
    assert len(found) == len(steps)
    assert sum(found) == pytest.approx(1.0, abs=1e-12)
    assert min(found) >= -1e-15
    weights = update_weights(decay, steps)
    assert all(before >= after for before, after in pairwise((1.0, *weights)))


@given(decay=DECAYS, first=st.integers(0, 1000), apart=st.integers(1, 500), k=st.integers(1, 20))
def test_equally_spaced_checkpoints_are_updates_of_a_decay(
    decay: DecaySpec, first: int, apart: int, k: int
) -> None:
    steps = [first + apart * number for number in range(k + 1)]
    if decay.half_life is not None:
        expected = [0.5 ** (apart * number / decay.half_life) for number in range(1, k + 1)]
    else:
        expected = [decay_factor(decay, number, k) for number in range(1, k + 1)]
    np.testing.assert_allclose(update_weights(decay, steps), expected, rtol=1e-12)


@pytest.mark.parametrize("checkpoints", [2, 3, 7, 10, 33])
def test_the_linear_decay_to_zero_is_the_uniform_mean(checkpoints: int) -> None:
    steps = [100 * number for number in range(1, checkpoints + 1)]
    found = merge_coefficients(DecaySpec(shape="linear"), steps)
    np.testing.assert_allclose(found, np.full(checkpoints, 1 / checkpoints), rtol=1e-13)


def test_a_stretch_twice_as_long_counts_twice_for_the_checkpoint_before_it() -> None:
    found = merge_coefficients(DecaySpec(shape="linear"), [0, 200, 300])
    # of 2 stretches: 4/3 and 2/3 of one, then the last checkpoint's own third
    np.testing.assert_allclose(found, [4 / 9, 2 / 9, 3 / 9])


@pytest.mark.parametrize("steps", [[], [5], [5, 5], [1, 3, 2]])
def test_steps_that_are_no_line_of_checkpoints_are_refused(steps: list[int]) -> None:
    with pytest.raises(UserError, match="two checkpoints or more"):
        merge_coefficients(DecaySpec(), steps)
