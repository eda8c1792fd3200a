"""Losses of mixtures: models recover their truth, the baseline stands beside, proposals in bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from artifacts.errors import UserError
from trainer.experiments.fits.gaussian_process import GaussianProcess, fit_gaussian_process
from trainer.experiments.fits.mixture_proposals import (
    Bounds,
    best_proposals,
    bounds_of_epochs,
    propose,
    within,
)
from trainer.experiments.fits.mixture_regression import (
    MODELS,
    Linear,
    MixingLaw,
    OwnShare,
    compare_models,
    fit_mixture,
    rank_gain,
)

Array = NDArray[np.float64]
PRIOR = [0.5, 0.3, 0.15, 0.05]
EXPONENTS = np.array([-1.0, 0.2, 0.3, 0.5])
SHARES = st.lists(st.floats(0.001, 1), min_size=4, max_size=4).map(lambda x: np.array(x) / sum(x))


def mixtures(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).dirichlet([1.0] * 4, count)


def law(shares: Array) -> Array:
    values: Array = 2.0 + 1.5 * np.exp(shares @ EXPONENTS)
    return values


def smooth(shares: Array) -> Array:
    """Not monotone in any share: best at about equal shares of the first two."""
    values: Array = 3 - np.sqrt(shares[:, 0] * shares[:, 1]) + 0.5 * shares[:, 3]
    return values


def test_a_mixing_law_is_recovered() -> None:
    x = mixtures(40)
    found = fit_mixture("mixing law", x, law(x))
    assert isinstance(found, MixingLaw)
    assert found.floor == pytest.approx(2.0, abs=1e-3)
    assert found.scale == pytest.approx(1.5, abs=1e-3)
    np.testing.assert_allclose(found.exponents, EXPONENTS, atol=1e-3)
    np.testing.assert_allclose(found.predict(mixtures(5, 1)), law(mixtures(5, 1)), atol=1e-4)


def test_linear_models_are_recovered() -> None:
    x, t = mixtures(20), np.array([1.0, 2.0, 3.0, 4.0])
    linear, loglinear = fit_mixture("linear", x, x @ t), fit_mixture("log-linear", x, np.exp(x @ t))
    assert isinstance(linear, Linear)
    assert isinstance(loglinear, Linear)
    np.testing.assert_allclose(linear.coefficients, t, atol=1e-9)
    np.testing.assert_allclose(loglinear.predict(x), np.exp(x @ t), rtol=1e-9)
    own = fit_mixture("own share", x, 3 - x[:, 2], source=2)
    assert isinstance(own, OwnShare)
    assert (own.level, own.slope) == pytest.approx((3.0, -1.0))


def test_leaving_one_out_in_closed_form_is_leaving_it_out() -> None:
    x = mixtures(12)
    y = smooth(x)
    found = fit_gaussian_process(x, y)
    kernel = np.exp(
        -((np.sqrt(x)[:, None] - np.sqrt(x)[None]) ** 2).sum(-1) / (2 * found.length**2)
    )
    noisy = kernel + (found.noise + 1e-10) * np.eye(12)
    for place in range(12):
        kept = np.arange(12) != place
        near = kernel[place, kept]
        wanted = y.mean() + near @ np.linalg.solve(noisy[np.ix_(kept, kept)], (y - y.mean())[kept])
        assert found.left_out[place] == pytest.approx(wanted, abs=1e-6)


def test_the_process_agrees_with_sklearns_at_the_same_constants() -> None:
    gaussian = pytest.importorskip("sklearn.gaussian_process", reason="scikit-learn is missing")
    x = mixtures(30)
    y = smooth(x) + np.random.default_rng(2).normal(0, 0.02, 30)
    found = fit_gaussian_process(x, y)
    kernel = found.scale * gaussian.kernels.RBF(found.length)
    peer = gaussian.GaussianProcessRegressor(
        kernel, alpha=found.scale * (found.noise + 1e-10), optimizer=None
    ).fit(np.sqrt(x), y - y.mean())
    means, deviations = peer.predict(np.sqrt(mixtures(9, 5)), return_std=True)
    own = found.predict_with_deviation(mixtures(9, 5))
    np.testing.assert_allclose(own[0], means + y.mean(), atol=1e-6)
    np.testing.assert_allclose(own[1], deviations, atol=1e-6)


def test_the_process_interpolates_and_is_sure_where_it_was_measured() -> None:
    x = mixtures(40)
    found = fit_gaussian_process(x, smooth(x))
    np.testing.assert_allclose(found.predict(x), smooth(x), atol=0.02)
    near, far = (found.predict_with_deviation(at)[1] for at in (x, np.eye(4)))
    assert near.max() < far.max()


@pytest.mark.slow
def test_models_are_compared_on_mixtures_held_out_beside_the_baseline() -> None:
    x, held = mixtures(40), mixtures(16, 3)
    found = compare_models((x, smooth(x)), (held, smooth(held)), source=0)
    assert [one.model for one in found] == list(MODELS)
    by_model = {one.model: one for one in found}
    assert by_model["gaussian"].rank.value > by_model["own share"].rank.value
    assert by_model["gaussian"].error < by_model["linear"].error
    gain = by_model["gaussian"].gain
    assert gain is not None
    assert gain.low > 0
    assert by_model["own share"].gain is None
    assert by_model["gaussian"].to_json()["rank_correlation"]["pairs"] == 16
    alone = compare_models((x, smooth(x)), (held, smooth(held)), source=0, models=["linear"])
    assert [one.model for one in alone] == ["own share", "linear"]


def test_where_one_share_decides_no_model_beats_it() -> None:
    x, held = mixtures(30), mixtures(16, 3)
    found = compare_models((x, 3 - x[:, 1]), (held, 3 - held[:, 1]), source=1, models=["gaussian"])
    assert found[0].rank.value == pytest.approx(1.0)
    assert found[1].gain is not None
    assert found[1].gain.value <= 0


def test_the_gain_of_few_mixtures_has_no_interval() -> None:
    column = np.arange(5.0)
    assert rank_gain(column, column, column[::-1]) is None


@given(SHARES, st.lists(st.floats(0, 0.25), min_size=4, max_size=4), st.floats(0.25, 1))
def test_a_mixture_is_brought_within_bounds(shares: Array, least: list[float], most: float) -> None:
    bounds = Bounds(tuple(least), (most,) * 4)
    found = within(shares, bounds)
    assert found.sum() == pytest.approx(1)
    assert (found >= np.array(least) - 1e-9).all()
    assert (found <= most + 1e-9).all()
    np.testing.assert_allclose(within(found[None], bounds)[0], found, atol=1e-6)


@given(SHARES)
def test_a_mixture_within_its_bounds_stays(shares: Array) -> None:
    np.testing.assert_allclose(within(shares, Bounds((0.0,) * 4, (1.0,) * 4)), shares, atol=1e-9)


def test_proposals_spread_around_the_prior_within_epochs() -> None:
    bounds = bounds_of_epochs([4e6, 4e6, 1e6, 0.2e6], tokens=4e6, epochs=2, least=[0.1, 0, 0, 0])
    assert bounds.most == pytest.approx((1.0, 1.0, 0.5, 0.1))
    found = propose(PRIOR, 256, 7, bounds)
    assert found.shape == (256, 4)
    np.testing.assert_allclose(found.sum(1), 1)
    assert (found <= np.array(bounds.most) + 1e-9).all()
    assert found[:, 0].min() >= 0.1 - 1e-9
    assert (np.argsort(-found.mean(0))[:2] == [0, 1]).all()
    np.testing.assert_array_equal(found, propose(PRIOR, 256, 7, bounds))
    assert np.ptp(found[:64, 0]) > np.ptp(found[-64:, 0]) * 0.9
    assert propose(PRIOR, 1, 0).shape == (1, 4)


def test_the_best_proposal_is_near_the_true_optimum() -> None:
    x = mixtures(64)
    model = fit_mixture("gaussian", x, smooth(x))
    assert isinstance(model, GaussianProcess)
    candidates = propose(PRIOR, 4000, 1)
    found = best_proposals(model, candidates, kappa=0.0)
    assert len(found) == 3
    truth = float(smooth(candidates).min())
    assert smooth(np.array([found[0].shares]))[0] < truth + 0.03
    brave, careful = (best_proposals(model, candidates, 1, k)[0] for k in (3.0, -3.0))
    assert brave.deviation >= careful.deviation


@pytest.mark.parametrize(
    ("shares", "losses", "said"),
    [
        ([[0.5, 0.5]] * 3, [1.0] * 3, "at least 4 mixtures"),
        ([[0.5, 0.5]] * 4, [1.0] * 3, "a loss for each"),
        ([[1.0]] * 4, [1.0] * 4, "two sources"),
        ([[0.5, 0.6]] * 4, [1.0] * 4, "add to 1"),
        ([[-0.5, 1.5]] * 4, [1.0] * 4, "add to 1"),
        ([[math.nan, 1.0]] * 4, [1.0] * 4, "add to 1"),
        ([[0.5, 0.5]] * 4, [1.0, math.nan, 1.0, 1.0], r"losses\[1\]"),
    ],
)
def test_runs_that_cannot_be_fitted_are_refused(
    shares: list[list[float]], losses: list[float], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        fit_mixture("linear", shares, losses)


def test_other_mistakes_are_refused() -> None:
    x = mixtures(5)
    with pytest.raises(UserError, match="no logarithm"):
        fit_mixture("log-linear", x, [-1.0, 1, 1, 1, 1])
    with pytest.raises(UserError, match="no such source"):
        fit_mixture("own share", x, [1.0, 2, 3, 4, 5], source=4)
    with pytest.raises(UserError, match="no such model"):
        fit_mixture("tree", x, [1.0, 2, 3, 4, 5])  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no mixture lies within"):
        Bounds((0.6, 0.6), (1.0, 1.0))
    with pytest.raises(UserError, match="no mixture lies within"):
        bounds_of_epochs([10, 10], tokens=100, epochs=1)
    with pytest.raises(UserError, match="no mixture lies within"):
        Bounds((0.5,), (0.4,))
    with pytest.raises(UserError, match="caps come from"):
        bounds_of_epochs([0, 10], tokens=10, epochs=1)
    with pytest.raises(UserError, match="every source a weight"):
        propose([0.0, 1.0], 3, 0)
    model = fit_gaussian_process(x, smooth(x))
    with pytest.raises(UserError, match="from candidates"):
        best_proposals(model, np.empty((0, 4)))
