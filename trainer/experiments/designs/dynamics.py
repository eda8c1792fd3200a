"""What gradients do through a decay, and what of it is the decay (arXiv 2404.06395, section 4.4).

    stable run ─▶ before ─▶ decay        measured in every step from the beginning of ``before`` on
               └▶ before ─▶ control      the same steps at the full rate

Gradients are measured by the probe :class:`trainer.probes.dynamics.Dynamics`: the paper's figures
across batches, and beside them those that no change of the learning rate alone can move.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from artifacts.errors import UserError
from trainer.experiments.design import Base, Made, Measured, whole_batches
from trainer.experiments.designs.dynamics_findings import Watched, dynamics_findings
from trainer.experiments.designs.fields import Count
from trainer.experiments.designs.stable_runs import Share, Span, StableDesign, scheduled
from trainer.experiments.findings import Findings
from trainer.experiments.runs import Point
from trainer.optimizer.schedules import DecaySpec

PROBE = "dynamics"


class DynamicsDesign(StableDesign):
    """``tokens`` in all, of which the last share ``share`` decays by ``decay``; ``before``: tokens
    measured at the full rate before it. ``micro_batches`` of a step, from which its noise is known;
    ``window``: how many of the last steps a figure is the mean of; ``looks``: how often held-out
    loss is measured. ``control``: whether the same steps are made at the full rate as well.

    ``seeds`` draw the weights and the order of data. ``width``: none for the recipe's model, else
    of ``layers``; ``peak`` and ``warmup``, in steps: none for the recipe's.
    """

    kind: ClassVar[str] = "dynamics"
    summary: ClassVar[str] = "gradients through a decay"

    tokens: Count
    share: Share = 0.2
    before: Count
    decay: DecaySpec = DecaySpec(shape="linear_to")
    micro_batches: Annotated[int, Field(ge=2)] = 8
    window: Annotated[int, Field(ge=2)] = 20
    looks: Count = 20
    control: bool = True

    @model_validator(mode="after")
    def _fits(self) -> DynamicsDesign:
        if self.before >= self.tokens * (1 - self.share):
            raise UserError(
                "steps before the decay are of the stable run",
                field=("design", "before"),
                found=self.before,
                allowed=[f"below {int(self.tokens * (1 - self.share)):,} tokens"],
                fix="give fewer tokens",
            )
        return self

    def points(self, base: Base, made: Made) -> list[Point]:
        return [point for seed in self.seeds for point in self._of_seed(base, seed)]

    def findings(self, base: Base, measured: Sequence[Measured]) -> Findings:
        span = self._span(base)
        return dynamics_findings(Watched(span.first, span.last, self.window), base, measured)

    def _span(self, base: Base) -> Span:
        """The steps of the decay. Raises: UserError where they are fewer than a mean takes."""
        batch = base.train.batch_tokens
        span = Span.of(self.tokens, self.share, batch)
        fewest = min(span.steps, whole_batches(self.before, batch) // batch)
        if fewest < self.window:
            raise UserError(
                "a mean over the last steps needs as many before the decay and in it",
                field=("design", "window"),
                found=self.window,
                allowed=[f"up to {fewest}"],
                fix=f"lower it, or measure {self.window * batch:,} tokens of each",
            )
        return span

    def _of_seed(self, base: Base, seed: int) -> Iterator[Point]:
        batch, span = base.train.batch_tokens, self._span(base)
        windows = batch // base.train.sequence_length
        if windows % self.micro_batches:
            raise UserError(
                "micro-batches are whole windows, as many in each",
                field=("design", "micro_batches"),
                found=self.micro_batches,
                allowed=[number for number in range(2, windows + 1) if windows % number == 0],
                fix=f"divide the {windows} windows of a batch",
            )
        trunk = self.stable(base, whole_batches(self.tokens, batch), seed)
        first = span.first - whole_batches(self.before, batch) // batch
        train = {
            **scheduled(trunk, decay=self.decay.model_dump()),
            "micro_batch_tokens": batch // self.micro_batches,
            "validate_every": max(1, (span.last - first) // self.looks),
        }
        probes = {PROBE: {"first": first + 1}}
        before = base.stable_phase((span.first - first) * batch)
        decay = base.plain_decay(span.steps * batch)
        ended = trunk.ended((before, decay), first, train=train, probes=probes)
        yield Point({"arm": "decay", "seed": seed}, ended)
        if self.control:
            whole = (base.stable_phase((span.last - first) * batch),)
            steady = trunk.ended(whole, first, train=train, probes=probes)
            yield Point({"arm": "control", "seed": seed}, steady)
