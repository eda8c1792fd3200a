"""Verdicts of a coordinate check: from sizes of known slopes, and from trainings."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from artifacts.errors import UserError
from tests.trainer import loop_runs
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import run
from trainer.experiments.coordinates import (
    FAILS,
    NO_POWER,
    NOT_JUDGED,
    PASSES,
    UNDECIDED,
    Bounds,
    CoordinateCheck,
    Measured,
    Slope,
    judge,
    measured_in,
    over_layers,
)
from trainer.loop.metrics import read_series
from trainer.loop.settings import ModelSettings
from trainer.probes.coordinates import Coordinates

WIDTHS, SEEDS = (64, 128, 256), (1, 2, 3)
SPREAD = {1: -0.01, 2: 0.0, 3: 0.01}
"""By how much the slope of each seed differs from what is asked for."""


def sizes(slope: float, *, spread: float = 1.0) -> Callable[[int, int], float]:
    """Mean sizes of exactly that slope, by width and seed."""
    return lambda width, seed: 3.0 * width ** (slope + spread * SPREAD[seed])


def arm(
    on: bool, *, updates: int = 1, seeds: Sequence[int] = SEEDS, **made: Callable[[int, int], float]
) -> list[Measured]:
    return [
        Measured(width, seed, on, updates, {name: of(width, seed) for name, of in made.items()})
        for width in WIDTHS
        for seed in seeds
    ]


def check(slope: float, *, off: float = 1.0, updates: int = 1, spread: float = 1.0) -> Slope:
    found = judge(
        [
            *arm(True, updates=updates, qkv=sizes(slope, spread=spread)),
            *arm(False, updates=updates, qkv=sizes(off)),
        ]
    )
    return found.rows[0]


@pytest.mark.parametrize(
    ("slope", "spread", "updates", "verdict"),
    [
        (0.0, 1.0, 1, PASSES),
        (0.1, 1.0, 3, PASSES),
        (-0.1, 1.0, 3, PASSES),
        (0.2, 1.0, 3, FAILS),
        (-0.2, 1.0, 1, FAILS),
        (0.2, 1.0, 10, PASSES),
        (0.4, 1.0, 10, FAILS),
        (0.14, 1.0, 1, UNDECIDED),
        (0.16, 1.0, 1, UNDECIDED),
        (0.0, 10.0, 1, UNDECIDED),
        (0.5, 20.0, 1, UNDECIDED),
    ],
)
def test_a_verdict_is_where_the_interval_lies(
    slope: float, spread: float, updates: int, verdict: str
) -> None:
    row = check(slope, spread=spread, updates=updates)
    assert (row.verdict, row.seeds) == (verdict, 3)
    assert row.slope == pytest.approx(slope, abs=1e-9)


@given(st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_the_interval_is_students_over_the_slopes_of_the_seeds(found: list[float]) -> None:
    widths = np.log2(WIDTHS)
    draws = np.random.default_rng(1).normal(0, 0.1, (3, 3))
    logs = np.array(found)[:, None] * widths + draws
    measured = [
        Measured(width, seed, True, 1, {"qkv": float(2 ** logs[seed, place])})
        for place, width in enumerate(WIDTHS)
        for seed in range(3)
    ]
    row = judge(measured).rows[0]
    slopes = [stats.linregress(widths, logs[seed]).slope for seed in range(3)]
    assert row.slope == pytest.approx(np.mean(slopes))
    expected = stats.t.interval(0.95, 2, loc=np.mean(slopes), scale=stats.sem(slopes))
    assert (row.low, row.high) == pytest.approx(expected)


def whole(on: float, off: float | None) -> CoordinateCheck:
    arms = arm(True, qkv=sizes(on))
    return judge(arms if off is None else [*arms, *arm(False, qkv=sizes(off))])


@pytest.mark.parametrize(
    ("on", "off", "verdict"),
    [
        (0.0, 1.0, PASSES),
        (0.0, -1.0, PASSES),
        (0.5, 1.0, FAILS),
        (0.5, 0.0, FAILS),
        (0.0, 0.0, NO_POWER),
        (0.0, 0.25, NO_POWER),  # further than the bound, less than power asks for
        (0.0, None, NO_POWER),
        (0.15, 1.0, UNDECIDED),
    ],
)
def test_a_check_passes_only_where_the_broken_arm_fails(
    on: float, off: float | None, verdict: str
) -> None:
    found = whole(on, off)
    assert found.verdict == verdict
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["verdict"] == verdict


def test_one_seed_decides_nothing() -> None:
    found = judge([*arm(True, seeds=[1], qkv=sizes(0)), *arm(False, seeds=[1], qkv=sizes(1))])
    assert [row.verdict for row in (*found.rows, *found.off)] == [UNDECIDED, UNDECIDED]
    assert found.rows[0].low is None
    assert found.verdict == NO_POWER


def test_the_logits_of_a_drawn_head_are_theory_until_they_settle() -> None:
    falling = sizes(-0.5)
    measured = [
        one
        for updates in (0, 1, 3)
        for on in (True, False)
        for one in arm(on, updates=updates, logits=falling, qkv=sizes(0.0 if on else 1.0))
    ]
    found = judge(measured)
    verdicts = {row.updates: row.verdict for row in found.rows if row.coordinate == "logits"}
    assert verdicts == {0: NOT_JUDGED, 1: NOT_JUDGED, 3: FAILS}


def test_hidden_matrices_move_as_their_rate_does() -> None:
    made = {"change.q": sizes(-1.0), "change.embedding": sizes(0.0)}
    broken = {"change.q": sizes(0.0), "change.embedding": sizes(0.0)}
    found = judge([*arm(True, **made), *arm(False, **broken)])
    assert found.verdict == PASSES
    assert [row.expected for row in found.rows] == [-1.0, 0.0]


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_over_depths_branches_fall_as_the_multiplier_says(alpha: float) -> None:
    def deep(on: bool) -> list[Measured]:
        power = alpha if on else 0.0
        return [
            Measured(
                layers,
                seed,
                on,
                1,
                {
                    f"layers.{number}.{name}": layers ** (exponent + SPREAD[seed])
                    for number in range(layers)
                    for name, exponent in (("attention", -power), ("stream", 0.0))
                },
            )
            for layers in (2, 4, 8)
            for seed in SEEDS
        ]

    measured = [*deep(True), *deep(False)]
    found = judge([over_layers(one) for one in measured], Bounds.of_depth(alpha))
    assert [row.coordinate for row in found.rows] == ["attention", "stream"]
    assert (found.verdict, found.left_out) == (PASSES, ())
    single = judge(measured, Bounds.of_depth(alpha))
    assert "layers.7.stream" in single.left_out
    assert {row.coordinate for row in single.rows} == {
        f"layers.{number}.{name}" for number in (0, 1) for name in ("attention", "stream")
    }


@pytest.mark.parametrize("value", [None, math.inf, math.nan])
def test_a_run_that_diverged_fails_and_is_no_gap(value: float | None) -> None:
    broken = arm(False, qkv=sizes(0.0))
    broken[-1] = Measured(WIDTHS[-1], SEEDS[-1], False, 1, {"qkv": value})
    found = judge([*arm(True, qkv=sizes(0.0)), *broken])
    assert (found.off[0].verdict, found.off[0].slope, found.off[0].diverged) == (FAILS, None, True)
    assert found.verdict == PASSES
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda runs: [*runs, runs[0]], "size 64, seed 1"),
        (lambda runs: runs[:-1], "no size 256 with seed 3"),
        (lambda runs: [run for run in runs if run.size == 64], "64"),
        (lambda runs: [], "no run"),
    ],
)
def test_runs_that_do_not_fill_a_grid_are_an_error(
    change: Callable[[list[Measured]], list[Measured]], found: str
) -> None:
    with pytest.raises(UserError) as error:
        judge(change(arm(True, qkv=sizes(0.0))))
    assert found in str(error.value.found)


def test_a_size_of_zero_and_a_bound_of_zero_are_errors() -> None:
    with pytest.raises(UserError):
        judge(arm(True, qkv=lambda width, seed: 0.0))
    with pytest.raises(UserError):
        Bounds(early=0.0)


@pytest.mark.slow
def test_of_trainings_the_arm_that_is_off_grows_with_width(corpus: Corpus, tmp_path: Path) -> None:
    measured = []
    for on in (True, False):
        for width in (32, 64, 128):
            for seed in (1, 2):
                model = ModelSettings(
                    width=width,
                    layers=2,
                    heads=width // 16,
                    kv_heads=width // 16,
                    head_dim=16,
                    ff=2 * width,
                    dim_model_base=32 if on else width,
                )
                folder = tmp_path / f"{on}-{width}-{seed}"
                chosen = loop_runs.settings(seed=seed, schedule={"peak": 0.01, "warmup": 1})
                probes = [Coordinates(after=[0, 1, 3])]
                run(
                    corpus,
                    folder,
                    model=model,
                    settings=chosen,
                    until_step=4,
                    probes=probes,
                    validation=None,
                )
                lines = read_series(folder, "probe-coordinates")
                measured += measured_in(lines, size=width, seed=seed, on=on)
    found = judge(measured)
    slopes = {
        on: {(row.coordinate, row.updates): row.slope for row in rows}
        for on, rows in ((True, found.rows), (False, found.off))
    }
    for name in ("layers.0.attention", "layers.1.feed_forward", "layers.1.stream"):
        assert abs(slopes[True][name, 1]) < 0.25
        assert slopes[False][name, 1] > 0.4
    assert slopes[True]["logits", 0] == pytest.approx(-0.5, abs=0.15)
    assert slopes[True]["change.q", 1] == pytest.approx(-1.0, abs=0.15)
    assert slopes[False]["change.q", 1] == pytest.approx(0.0, abs=0.15)
