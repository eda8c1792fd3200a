"""Fits: known constants, published optima, scipy as the oracle, weights and duplicates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit, least_squares, nnls

from tests.trainer.experiments.laws.designs import TRUTH, design
from trainer.experiments.laws.forest import fitted
from trainer.experiments.laws.law import CONSTANTS, Law
from trainer.experiments.laws.objectives import (
    HUBER,
    LOG_SQUARES,
    OBJECTIVES,
    SQUARES,
    Frame,
    evaluate,
)
from trainer.experiments.laws.points import Points
from trainer.experiments.laws.published import CHINCHILLA_POINTS, code_ends
from trainer.experiments.laws.solve import (
    EXPONENTS,
    GRID,
    bounds_of,
    descend,
    grid_start,
    solve,
)
from trainer.experiments.laws.table import read_table


@pytest.fixture(scope="module")
def chinchilla() -> Points:
    return read_table(CHINCHILLA_POINTS).points()


@pytest.mark.law
@settings(max_examples=15, deadline=None)
@given(
    st.floats(0.2, 3.0),
    st.floats(0.1, 0.6),
    st.floats(0.1, 0.6),
    st.floats(0.1, 2),
    st.floats(0.1, 2),
)
def test_constants_without_noise_come_back(
    floor: float, alpha: float, beta: float, of_size: float, of_data: float
) -> None:
    law = Law(floor, of_size * 3e8**alpha, of_data * 1e10**beta, alpha, beta)
    points = design(seeds=1, law=law)
    for objective in OBJECTIVES:
        found = fitted(points, objective)
        assert np.abs(np.log(np.array(found) / np.array(law))).max() < 1e-4, objective.name


def test_the_optimum_of_the_published_points(chinchilla: Points) -> None:
    frame = Frame.of(chinchilla)
    found = solve(HUBER, frame, chinchilla.losses, chinchilla.weight)
    law = frame.law(found.theta)
    assert len(chinchilla) == 240
    assert found.value == pytest.approx(0.0010182740178006, rel=1e-9)
    expected = {"E": 1.81721, "A": 477.80, "B": 2143.4, "alpha": 0.34731, "beta": 0.36717}
    for name, value in expected.items():
        assert getattr(law, name) == pytest.approx(value, rel=1e-4), name
    printed = Law(1.8172, 482.01, 2085.43, 0.3478, 0.3658)
    theta = frame.theta(printed)[None]
    weights, losses = chinchilla.weight[None], chinchilla.losses[None]
    assert evaluate(HUBER, frame, losses, weights, theta).value[0] == pytest.approx(
        0.00102284, rel=1e-4
    )


@pytest.mark.parametrize(
    ("objective", "constants", "ratios"),
    [
        (HUBER, (1.81721, 477.8, 2143.4, 0.34731, 0.36717), (21.4, 17.9)),
        (LOG_SQUARES, (1.8646, 593, 4876, 0.3603, 0.4059), (20.8, 14.3)),
        (SQUARES, (1.8828, 568, 7582, 0.3576, 0.4276), (18.3, 10.4)),
    ],
    ids=["huber", "log_squares", "squares"],
)
def test_what_is_made_small_moves_the_ratio(
    chinchilla: Points,
    objective: object,
    constants: tuple[float, ...],
    ratios: tuple[float, float],
) -> None:
    law = fitted(chinchilla, objective)  # type: ignore[arg-type]
    assert tuple(law) == pytest.approx(constants, rel=1e-3)
    assert (law.ratio(1e21), law.ratio(5.76e23)) == pytest.approx(ratios, abs=0.05)


def test_the_twelve_end_points_on_code_give_the_papers_exponents() -> None:
    law = fitted(code_ends(), SQUARES)
    assert law.alpha == pytest.approx(0.37, abs=0.03)
    assert law.beta == pytest.approx(0.34, abs=0.03)
    assert 150 < law.ratio(1e21) < 250


def test_squares_are_those_of_curve_fit() -> None:
    points = design(seeds=1, branch=0.004)

    def loss(runs: np.ndarray, *constants: float) -> np.ndarray:
        e, a, b, alpha, beta = constants
        return e + np.exp(a) / runs[0] ** alpha + np.exp(b) / runs[1] ** beta

    start = (TRUTH.E, np.log(TRUTH.A), np.log(TRUTH.B), TRUTH.alpha, TRUTH.beta)
    runs = np.stack([points.parameters, points.tokens])
    best, _ = curve_fit(loss, runs, points.losses, p0=start, ftol=1e-14, xtol=1e-14)
    frame = Frame.of(points)
    found = solve(SQUARES, frame, points.losses, points.weight)
    assert found.value <= ((loss(runs, *best) - points.losses) ** 2).sum() / 2 * (1 + 1e-9)
    assert np.array(frame.law(found.theta))[3:] == pytest.approx(best[3:], rel=1e-3)


def test_huber_is_as_small_as_scipys_least_squares_makes_it(chinchilla: Points) -> None:
    frame = Frame.of(chinchilla)
    found = solve(HUBER, frame, chinchilla.losses, chinchilla.weight)

    def residuals(theta: np.ndarray) -> np.ndarray:
        a, b, e, alpha, beta = theta
        terms = [a - alpha * frame.x, b - beta * frame.y, np.full_like(frame.x, e)]
        return np.logaddexp.reduce(terms) - np.log(chinchilla.losses)

    scipys = least_squares(
        residuals, found.theta, loss="huber", f_scale=HUBER.delta, xtol=1e-15, ftol=1e-15
    )
    assert found.value == pytest.approx(scipys.cost, rel=1e-9)


def test_the_grid_is_that_of_nonnegative_least_squares(chinchilla: Points) -> None:
    frame, losses = Frame.of(chinchilla), chinchilla.losses
    best = min(
        (
            nnls(
                np.stack([np.ones(240), np.exp(-alpha * frame.x), np.exp(-beta * frame.y)], 1)
                / losses[:, None],
                np.ones(240),
            )[1],
            alpha,
            beta,
        )
        for alpha in GRID[3:9]
        for beta in GRID[3:9]
    )
    start = grid_start(frame, losses, np.ones(240))
    assert tuple(start[3:]) == best[1:]
    state = evaluate(LOG_SQUARES, frame, losses[None], np.ones((1, 240)), start[None])
    assert np.sqrt((np.expm1(state.residuals[0]) ** 2).sum()) == pytest.approx(best[0], rel=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda one: one.name)
def test_slopes_are_those_of_differences(objective: object) -> None:
    points = design(seeds=1, branch=0.004)
    frame, counts = Frame.of(points), points.weight[None]
    theta = frame.theta(TRUTH) + 0.01
    state = evaluate(objective, frame, points.losses[None], counts, theta[None])  # type: ignore[arg-type]
    for at in range(5):
        step = np.eye(5)[at] * 1e-6
        ends = [
            evaluate(objective, frame, points.losses[None], counts, (theta + sign * step)[None])  # type: ignore[arg-type]
            for sign in (1, -1)
        ]
        slope = (ends[0].residuals[0] - ends[1].residuals[0]) / 2e-6
        assert state.jacobian[0, at] == pytest.approx(slope, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda one: one.name)
def test_a_point_given_twice_counts_as_one_of_weight_two(objective: object) -> None:
    points = design(seeds=1, branch=0.01)
    weights = np.ones(len(points))
    weights[3] = 2.0
    again = np.append(np.arange(len(points)), 3)
    doubled = Points(points.parameters[again], points.tokens[again], points.losses[again])
    one = fitted(replace(points, weights=weights), objective)  # type: ignore[arg-type]
    assert tuple(one) == pytest.approx(tuple(fitted(doubled, objective)), rel=1e-4)  # type: ignore[arg-type]


def test_descent_of_many_ends_where_fits_of_each_do() -> None:
    points = design(trunk=0.008, branch=0.003)
    frame = Frame.of(points)
    start = solve(HUBER, frame, points.losses, points.weight).theta
    weights = np.random.default_rng(1).multinomial(75, np.full(75, 1 / 75), 6).astype(float)
    found = descend(
        HUBER, frame, points.losses[None], weights, np.repeat(start[None], 6, 0),
        bounds_of(points.losses), steps=500, tolerance=1e-14,
    )  # fmt: skip
    values = evaluate(HUBER, frame, points.losses[None], weights, found).value
    for row, value in zip(weights, values, strict=True):
        assert value <= solve(HUBER, frame, points.losses, row).value * (1 + 1e-4)


def test_bounds_that_hold_a_fit_are_named() -> None:
    points = design(seeds=1)
    rising = replace(points, losses=2 + 1e-3 * np.log(points.parameters / 1e7))
    frame = Frame.of(rising)
    found = solve(HUBER, frame, rising.losses, rising.weight)
    assert found.active
    low, high = bounds_of(rising.losses)
    assert (found.theta >= low).all()
    assert (found.theta <= high).all()
    assert (low[3], high[4]) == EXPONENTS
    assert CONSTANTS == ("E", "A", "B", "alpha", "beta")
