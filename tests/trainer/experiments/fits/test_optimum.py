"""The optimum over a grid: exact parabolas, edges, divergence, seeds, and coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from artifacts.statistics.estimates import Estimate
from trainer.experiments.fits.optimum import (
    GridPoint,
    Optimum,
    find_optimum,
    sensitivity,
    shift,
    shifts,
)

RATES = [0.0025 * 2**place for place in range(6)]
PAPER = {1e-3: 4.16, 3e-3: 3.33, 6e-3: 3.15, 1e-2: 3.19, 3e-2: 3.35, 6e-2: 6.62, 1e-1: 6.68}
"""Of 0.04B, arXiv 2404.06395, figure 3."""


def parabola(
    vertex: float, curve: float = 0.01, seed: int = 0, noise: object = None
) -> list[GridPoint]:
    return [
        GridPoint(
            x,
            3.0 + curve * math.log(x / vertex) ** 2 + (noise() if callable(noise) else 0.0),
            seed,
        )
        for x in RATES
    ]


@given(st.floats(0.008, 0.025), st.floats(0.001, 0.2))
def test_the_vertex_of_an_exact_parabola_is_recovered(vertex: float, curve: float) -> None:
    found = find_optimum(parabola(vertex, curve))
    assert found.value == pytest.approx(vertex, rel=1e-9)
    assert found.loss == pytest.approx(3.0, abs=1e-9)
    assert not found.at_edge


@given(st.floats(0.008, 0.025), st.floats(0.5, 3), st.floats(-1, 5), st.floats(0.01, 100))
def test_units_of_the_grid_and_of_the_loss_move_the_optimum_with_them(
    vertex: float, scale: float, level: float, unit: float
) -> None:
    points = parabola(vertex)
    whole = find_optimum(points, near=math.inf)
    moved = [GridPoint(p.x * unit, scale * (p.loss or 0) + level) for p in points]
    found = find_optimum(moved, near=math.inf)
    assert whole.value is not None
    assert found.value == pytest.approx(whole.value * unit, rel=1e-6)


def test_only_points_near_the_best_take_part() -> None:
    found = find_optimum([GridPoint(x, loss) for x, loss in PAPER.items()])
    assert found.used == (3e-3, 6e-3, 1e-2)
    assert found.value is not None
    assert 6e-3 < found.value < 1e-2
    wider = find_optimum([GridPoint(x, loss) for x, loss in PAPER.items()], near=0.07)
    assert wider.used == (3e-3, 6e-3, 1e-2, 3e-2)


@pytest.mark.parametrize(
    ("vertex", "edge", "beyond"), [(0.0001, "low", 0.00125), (10, "high", 0.16)]
)
def test_an_optimum_outside_the_grid_says_which_side_and_what_to_run(
    vertex: float, edge: str, beyond: float
) -> None:
    found = find_optimum(parabola(vertex))
    assert (found.value, found.edge) == (None, edge)
    assert found.at_edge
    assert found.next_value == pytest.approx(beyond)
    assert f"run {beyond:.4g}" in str(found.reason)
    assert found.to_json()["determined"] is False


def test_a_run_that_diverged_is_worse_than_all_and_not_in_the_parabola() -> None:
    points = parabola(0.012)
    points[-1] = GridPoint(RATES[-1], None, reason="loss not finite at step 12")
    found = find_optimum(points)
    assert found.value == pytest.approx(0.012, rel=1e-9)
    assert RATES[-1] not in found.used
    one_of_two = find_optimum(
        [*parabola(0.012), *(GridPoint(p.x, p.loss, 1, p.reason) for p in points)]
    )
    assert RATES[-1] not in one_of_two.used


def test_a_best_value_beside_divergence_asks_for_the_value_between() -> None:
    points = [GridPoint(0.01, 3.4), GridPoint(0.02, 3.2), GridPoint(0.04, 3.0)]
    found = find_optimum([*points, GridPoint(0.08, None, reason="diverged")])
    assert (found.value, found.edge) == (None, "divergence")
    assert found.next_value == pytest.approx(math.sqrt(0.04 * 0.08))
    near = [GridPoint(0.01, 3.2), GridPoint(0.02, 3.01), GridPoint(0.04, 3.0)]
    found = find_optimum([*near, GridPoint(0.08, None, reason="diverged")])
    assert found.value is not None
    assert 0.02 < found.value < 0.04


def test_losses_that_do_not_curve_upward_have_no_optimum() -> None:
    found = find_optimum([GridPoint(x, 3.0) for x in RATES])
    assert found.value is None
    flat = [
        GridPoint(x, loss) for x, loss in zip(RATES, (3, 2.99, 2.99, 2.99, 2.99, 3), strict=True)
    ]
    assert find_optimum(flat).value is not None


def test_seeds_have_vertices_whose_spread_is_the_interval() -> None:
    vertices = [0.010, 0.012, 0.0145]
    found = find_optimum([p for seed, v in enumerate(vertices) for p in parabola(v, seed=seed)])
    logs = np.log(vertices)
    assert found.method == "seeds"
    assert found.log_x is not None
    assert found.log_x.value == pytest.approx(logs.mean(), abs=1e-9)
    assert found.log_x.error == pytest.approx(logs.std(ddof=1) / math.sqrt(3), abs=1e-9)
    assert found.log_x.degrees == 2
    assert found.interval is not None
    assert found.interval[0] < found.value < found.interval[1]  # type: ignore[operator]
    assert found.to_json()["by_seed"]["1"] == pytest.approx(0.012)


def test_one_seed_takes_its_interval_from_residuals_and_says_so() -> None:
    draw = np.random.default_rng(2)
    noisy = find_optimum(parabola(0.012, noise=lambda: draw.normal(0, 1e-4)), near=math.inf)
    assert noisy.method == "residuals"
    assert noisy.log_x is not None
    assert noisy.log_x.degrees == 3
    three = find_optimum(parabola(0.012)[1:4])
    assert three.log_x is None
    assert "one seed and 3 points" in str(three.reason)
    assert three.value == pytest.approx(0.012)


def test_a_seed_that_ran_at_the_best_rates_alone_counts_there() -> None:
    """One seed over the whole grid, two more at the best three: the whole grid says where the best
    is, the three say how sure.
    """
    few = [p for seed, v in ((1, 0.011), (2, 0.013)) for p in parabola(v, seed=seed)[1:4]]
    found = find_optimum([*parabola(0.012), *few])
    assert found.used == tuple(RATES[1:4])
    assert found.log_x is not None
    assert found.log_x.degrees == 2
    lacking = find_optimum([*parabola(0.012), *few[:2]])
    assert lacking.log_x is None
    assert "not every seed has run at" in str(lacking.reason)
    assert lacking.value is not None


def test_the_interval_over_seeds_holds_the_vertex_as_often_as_it_says() -> None:
    draw, held, repetitions = np.random.default_rng(7), 0, 500
    for _ in range(repetitions):
        points = [
            p
            for seed in range(3)
            for p in parabola(0.012, noise=lambda: draw.normal(0, 0.001), seed=seed)
        ]
        found = find_optimum(points, near=math.inf)
        assert found.interval is not None
        held += found.interval[0] <= 0.012 <= found.interval[1]
    assert 0.92 <= held / repetitions <= 0.98


def curve(vertices: list[float], first: int = 0) -> Optimum:
    return find_optimum(
        [p for seed, v in enumerate(vertices, first) for p in parabola(v, seed=seed)]
    )


def test_a_shift_is_in_grid_steps_and_paired_by_seed() -> None:
    small, large = curve([0.010, 0.012, 0.014]), curve([0.020, 0.025, 0.028])
    found = shift(small, large, 2.0)
    assert found is not None
    steps = np.log2([2.0, 0.025 / 0.012, 2.0])
    assert found.value == pytest.approx(steps.mean(), abs=1e-8)
    assert found.error == pytest.approx(steps.std(ddof=1) / math.sqrt(3), abs=1e-8)
    back = shift(large, small, 2.0)
    assert back is not None
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))


def test_other_seeds_are_compared_without_pairs_and_single_ones_by_residuals() -> None:
    unpaired = shift(curve([0.010, 0.012, 0.014]), curve([0.020, 0.025, 0.028], first=9), 2.0)
    assert unpaired is not None
    assert 2 <= unpaired.degrees <= 4
    draw = np.random.default_rng(2)
    ones = [
        find_optimum(parabola(v, noise=lambda: draw.normal(0, 1e-4)), near=math.inf)
        for v in (0.01, 0.02)
    ]
    single = shift(*ones, 2.0)
    assert single is not None
    assert single.low < 1 < single.high
    assert shift(ones[0], find_optimum(parabola(10)), 2.0) is None


def test_neighbouring_widths_are_compared() -> None:
    optima = {96: curve([0.01, 0.011]), 48: curve([0.01, 0.012]), 192: curve([0.02, 0.021])}
    assert list(shifts(optima, 2.0)) == [(48, 96), (96, 192)]


def test_sensitivity_is_the_mean_regret_with_divergence_at_the_start() -> None:
    points = [GridPoint(1, 3.5), GridPoint(2, 3.0), GridPoint(4, None, reason="diverged")]
    assert sensitivity(points, 6.0) == pytest.approx((0.5 + 0.0 + 3.0) / 3)
    worse = [GridPoint(1, 3.5), GridPoint(2, 3.0), GridPoint(4, 9.0)]
    assert sensitivity(worse, 6.0) == pytest.approx((0.5 + 0.0 + 3.0) / 3)
    both = sensitivity([*points, *(GridPoint(p.x, p.loss, 1, p.reason) for p in points)], 6.0)
    assert isinstance(both, Estimate)
    assert both.error == 0


@pytest.mark.parametrize(
    ("x", "loss", "reason", "field"),
    [
        (0.0, 3.0, None, "x"),
        (math.nan, 3.0, None, "x"),
        (0.1, math.nan, None, "loss"),
        (0.1, None, None, "reason"),
    ],
)
def test_points_that_cannot_be_are_refused(
    x: float, loss: float | None, reason: str | None, field: str
) -> None:
    with pytest.raises(UserError) as raised:
        GridPoint(x, loss, reason=reason)
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([], "on both sides"),
        (parabola(0.01)[:2], "on both sides"),
        (parabola(0.01) + parabola(0.01), "twice"),
    ],
)
def test_grids_without_an_answer_are_refused(points: list[GridPoint], said: str) -> None:
    with pytest.raises(UserError, match=said):
        find_optimum(points)


def test_where_all_diverge_there_is_no_optimum_and_a_smaller_value_to_run() -> None:
    found = find_optimum([GridPoint(x, None, reason="diverged") for x in RATES])
    assert (found.value, found.edge) == (None, "divergence")
    assert found.next_value == pytest.approx(RATES[0] ** 2 / RATES[1])


def test_what_has_no_step_or_start_is_refused() -> None:
    with pytest.raises(UserError, match="ratio of neighbours"):
        shift(curve([0.01]), curve([0.02]), 1.0)
    with pytest.raises(UserError, match="loss at the start"):
        sensitivity(parabola(0.01), math.nan)
    with pytest.raises(UserError, match="lack grid values"):
        sensitivity([*parabola(0.01), *parabola(0.01, seed=1)[:4]], 6.0)
