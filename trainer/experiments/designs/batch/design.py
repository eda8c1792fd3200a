"""Settings of a study of batches, and the runs it wants (arXiv 2404.06395, 3.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from artifacts.errors import UserError
from artifacts.settings import Part
from trainer.experiments.design import Base, Design, Made, Measured
from trainer.experiments.designs.batch.branching import Branching
from trainer.experiments.designs.batch.curves import FIXED, LARGER, RETUNED
from trainer.experiments.designs.batch.findings import found
from trainer.experiments.designs.batch.rates import best_rates
from trainer.experiments.designs.fields import Count, Rate, Seed
from trainer.experiments.designs.shape import shape
from trainer.experiments.findings import Findings
from trainer.experiments.runs import Point, RunSpec


class Retuned(Part):
    """The rates among which each batch has its best, and the seeds of every run at them. A batch
    whose best rate is the smallest or the largest gets the next one, up to ``further`` times.
    """

    peaks: tuple[Rate, ...] = Field(default=(0.005, 0.01, 0.02), min_length=3)
    seeds: tuple[Seed, ...] = Field(default=(1, 2), min_length=1)
    further: Annotated[int, Field(ge=0)] = 1


class BatchDesign(Design):
    """``batches`` and ``tokens`` of a run in tokens; ``peak`` is the rate of the fixed arm, which
    has ``seeds``. The rate is constant after a warm-up of ``warmup_tokens``, in at least
    ``least_warmup`` steps. Losses are looked at every ``look_every`` tokens.

    ``levels``: losses at which batches are compared; ``smoothing``: width in ln tokens over which
    the losses of a curve are averaged.
    """

    kind: ClassVar[str] = "batch"
    summary: ClassVar[str] = "the batch that reaches a loss with the fewest tokens"

    width: Count = 64
    layers: Count = 2
    batches: tuple[Count, ...] = Field(min_length=3)
    tokens: Count
    peak: Rate = 0.01
    seeds: tuple[Seed, ...] = Field(default=(1, 2, 3), min_length=1)
    retuned: Retuned | None = Retuned()
    branching: Branching | None = None
    warmup_tokens: Annotated[int, Field(ge=0)] = 65_536
    least_warmup: Annotated[int, Field(ge=0)] = 10
    look_every: Count = 65_536
    levels: Count = 7
    smoothing: Annotated[float, Field(ge=0)] = 0.1

    @model_validator(mode="after")
    def _grids_rise(self) -> BatchDesign:
        _check_rises(("design", "batches"), self.batches)
        if self.retuned is not None:
            _check_rises(("design", "retuned", "peaks"), self.retuned.peaks)
        return self

    @model_validator(mode="after")
    def _looks_are_shared(self) -> BatchDesign:
        for batch in self.batches:
            if self.look_every % batch:
                raise UserError(
                    "every batch is looked at at the same numbers of tokens, after whole steps",
                    field=("design", "look_every"),
                    found=f"{self.look_every} with a batch of {batch}",
                    allowed=[f"multiples of {batch}"],
                    fix="give a multiple of every batch, such as the largest of doublings",
                )
        if self.tokens % self.look_every:
            raise UserError(
                "a run ends with a look",
                field=("design", "tokens"),
                found=self.tokens,
                allowed=[f"multiples of look_every, {self.look_every}"],
                fix=f"give {max(1, round(self.tokens / self.look_every)) * self.look_every}",
            )
        if self.branching is not None:
            self.branching.check(self.batches, self.tokens, self.look_every, self.seeds)
        return self

    def points(self, base: Base, made: Made) -> list[Point]:
        points = [
            point
            for batch in self.batches
            for point in self._arm(base, FIXED, batch, (self.peak,), self.seeds)
        ]
        if self.retuned is not None:
            for batch in self.batches:
                points += self._tuned(base, batch, self.retuned, made)
        return [*points, *self._larger(base)]

    @property
    def grows(self) -> bool:
        return self.retuned is not None and self.retuned.further > 0

    def findings(self, base: Base, measured: Sequence[Measured]) -> Findings:
        return found(
            base,
            measured,
            peak=self.peak,
            branching=self.branching,
            levels=self.levels,
            smoothing=self.smoothing,
        )

    def train(self, batch: int, peak: float) -> dict[str, Any]:
        """What differs from the base recipe's training at a batch and a rate."""
        warmup = max(self.least_warmup, -(-self.warmup_tokens // batch))
        return {
            "batch_tokens": batch,
            "validate_every": self.look_every // batch,
            "schedule": {"kind": "wsd", "peak": peak, "warmup": warmup},
        }

    def run(self, base: Base, batch: int, peak: float, seed: int) -> RunSpec:
        """The run of a batch, a rate and a seed. One that larger batches branch from has its
        gradients watched, in micro-batches; whatever arm asks for it, it is the same run.
        """
        train, probes = self.train(batch, peak), {}
        branching = self.branching
        if branching is not None and branching.trunk(batch, seed) and peak == self.peak:
            train["micro_batch_tokens"] = branching.micro_batch_tokens
            probes = branching.probes
        return RunSpec(
            model=self._model,
            train=train,
            seed=seed,
            phases=(base.stable_phase(self.tokens),),
            probes=probes,
        )

    @cached_property
    def _model(self) -> dict[str, Any]:
        return shape(self.width, self.layers, self.width)

    def _arm(
        self, base: Base, arm: str, batch: int, peaks: Sequence[float], seeds: Sequence[int]
    ) -> Iterator[Point]:
        for peak in peaks:
            for seed in seeds:
                run = self.run(base, batch, peak, seed)
                yield Point({"arm": arm, "batch": batch, "peak": peak, "seed": seed}, run)

    def _tuned(self, base: Base, batch: int, retuned: Retuned, made: Made) -> list[Point]:
        """A batch at its rates, and at further ones beyond the end where its best lies."""
        points = [*self._arm(base, RETUNED, batch, retuned.peaks, retuned.seeds)]
        for _ in range(retuned.further):
            outcomes = [(point, made(point.run)) for point in points]
            measured = [Measured(point, one) for point, one in outcomes if one is not None]
            best = best_rates(base, measured) if len(measured) == len(points) else []
            beyond = best[0].beyond if best else None
            if beyond is None:
                break
            points += self._arm(base, RETUNED, batch, (beyond,), retuned.seeds)
        return points

    def _larger(self, base: Base) -> Iterator[Point]:
        """Endings at larger batches."""
        branching = self.branching
        if branching is None:
            return
        for seed in branching.seeds:
            trunk = self.run(base, branching.batch, self.peak, seed)
            for at in branching.at:
                for factor in branching.factors:
                    run = branching.ending(base, trunk, at, factor)
                    yield Point({"arm": LARGER, "at": at, "factor": factor, "seed": seed}, run)


def _check_rises(field: tuple[str, ...], values: Sequence[float]) -> None:
    if list(values) != sorted(set(values)):
        raise UserError(
            "a grid rises from value to value",
            field=field,
            found=list(values),
            fix=f"write {sorted(set(values))}",
        )
