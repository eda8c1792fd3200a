"""What studies of a decay have in common: stable runs of several seeds that decays branch from.

    totals    S_1 ........... S_2                 whole runs, their decay included
    stable    ─────────────────────▶              one run of a seed, as long as the longest total
    decay              ╲ share of S_2             branches off where that share of the total is left

Studies of one shape, one rate and one longest total share their stable runs.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from pydantic import Field

from artifacts.errors import UserError
from trainer.experiments.design import Base, Design, whole_batches
from trainer.experiments.designs.fields import Count, Rate, Seed
from trainer.experiments.designs.shape import shape
from trainer.experiments.runs import RunSpec
from trainer.optimizer.schedules import DecaySpec, ScheduleSpec

Share = Annotated[float, Field(gt=0, lt=1)]


class Span(NamedTuple):
    """The steps of a decay: it begins after ``first`` and ends after ``last``.

    >>> span = Span.of(100_000, 0.1, batch=2048)
    >>> span.first, span.last, span.steps
    (44, 49, 5)
    """

    first: int
    last: int

    @classmethod
    def of(cls, total: int, share: float, batch: int) -> Span:
        """The last ``share`` of ``total`` tokens, both rounded up to whole batches of ``batch``."""
        steps = whole_batches(share * total, batch) // batch
        last = whole_batches(total, batch) // batch
        return cls(last - steps, last)

    @property
    def steps(self) -> int:
        return self.last - self.first

    def apart(self, number: int) -> tuple[int, ...]:
        """Steps of ``number`` checkpoints, as evenly as whole steps allow, both ends included.
        Raises: UserError where there are fewer steps.
        """
        if number > self.steps + 1:
            raise UserError(
                "a merge needs as many checkpoints as it sums, at steps of their own",
                field=("design", "merged"),
                found=f"{number} checkpoints over a decay of {self.steps} steps",
                allowed=[f"2 to {self.steps + 1}"],
                fix="merge fewer, or leave out the shortest decay or total",
            )
        between = number - 1
        return tuple(
            self.first + (place * self.steps + between // 2) // between for place in range(number)
        )


class StableDesign(Design):
    """``width``: default the base recipe's model, else of ``layers``; ``peak`` and ``warmup``, in
    steps: default its schedule's. ``seeds`` draw the weights and the order of data.
    """

    width: Count | None = None
    layers: Count = 2
    seeds: tuple[Seed, ...] = Field(min_length=1)
    peak: Rate | None = None
    warmup: Annotated[int, Field(ge=0)] | None = None

    def stable(self, base: Base, tokens: int, seed: int) -> RunSpec:
        """The stable run of a seed."""
        schedule = {
            name: value
            for name, value in (("peak", self.peak), ("warmup", self.warmup))
            if value is not None
        }
        return RunSpec(
            model={} if self.width is None else shape(self.width, self.layers, self.width),
            train={"schedule": schedule} if schedule else {},
            seed=seed,
            phases=(base.stable_phase(tokens),),
        )

    def schedule(self, base: Base) -> ScheduleSpec:
        """That of the stable runs, without an end."""
        given = {"peak": self.peak, "warmup": self.warmup}
        known = {name: value for name, value in given.items() if value is not None}
        plain = base.train.schedule.resolved(decay_start=None, end=None)
        return plain.model_copy(update=known)


def scheduled(run: RunSpec, **schedule: Any) -> dict[str, Any]:
    """The training settings of a run with a few of its schedule's replaced."""
    return {**run.train, "schedule": {**run.train.get("schedule", {}), **schedule}}


def decayed(base: Base, stable: RunSpec, span: Span, decay: DecaySpec) -> RunSpec:
    """The ending of a stable run that decays over a span, on the data that it would be shown."""
    return stable.ended(
        (base.plain_decay(span.steps * base.train.batch_tokens),),
        span.first,
        train=scheduled(stable, decay=decay.model_dump()),
    )


def named(decay: DecaySpec) -> str:
    """A decay in a word or two.

    >>> named(DecaySpec(shape="linear")), named(DecaySpec(shape="cosine", final=0.1))
    ('linear', 'cosine to 0.1')
    """
    if decay.half_life is not None:
        return f"{decay.shape}, half-life {decay.half_life:g}"
    return decay.shape if decay.final is None else f"{decay.shape} to {decay.final:g}"
