"""Noise of seeds, the test of fit, and which interval is the headline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student

from tests.trainer.experiments.laws.designs import TRUTH, design
from trainer.experiments.laws.determined import undetermined
from trainer.experiments.laws.lack_of_fit import LackOfFit, lack_of_fit
from trainer.experiments.laws.law import CONSTANTS, Law
from trainer.experiments.laws.methods import Methods, methods_of
from trainer.experiments.laws.noise import Splitter, drawn, seed_noise
from trainer.experiments.laws.objectives import HUBER, Frame
from trainer.experiments.laws.points import Points
from trainer.experiments.laws.solve import solve
from trainer.experiments.laws.spreads import (
    JACKKNIFE,
    PARAMETRIC,
    POINTS,
    SIZES,
    Spread,
    parametric,
)


def one_length() -> Points:
    points = design(8, 1, 1)
    tokens = np.full(8, 1e10)
    return replace(points, tokens=tokens, losses=TRUTH.loss(points.parameters, tokens))


def methods(points: Points) -> Methods:
    frame = Frame.of(points)
    solution = solve(HUBER, frame, points.losses, points.weight)
    return methods_of(HUBER, points, frame, solution, draws=60)


def test_variances_of_trunks_and_branches_are_unbiased_also_with_runs_missing() -> None:
    whole = design(trunk=0.008, branch=0.003)
    keep = np.random.default_rng(3).random(len(whole)) > 0.1
    for points in (whole, whole.chosen(keep)):
        splitter = Splitter.of(points)
        assert splitter is not None
        wanted = splitter.noise(np.zeros(len(points)))._replace(trunk=0.008**2, branch=0.003**2)
        logs = drawn(points, wanted, 400, np.random.default_rng(0))
        found = [splitter.noise(row) for row in logs]
        assert np.mean([one.branch for one in found]) == pytest.approx(0.003**2, rel=0.1)
        assert np.mean([one.trunk for one in found]) == pytest.approx(0.008**2, rel=0.1)


def test_degrees_of_freedom_are_sizes_times_seeds_less_one() -> None:
    noise = seed_noise(design(trunk=0.008, branch=0.003))
    assert noise is not None
    assert (noise.trunk_degrees, noise.branch_degrees, noise.seeds) == (10, 40, 3)
    assert noise.replicated == 5
    assert noise.share == pytest.approx(5.0)
    assert seed_noise(design(seeds=1, branch=0.003)) is None
    assert seed_noise(replace(design(), trunk=None)) is None


def test_the_law_is_found_to_fit_where_it_does_and_not_where_it_does_not() -> None:
    found = []
    for bend in (0.0, 0.02):
        ps = []
        for seed in range(20):
            points = design(trunk=0.008, branch=0.003, bend=bend, seed=seed)
            frame = Frame.of(points)
            test = lack_of_fit(points, frame, seed_noise(points), frame.theta(TRUTH))
            assert isinstance(test, LackOfFit)
            assert test.degrees == 20
            ps.append(test.found)
        found.append(sum(ps))
    assert found[0] <= 4  # more by chance once in a thousand times
    assert found[1] >= 15


@pytest.mark.parametrize(
    ("points", "headline", "kinds"),
    [
        (design(trunk=0.008, branch=0.003), PARAMETRIC, {PARAMETRIC, JACKKNIFE, POINTS}),
        (
            design(6, 6, trunk=0.008, branch=0.003),
            PARAMETRIC,
            {PARAMETRIC, JACKKNIFE, SIZES, POINTS},
        ),
        (design(trunk=0.004, branch=0.001, bend=0.03), JACKKNIFE, {PARAMETRIC, JACKKNIFE, POINTS}),
        (design(seeds=1, branch=0.003), JACKKNIFE, {JACKKNIFE, POINTS}),
        (design(seeds=2, trunk=0.008, branch=0.003), JACKKNIFE, {PARAMETRIC, JACKKNIFE, POINTS}),
        (design(3, 3, 2, trunk=0.008, branch=0.003), None, {PARAMETRIC, POINTS}),
        (design(seeds=3), JACKKNIFE, {PARAMETRIC, JACKKNIFE, POINTS}),
    ],
    ids=["fits", "six", "misfit", "one seed", "two seeds", "few", "no noise"],
)
def test_the_headline_follows_from_seeds_fit_and_sizes(
    points: Points, headline: str | None, kinds: set[str]
) -> None:
    found = methods(points)
    assert found.headline == headline
    assert set(found.spreads) == kinds
    assert found.because
    if headline == PARAMETRIC:
        assert found.spread is not None
        assert found.spread.degrees == int(points.size.max() + 1) * 2


def test_an_interval_is_students_t_around_the_estimate() -> None:
    rows = np.array([[1.7, 400.0, 500.0, 0.3, 0.3 + 0.01 * step] for step in (-1, 0, 1)])
    law = Law(1.7, 400.0, 500.0, 0.3, 0.3)
    spread = Spread(PARAMETRIC, rows, 0.5, 10)
    low, high = spread.interval(lambda one: one.beta, law, logarithmic=False)
    half = student.ppf(0.975, 10) * 0.01
    assert (low, high) == (pytest.approx(0.3 - half), pytest.approx(0.3 + half))
    low, high = spread.interval(lambda one: one.beta, law, logarithmic=False, more=0.0003)
    assert high - 0.3 == pytest.approx(2 * half)
    percentile = Spread(SIZES, rows, np.nan, None)
    low, high = percentile.interval(lambda one: one.beta, law, logarithmic=True)
    assert (low, high) == (pytest.approx(0.2905, abs=1e-4), pytest.approx(0.3095, abs=1e-4))


def test_replicates_of_no_noise_are_the_law_itself_and_follow_the_seed() -> None:
    points = design(trunk=0.008, branch=0.003)
    frame, noise = Frame.of(points), seed_noise(points)
    assert noise is not None
    theta = frame.theta(TRUTH)
    still = parametric(HUBER, points, frame, theta, noise._replace(trunk=0.0, branch=0.0), draws=20)
    assert np.ptp(still.replicates, 0) == pytest.approx(0.0, abs=1e-6)
    one, again, other = (
        parametric(HUBER, points, frame, theta, noise, draws=20, seed=seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(one.replicates, again.replicates)
    assert not np.array_equal(one.replicates, other.replicates)


@pytest.mark.parametrize(
    ("points", "missing"),
    [
        (design(5, 5, 1), set()),
        (design(2, 5, 1), {"E", "A", "alpha"}),
        (design(7, 1, 1), set(CONSTANTS)),
        (one_length(), {"E", "B", "beta"}),
        (design(2, 2, 1), set(CONSTANTS)),
        (design(1, 1, 1), set(CONSTANTS)),
        (design(3, 3, 1).chosen(np.arange(9) % 4 == 0), set(CONSTANTS)),
    ],
    ids=["all", "two sizes", "one ratio", "one length", "four points", "one point", "a line"],
)
def test_constants_that_the_data_do_not_determine_are_named(
    points: Points, missing: set[str]
) -> None:
    frame = Frame.of(points)
    solution = solve(HUBER, frame, points.losses, points.weight)
    assert np.isfinite(solution.theta).all()
    reasons = undetermined(points, frame, solution, {})
    assert set(reasons) == missing
    assert all(reasons.values())
