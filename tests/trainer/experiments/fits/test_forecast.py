"""The forecast of decays: the law recovered, the gain fitted, intervals that hold, drift told."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from artifacts.errors import UserError
from trainer.experiments.fits.annealing_law import (
    AnnealingLaw,
    Measured,
    calibrated,
    fit_law,
    momentum_sum,
)
from trainer.experiments.fits.forecast import Rehearsal, drift, forecast, rehearse
from trainer.optimizer.schedules import DecaySpec, rate, wsd

Rates = NDArray[np.float64]
TRUTH = AnnealingLaw(2.8, 0.5, 0.4, 0.35, 0.99)


def decay_rates(total: int, share: float = 0.1, shape: str = "one_minus_sqrt") -> Rates:
    spec = wsd(
        total,
        round(share * total),
        peak=0.01,
        warmup=20,
        decay=DecaySpec(shape=shape),  # type: ignore[arg-type]
    )
    return np.array([rate(spec, step) for step in range(1, total + 1)])


def stable_points(law: AnnealingLaw = TRUTH) -> list[Measured]:
    return [
        Measured(rates, law.predict(rates))
        for total in range(100, 1300, 100)
        for rates in [decay_rates(total, 0.0)]
    ]


def decays(
    law: AnnealingLaw, totals: list[int], noise: float = 0.0, seed: int = 0
) -> list[Measured]:
    draw = np.random.default_rng(seed)
    paths = [decay_rates(total) for total in totals]
    return [Measured(path, law.predict(path) + noise * draw.normal()) for path in paths]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.sampled_from([0.5, 0.9, 0.999]))
def test_the_momentum_sum_is_the_recurrences(rates: list[float], memory: float) -> None:
    momentum, total = 0.0, 0.0
    falling = rates[rates.index(max(rates)) :]
    for before, after in pairwise(falling):
        momentum = memory * momentum + (before - after)
        total += momentum
    assert momentum_sum(np.array(rates), memory) == pytest.approx(total, abs=1e-9)


def test_a_law_without_noise_is_recovered_and_its_gain_is_one() -> None:
    law = fit_law(stable_points(), decays(TRUTH, [300, 600, 900]))
    assert law.memory == TRUTH.memory
    assert law.exponent == pytest.approx(TRUTH.exponent, rel=0.02)
    assert law.gain == pytest.approx(1.0, abs=1e-3)
    path = decay_rates(2000)
    assert law.predict(path) == pytest.approx(TRUTH.predict(path), abs=1e-3)


@given(st.floats(0.5, 0.95), st.floats(-0.5, 0.5))
def test_the_gain_of_one_decay_takes_the_place_of_an_optimistic_laws(
    share: float, higher: float
) -> None:
    real = AnnealingLaw(2.8 + higher, 0.5, 0.4, 0.35 * share, 0.99)
    found = calibrated(TRUTH, stable_points(real)[-3:], decays(real, [400]))
    assert found.gain == pytest.approx(share)
    path = decay_rates(1200)
    assert found.predict(path) == pytest.approx(real.predict(path))


def test_one_decay_foresees_a_later_one_of_the_same_share_without_an_interval() -> None:
    found = forecast(stable_points(), decays(TRUTH, [400]), decay_rates(1200))
    gain = TRUTH.stable(decay_rates(1200)) - TRUTH.predict(decay_rates(1200))
    assert abs(found.loss - TRUTH.predict(decay_rates(1200))) < 0.35 * gain
    assert (found.low, found.decays) == (None, 1)


def test_leaving_one_decay_out_gives_bias_and_coverage() -> None:
    totals = [*range(300, 1200, 100)]
    found = rehearse(stable_points(), decays(TRUTH, totals, 0.003, seed=3))
    assert len(found.errors) == len(totals)
    assert found.bias is not None
    assert found.bias.low < 0 < found.bias.high
    assert found.coverage is not None
    assert found.coverage >= 7 / 9
    assert not drift(found).alarm
    written = found.to_json()
    assert written["drift"]["alarm"] is False
    assert written["coverage"] == found.coverage


@pytest.mark.slow
def test_intervals_hold_a_decay_that_is_to_come_as_often_as_they_say() -> None:
    held, repetitions = 0, 60
    points, path = stable_points(), decay_rates(1300)
    for seed in range(repetitions):
        past = decays(TRUTH, [300, 500, 700, 900, 1100], 0.004, seed=seed)
        found = forecast(points, past, path)
        end = TRUTH.predict(path) + 0.004 * np.random.default_rng(1000 + seed).normal()
        assert found.low is not None
        assert found.high is not None
        held += found.low <= end <= found.high
    assert held >= 51  # fewer of 60 at 95 % once in 1,000


def test_past_decays_alone_foresee_the_next_and_drift_is_told() -> None:
    """Decays whose gain shrinks by a half from some point on."""
    totals = list(range(200, 1300, 100))
    steady = decays(TRUTH, totals, 0.002, seed=1)
    weak = AnnealingLaw(2.8, 0.5, 0.4, 0.15, 0.99)
    changed = [*steady[:6], *decays(weak, totals[6:], 0.002, seed=2)]
    points = stable_points()
    calm, moved = rehearse(points, steady, "past"), rehearse(points, changed, "past")
    assert calm.order == "past"
    assert not drift(calm).alarm
    assert len(calm.errors) < len(totals)
    found = drift(moved)
    assert found.above > 0
    assert found.below == 0


def test_a_decay_before_the_trunk_is_known_is_left_out_with_its_loss() -> None:
    made = decays(TRUTH, [600, 200, 700, 800])
    found = rehearse(stable_points(), made, "past")
    assert found.measured == tuple(made[place].loss for place in (2, 3))
    assert len(found.errors) == 2


def test_an_alarm_needs_more_than_one_miss_on_one_side() -> None:
    law = fit_law(stable_points(), decays(TRUTH, [300]))

    def made(sides: list[float]) -> Rehearsal:
        one = forecast(stable_points(), decays(TRUTH, [300]), decay_rates(500), [0.01, -0.01, 0.01])
        assert law.gain > 0
        return Rehearsal("past", (one,) * len(sides), tuple(one.loss + side for side in sides))

    assert not drift(made([1.0])).alarm
    assert drift(made([1.0, 1.0])).alarm
    assert not drift(made([1.0, -1.0])).alarm
    assert drift(made([0.0] * 9)).p == 1.0
    assert not drift(made([1.0, 1.0, *[0.0] * 18])).alarm


@pytest.mark.parametrize(
    ("rates", "loss"),
    [([], 3.0), ([math.nan], 3.0), ([-1.0, 1.0], 3.0), ([0.0], 3.0), ([0.1], math.nan)],
)
def test_points_that_cannot_be_are_refused(rates: list[float], loss: float) -> None:
    with pytest.raises(UserError, match="rate of every update"):
        Measured(np.array(rates), loss)


def test_a_forecast_without_a_decay_is_refused() -> None:
    points = stable_points()
    with pytest.raises(UserError, match="0 decays"):
        fit_law(points, [])
    with pytest.raises(UserError, match="2 stable points"):
        fit_law(points[:2], decays(TRUTH, [300]))
    with pytest.raises(UserError, match="foreseen from others"):
        rehearse(points, decays(TRUTH, [300]))
    with pytest.raises(UserError, match="stable phase and a decay"):
        calibrated(TRUTH, points, [])
    path = decay_rates(600)
    with pytest.raises(UserError, match="no decay lowers"):
        fit_law(points, [Measured(path, TRUTH.stable(path) + 0.5)])
