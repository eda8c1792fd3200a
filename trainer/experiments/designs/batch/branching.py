"""Larger batches from a checkpoint on, and the noise of the gradients on the way there.

From a run of ``batch`` tokens a step, endings go on at k times the batch and sqrt(k) times the rate
(the critical batch of arXiv 2505.23971: the largest whose loss recovers). The run itself goes on at
its own batch, which is k = 1. Beside it the noise scale of its gradients
(:mod:`trainer.probes.noise_scale`), over stretches of as many tokens as an ending has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from artifacts.errors import UserError
from artifacts.settings import Part
from trainer.experiments.design import Base
from trainer.experiments.designs.fields import Count, Seed
from trainer.experiments.runs import RunSpec, merged

PROBE = "noise_scale"


class Branching(Part):
    """``batch``: of the runs that larger batches go on from, one of the design's, under ``seeds``
    that the fixed arm has. ``at``: after how many tokens; ``tokens``: for how many; ``factors``: k.
    ``micro_batches`` of a step, from which the noise of gradients is seen every ``every`` steps.
    """

    batch: Count
    at: tuple[Count, ...] = Field(min_length=1)
    tokens: Count
    factors: tuple[Annotated[int, Field(ge=2)], ...] = Field(default=(2, 4, 8), min_length=1)
    seeds: tuple[Seed, ...] = Field(default=(1, 2, 3), min_length=1)
    micro_batches: Annotated[int, Field(ge=2)] = 4
    every: Count = 4

    @property
    def micro_batch_tokens(self) -> int:
        return self.batch // self.micro_batches

    @property
    def probes(self) -> dict[str, dict[str, Any]]:
        """What is measured of the runs that are gone on from."""
        return {PROBE: {"steps": {"every": self.every}}}

    def trunk(self, batch: int, seed: int) -> bool:
        """Whether endings go on from the run of this batch and seed."""
        return batch == self.batch and seed in self.seeds

    def ending(self, base: Base, trunk: RunSpec, at: int, factor: int) -> RunSpec:
        """A run that goes on at ``factor`` times the batch."""
        step = at // self.batch
        phase = base.stable_phase(self.tokens, "larger")
        phase = phase.model_copy(update={"batch_tokens": factor * self.batch})
        change = {"after": step, "factor": math.sqrt(factor)}
        train = merged(trunk.train, {"schedule": {"changes": [change]}})
        train.pop("micro_batch_tokens", None)  # small ones are for the noise of the trunk
        return trunk.ended((phase,), step, train=train)

    def check(
        self, batches: Sequence[int], tokens: int, look_every: int, seeds: Sequence[int]
    ) -> None:
        """Raises: UserError where the design's runs do not hold what is branched from."""
        if self.batch not in batches:
            raise _error("batch", self.batch, batches, "name one of the design's batches")
        if not set(self.seeds) <= set(seeds):
            raise _error("seeds", list(self.seeds), seeds, "name seeds of the fixed arm")
        if self.batch % self.micro_batches:
            raise _error(
                "micro_batches", self.micro_batches, _divisors(self.batch), "give a power of two"
            )
        for at in self.at:
            if at % look_every or at + self.tokens > tokens:
                last = (tokens - self.tokens) // look_every * look_every
                rule = f"multiples of look_every, {look_every}, from {look_every} to {last}"
                raise _error("at", at, [rule], "branch where the run is looked at, before it ends")
        step = math.lcm(look_every, *(factor * self.batch for factor in self.factors))
        if self.tokens % step:
            rule = f"multiples of {step}"
            raise _error("tokens", self.tokens, [rule], "end with a look, after whole batches")


def _error(name: str, found: object, allowed: Sequence[object], fix: str) -> UserError:
    return UserError(
        "what larger batches go on from does not fit the design's runs",
        field=("design", "branching", name),
        found=found,
        allowed=[str(value) for value in allowed],
        fix=fix,
    )


def _divisors(batch: int) -> list[int]:
    return [parts for parts in (2, 4, 8, 16, 32) if batch % parts == 0]
