"""Schedules against the paper's figures, and the laws every schedule obeys."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from artifacts.errors import UserError
from artifacts.settings import key_settings
from tests.oracles.plain_minicpm import plain_wsd
from trainer.optimizer.schedules import (
    DecayShape,
    DecaySpec,
    ScheduleSpec,
    decay_factor,
    rate,
    rates,
    wsd,
)

SHAPES: list[DecayShape] = [
    "linear",
    "exponential",
    "one_minus_sqrt",
    "cosine",
    "inverse_linear",
    "linear_to",
    "multi_step",
]


def test_the_released_models_decay_as_published() -> None:
    spec = ScheduleSpec(
        peak=0.01, warmup=2000, decay=DecaySpec(half_life=5000), decay_start=261_000
    )
    assert rate(spec, 2000) == rate(spec, 261_000) == 0.01
    assert rate(spec, 266_000) == 5.0e-3
    assert rate(spec, 271_000) == 2.5e-3
    assert rate(spec, 279_500) == pytest.approx(7.6947e-4, abs=5e-9)


@pytest.mark.parametrize(
    ("shape", "factors"),
    [
        ("linear", (0.75, 0.5, 0.25)),
        ("one_minus_sqrt", (0.5, 0.29289, 0.13397)),
        ("cosine", (0.85355, 0.5, 0.14645)),
        ("linear_to", (0.775, 0.55, 0.325)),
        ("exponential", (0.56234, 0.31623, 0.17783)),
        ("inverse_linear", (0.30769, 0.18182, 0.12903)),
        ("multi_step", (0.31623, 0.31623, 0.1)),
    ],
)
def test_decay_shapes_have_the_factors_of_their_formulas(
    shape: DecayShape, factors: tuple[float, ...]
) -> None:
    spec = wsd(1400, 400, peak=1.0, decay=DecaySpec(shape=shape))
    if spec.decay.floor == 0:
        spec = spec.resolved(decay_start=1000, end=1399)  # 0 is reached after the last update
    assert [rate(spec, step) for step in (1100, 1200, 1300)] == pytest.approx(factors, abs=5e-6)


def test_two_steps_over_the_last_fifth_are_the_published_schedule() -> None:
    spec = wsd(10_000, 2000, peak=1.0, warmup=2000, decay=DecaySpec(shape="multi_step"))
    assert [rate(spec, step) for step in (2000, 8000)] == [1.0, 1.0]
    assert [rate(spec, step) for step in (8001, 9000)] == pytest.approx([0.316, 0.316], abs=5e-4)
    assert [rate(spec, step) for step in (9001, 10_000)] == [0.1, 0.1]


def test_the_corrected_cosine_passes_the_plotted_point() -> None:
    cosine = ScheduleSpec(kind="cosine", peak=0.02, warmup=130, period=4850)
    assert rate(cosine, 2000) == pytest.approx(0.01388, abs=5e-6)
    plain = ScheduleSpec(kind="cosine", peak=1.0, period=1000)
    assert rate(plain, 500) == pytest.approx(0.55)
    assert rate(plain, 1000) == rate(plain, 1700) == pytest.approx(0.1)
    loop = ScheduleSpec(kind="cosine_loop", peak=1.0, period=1000)
    assert rate(loop, 1000) == pytest.approx(0.1)
    assert rate(loop, 1500) == pytest.approx(0.55)
    assert rate(loop, 2000) == pytest.approx(1.0)


def test_warm_up_never_wastes_an_update_at_rate_zero() -> None:
    spec = ScheduleSpec(kind="constant", peak=0.01, warmup=4)
    assert rates(spec, range(1, 7)) == [
        (1, 0.0025),
        (2, 0.005),
        (3, 0.0075),
        (4, 0.01),
        (5, 0.01),
        (6, 0.01),
    ]
    assert rate(ScheduleSpec(kind="constant", peak=0.01), 1) == 0.01


def test_the_total_of_wsd_includes_its_decay() -> None:
    spec = wsd(80, 8, peak=1.0, decay=DecaySpec(shape="linear_to"))
    assert rate(spec, 72) == 1.0
    assert rate(spec, 73) < 1.0
    assert rate(spec, 80) == rate(spec, 95) == pytest.approx(0.1)


@given(step=st.integers(1, 400_000), warmup=st.integers(0, 3000), half_life=st.integers(1, 9000))
def test_wsd_agrees_with_the_plain_formula(step: int, warmup: int, half_life: int) -> None:
    spec = ScheduleSpec(
        peak=0.01, warmup=warmup, decay=DecaySpec(half_life=half_life), decay_start=200_000
    )
    expected = plain_wsd(step, peak=0.01, warmup=warmup, stable_end=200_000, half_life=half_life)
    assert rate(spec, step) == pytest.approx(expected, rel=1e-12, abs=1e-300)


@given(
    shape=st.sampled_from(SHAPES),
    final=st.floats(0.01, 0.9),
    start=st.integers(0, 500),
    steps=st.integers(1, 500),
    warmup=st.integers(0, 50),
)
def test_a_decay_falls_from_the_peak_to_its_final_fraction_and_stays(
    shape: DecayShape, final: float, start: int, steps: int, warmup: int
) -> None:
    spec = wsd(
        warmup + start + steps,
        steps,
        peak=0.02,
        warmup=warmup,
        decay=DecaySpec(shape=shape, final=final),
    )
    shown = [rate(spec, step) for step in range(warmup + start, warmup + start + steps + 3)]
    assert shown[0] == 0.02 if warmup + start else shown[0] <= 0.02
    assert all(late <= early * (1 + 1e-12) for early, late in zip(shown, shown[1:], strict=False))
    assert shown[steps:] == pytest.approx([0.02 * final] * 3)


def falling(shape: DecayShape, final: float | None, steps: int, version: int) -> ScheduleSpec:
    """A decay of some steps after 20, by a version of the rules."""
    spec = wsd(20 + steps, steps, peak=0.02, decay=DecaySpec(shape=shape, final=final))
    return ScheduleSpec.model_validate({**spec.model_dump(), "version": version})


@given(
    shape=st.sampled_from(["linear", "one_minus_sqrt", "cosine", "linear_to"]),
    steps=st.integers(1, 300),
)
def test_a_decay_to_zero_has_no_update_at_rate_zero(shape: DecayShape, steps: int) -> None:
    spec, longer = falling(shape, 0.0, steps, 2), falling(shape, 0.0, steps + 1, 1)
    shown = [rate(spec, step) for step in range(20, 21 + steps)]
    assert shown == [rate(longer, step) for step in range(20, 21 + steps)]
    assert shown[0] == 0.02
    assert all(0 < late < early for early, late in zip(shown, shown[1:], strict=False))
    assert rate(spec, 21 + steps) == rate(spec, 40 + steps) == 0.0
    assert rate(falling(shape, 0.0, steps, 1), 20 + steps) == 0.0


@given(
    shape=st.sampled_from(SHAPES),
    final=st.floats(1e-6, 1.0),
    steps=st.integers(1, 300),
    step=st.integers(1, 400),
)
def test_a_decay_to_more_than_zero_is_the_same_in_every_version(
    shape: DecayShape, final: float, steps: int, step: int
) -> None:
    first, second = (rate(falling(shape, final, steps, version), step) for version in (1, 2))
    assert first.hex() == second.hex()


@pytest.mark.parametrize(
    ("final", "last"), [(0.0, 0.5 * (1 + math.cos(math.pi * 90 / 91))), (0.1, 0.1)]
)
def test_a_cosine_schedule_to_zero_has_no_update_at_rate_zero(final: float, last: float) -> None:
    spec = ScheduleSpec(kind="cosine", peak=1.0, warmup=10, period=100, final=final)
    assert rate(spec, 100) == pytest.approx(last)
    assert rate(spec, 101) == pytest.approx(final)
    former = ScheduleSpec(kind="cosine", peak=1.0, warmup=10, period=100, final=final, version=1)
    assert rate(former, 100) == final


@given(step=st.integers(1, 2000), decay_start=st.integers(100, 900))
def test_a_stored_schedule_gives_the_same_bits(step: int, decay_start: int) -> None:
    spec = ScheduleSpec(
        peak=0.0137, warmup=20, decay=DecaySpec(shape="one_minus_sqrt", final=0.03)
    ).resolved(decay_start=decay_start, end=1000)
    assert (
        rate(ScheduleSpec.model_validate_json(spec.model_dump_json()), step).hex()
        == rate(spec, step).hex()
    )


def test_a_branch_shares_every_rate_up_to_its_start() -> None:
    stable = ScheduleSpec(peak=0.01, warmup=10)
    early, late = stable.resolved(decay_start=50, end=60), stable.resolved(decay_start=80, end=100)
    assert all(rate(early, step) == rate(stable, step) for step in range(1, 51))
    assert all(rate(late, step) == rate(stable, step) for step in range(1, 81))
    assert rate(early, 60) == pytest.approx(0.001)
    assert rate(stable, 10**6) == 0.01


def test_a_change_scales_every_rate_after_its_step_and_none_before() -> None:
    plain = ScheduleSpec(peak=0.01, warmup=10, decay_start=50, end=60)
    raised = ScheduleSpec.model_validate(
        {
            **plain.model_dump(),
            "changes": [{"after": 20, "factor": 2.0}, {"after": 55, "factor": 0.5}],
        }
    )
    factors = [rate(raised, step) / rate(plain, step) for step in range(1, 60)]
    assert factors == pytest.approx([1.0] * 20 + [2.0] * 35 + [0.5] * 4)


def test_a_schedule_without_changes_has_the_key_it_had_before_there_were_any() -> None:
    assert "changes" not in key_settings(ScheduleSpec())
    changed = ScheduleSpec.model_validate({"changes": [{"after": 3, "factor": 2}]})
    assert key_settings(changed)["changes"] == [{"after": 3, "factor": 2.0}]


def test_a_half_life_has_no_end_and_no_floor() -> None:
    assert decay_factor(DecaySpec(half_life=10), 400, steps=20) == math.ldexp(1.0, -40)


def test_a_schedule_without_a_step_it_needs_says_which() -> None:
    with pytest.raises(UserError, match=r"schedule\.end"):
        rate(ScheduleSpec(decay_start=10), 11)
    with pytest.raises(UserError, match=r"schedule\.period"):
        rate(ScheduleSpec(kind="cosine"), 1)


@pytest.mark.parametrize(
    "values",
    [
        {"peak": 0},
        {"peak": float("inf")},
        {"warmup": -1},
        {"kind": "wsd", "warmup": 20, "decay_start": 10},
        {"decay_start": 20, "end": 10},
        {"kind": "cosine", "warmup": 10, "period": 10},
        {"decay": {"shape": "linear", "half_life": 5}},
        {"decay": {"half_life": 5, "final": 0.1}},
        {"decay": {"shape": "inverse_linear", "final": 0.0}},
        {"decay": {"shape": "exponential", "final": 0.0}},
        {"decay": {"shape": "multi_step", "final": 0.0}},
        {"warm_up": 3},
        {"changes": [{"after": 9, "factor": 2}, {"after": 9, "factor": 3}]},
        {"changes": [{"after": 9, "factor": 0}]},
    ],
)
def test_contradictory_schedules_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ScheduleSpec.model_validate(values)
