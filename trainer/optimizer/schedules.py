"""Learning-rate schedules: pure functions of the step and a specification.

Steps are updates, counted from 1: the first update runs at ``rate(spec, 1)``, and a run stopped
after ``n`` updates goes on with ``rate(spec, n + 1)``. With eta the peak, W the end of warm-up, T
the end of the stable stage, S the last step:

    wsd           eta s/W for s < W,   eta for W <= s <= T,   eta f(s) for T < s
                  (arXiv 2404.06395, Eq. 1)
    cosine        after warm-up eta (r + (1-r)/2 (1 + cos(pi p))), p = (s-W)/(T-W), r = final;
                  then eta r  (period T)
    cosine_loop   the same without an end: it rises again
    constant      eta after warm-up

Because warm-up is s/W and steps count from 1, no update runs at rate 0. WSD(D, d) includes its
decay: S = D, T = D - d.

Decay shapes f of progress p = (s-T)/(S-T), ending at ``final`` = r (default 0, or 0.1 for the last
four) at p = 1 and staying there. What ends at 0 (r = 0) has p = (s-T)/(S-T+1) instead, and reaches
0 after the last update: at rate 0 that would waste its batch. So has the cosine kind with ``final``
0: p = (s-W)/(T-W+1). A schedule of ``version`` 1 has not.

    linear           r + (1-r)(1-p)
    one_minus_sqrt   r + (1-r)(1-sqrt(p))            (Haegele et al., arXiv 2405.18392)
    cosine           r + (1-r)(1+cos(pi p))/2
    linear_to        linear, to a tenth by default
    exponential      r^p; or, with ``half_life`` h in steps, 0.5^((s-T)/h), which has no end and no
                     floor
    inverse_linear   1/(p/r + 1-p): linear in 1/rate (WSD-S, arXiv 2410.05192)
    multi_step       r^(1/2) up to p = 1/2, then r; over the last fifth of a run it is DeepSeek's
                     schedule: 31.6 % of the peak after 80 % of the tokens, 10 % after 90 %
                     (arXiv 2401.02954)

Any of these may be scaled from a step on (:class:`RateChange`), as where a batch gets larger.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from artifacts.errors import UserError
from artifacts.later import LATER
from artifacts.records import Record

ScheduleKind = Literal["wsd", "cosine", "cosine_loop", "constant"]
DecayShape = Literal[
    "linear", "exponential", "one_minus_sqrt", "cosine", "inverse_linear", "linear_to", "multi_step"
]
Steps = Annotated[int, Field(ge=0, strict=True)]

Version = Literal[1, 2]
VERSION: Version = 2
"""Of schedules that begin now."""

FIRST_VERSION: Version = 1
"""Of schedules recorded before there were versions; their last update runs at rate 0 where they end
at 0.
"""

_NEVER_ZERO: frozenset[str] = frozenset({"exponential", "inverse_linear", "multi_step"})
_TENTH: frozenset[str] = _NEVER_ZERO | {"linear_to"}


class DecaySpec(Record):
    """The shape of a decay: ``final`` is the fraction of the peak it ends at, ``half_life`` is in
    steps.
    """

    shape: DecayShape = "exponential"
    half_life: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    final: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.half_life is not None and self.shape != "exponential":
            raise ValueError(f"half_life belongs to the exponential shape, not to {self.shape}")
        if self.half_life is not None and self.final is not None:
            raise ValueError(
                "half_life and final both say how far an exponential decay goes: give one"
            )
        if self.shape in _NEVER_ZERO and self.final == 0:
            raise ValueError(f"a decay of shape {self.shape} never reaches 0: give final above 0")
        return self

    @property
    def floor(self) -> float:
        """The fraction of the peak reached at the end."""
        if self.final is not None:
            return self.final
        return 0.1 if self.shape in _TENTH else 0.0


class RateChange(Record):
    """From the update after step ``after`` on the rate is ``factor`` times the schedule's, until
    another change.
    """

    after: Steps
    factor: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ScheduleSpec(Record):
    """A schedule. ``warmup``, ``decay_start`` (T) and ``end`` (S) are in steps; the last two
    usually come from the plan.

    ``final`` and ``period`` are those of the cosine kinds; a period not given is ``end``.
    ``version`` says how progress is counted; a training that goes on has that of its checkpoint.
    ``changes`` scale the rate from steps on that rise.
    """

    kind: ScheduleKind = "wsd"
    peak: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01
    warmup: Steps = 0
    decay: DecaySpec = DecaySpec()
    decay_start: Steps | None = None
    end: Steps | None = None
    period: Steps | None = None
    final: Annotated[float, Field(ge=0, le=1)] = 0.1
    version: Version = VERSION
    changes: Annotated[tuple[RateChange, ...], LATER] = ()

    @model_validator(mode="after")
    def _changes_rise(self) -> Self:
        steps = [change.after for change in self.changes]
        if steps != sorted(set(steps)):
            raise ValueError(f"changes of the rate come one after the other, not after {steps}")
        return self

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.decay_start is not None and self.decay_start < self.warmup:
            raise ValueError(
                f"the decay starts at step {self.decay_start}, before warm-up ends at step "
                f"{self.warmup}"
            )
        if self.decay_start is not None and self.end is not None and self.end < self.decay_start:
            raise ValueError(
                f"the schedule ends at step {self.end}, before its decay starts at step "
                f"{self.decay_start}"
            )
        if (
            self.kind in ("cosine", "cosine_loop")
            and self._period is not None
            and self._period <= self.warmup
        ):
            raise ValueError(
                f"the cosine's period ends at step {self._period}, not after warm-up, which ends "
                f"at step {self.warmup}"
            )
        return self

    @property
    def _period(self) -> int | None:
        return self.end if self.period is None else self.period

    def resolved(self, *, decay_start: int | None, end: int | None) -> ScheduleSpec:
        """This schedule with the decay's start and the end that a plan fixes; a branch is the same
        from another step.
        """
        return ScheduleSpec.model_validate(
            {**self.model_dump(), "decay_start": decay_start, "end": end}
        )


def wsd(
    total: int, decay_steps: int, *, peak: float, warmup: int = 0, decay: DecaySpec | None = None
) -> ScheduleSpec:
    """WSD(D, d) of the paper: ``total`` steps in all, of which the last ``decay_steps`` decay."""
    return ScheduleSpec(
        peak=peak,
        warmup=warmup,
        decay=decay or DecaySpec(),
        decay_start=total - decay_steps,
        end=total,
    )


def rate(spec: ScheduleSpec, step: int) -> float:
    """The learning rate of update number ``step`` (from 1). UserError where the schedule lacks a
    step it needs.
    """
    factors = [change.factor for change in spec.changes if change.after < step]
    return _unscaled(spec, step) * factors[-1] if factors else _unscaled(spec, step)


def _unscaled(spec: ScheduleSpec, step: int) -> float:
    if step < spec.warmup:
        return spec.peak * step / spec.warmup
    match spec.kind:
        case "constant":
            return spec.peak
        case "wsd":
            if spec.decay_start is None or step <= spec.decay_start:
                return spec.peak
            return spec.peak * decay_factor(
                spec.decay, step - spec.decay_start, _decay_steps(spec), spec.version
            )
        case _:
            period = spec.end if spec.period is None else spec.period
            if period is None:
                raise UserError(
                    "a cosine schedule needs its period",
                    field="schedule.period",
                    fix="give period or end, in steps",
                )
            falling = period - spec.warmup
            if spec.kind == "cosine":
                falling = _steps_to_final(falling, spec.final, spec.version)
            progress = (step - spec.warmup) / falling
            if spec.kind == "cosine" and progress >= 1.0:
                return spec.peak * spec.final
            return spec.peak * (
                spec.final + (1.0 - spec.final) * 0.5 * (1.0 + math.cos(math.pi * progress))
            )


def decay_factor(decay: DecaySpec, step: float, steps: int | None, version: int = VERSION) -> float:
    """f: the fraction of the peak ``step`` steps into a decay of ``steps`` (None: without an end,
    for a half-life alone), by the rules of a schedule's ``version``.
    """
    if decay.half_life is not None:
        return float(0.5 ** (step / decay.half_life))
    if steps is None:
        raise UserError(
            f"a decay of shape {decay.shape} needs its end",
            field="schedule.end",
            fix="give end, or a half_life to the exponential shape",
        )
    floor = decay.floor
    ends = _steps_to_final(steps, floor, version)
    progress = step / ends if step < ends else 1.0
    match decay.shape:
        case "exponential":
            return float(floor**progress)
        case "inverse_linear":
            return 1.0 / (progress / floor + (1.0 - progress))
        case "multi_step":
            return math.sqrt(floor) if progress <= 0.5 else floor
        case "one_minus_sqrt":
            falling = 1.0 - math.sqrt(progress)
        case "cosine":
            falling = 0.5 * (1.0 + math.cos(math.pi * progress))
        case _:
            falling = 1.0 - progress
    return floor + (1.0 - floor) * falling


def rates(spec: ScheduleSpec, steps: Iterable[int]) -> list[tuple[int, float]]:
    """(step, rate) of each of ``steps``: the rows of a schedule shown."""
    return [(step, rate(spec, step)) for step in steps]


def _steps_to_final(steps: int, final: float, version: int) -> int:
    """Steps after which a fall of ``steps`` updates is at its end: one more where that is 0."""
    return steps + 1 if final == 0 and version > FIRST_VERSION else steps


def _decay_steps(spec: ScheduleSpec) -> int | None:
    if spec.end is None or spec.decay_start is None:
        return None
    return spec.end - spec.decay_start
