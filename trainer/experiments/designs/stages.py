"""Whether a source belongs into the decay (arXiv 2404.06395, section 5): four arms of one length.

With T tokens in all, of which D decay, and X tokens of the target source, drawn to scale:

    decay    stable                     T - D │ decay, X of its D tokens the target
    after    stable        T - D - X │ decay D │ target alone, X, at the rate the decay ends with
    spread   stable and decay with X / T of the target throughout
    none     stable                     T - D │ decay D

The first three show the same tokens of the target, in the same order. All but *spread* branch from
one trunk for each seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from artifacts.errors import UserError
from artifacts.settings import Part
from trainer.experiments.design import Base, Design, Made, Measured, whole_batches
from trainer.experiments.designs.fields import Count, Seed
from trainer.experiments.designs.shape import shape
from trainer.experiments.designs.sources import (
    Shares,
    available,
    check_source,
    phase_of,
    with_share,
    without,
)
from trainer.experiments.designs.stage_findings import Told, stage_findings
from trainer.experiments.findings import Findings
from trainer.experiments.runs import Point, RunSpec

ArmName = Literal["decay", "after", "spread", "none"]
Portion = Annotated[float, Field(gt=0, lt=1)]


class Lengths(Part):
    """Tokens in whole batches: of the run, its decay, and of the target in it."""

    total: int
    decay: int
    target: int
    batch: int

    @property
    def share(self) -> float:
        """Of the target in the decay that shows it."""
        return self.target / self.decay


class StagesDesign(Design):
    """``target``: the source that is added, of which the decay's ``target_share`` is, and which the
    stable mixture does not show. ``tokens`` of every run, of which the last ``decay`` share decays,
    to ``final`` of the peak. ``third``: sources that are measured and never shown. ``epochs`` caps
    how often any source is.
    """

    kind: ClassVar[str] = "stages"
    summary: ClassVar[str] = "a source in the decay, only after it, spread over all, or left out"

    target: str
    third: tuple[str, ...] = ()
    width: Count = 128
    layers: Count = 4
    base_width: Count | None = None
    tokens: Count
    decay: Portion = 0.1
    target_share: Portion = 0.5
    final: Annotated[float, Field(gt=0, le=1)] = 0.1
    warmup: Annotated[int, Field(ge=0)] = 20
    epochs: Count = 1
    arms: tuple[ArmName, ...] = Field(("decay", "after", "spread", "none"), min_length=2)
    seeds: tuple[Seed, ...] = Field((1, 2, 3, 4, 5), min_length=1)

    def points(self, base: Base, made: Made) -> list[Point]:
        check_source(base, self.target, "target")
        for name in self.third:
            check_source(base, name, "third", shown=False)
        if self.target in self.third:
            raise UserError(
                "the third set is another than the target's",
                field=("design", "third"),
                found=self.target,
                fix="name sources beside it, or none",
            )
        lengths, general = self._lengths(base), self._general(base)
        return [
            Point({"arm": arm, "seed": seed}, self._run(base, lengths, general, arm, seed))
            for seed in self.seeds
            for arm in self.arms
        ]

    def findings(self, base: Base, measured: Sequence[Measured]) -> Findings:
        lengths, general = self._lengths(base), self._general(base)
        third = self.third or tuple(
            name for name in base.measured if name not in (*general, self.target)
        )
        told = Told(
            target=self.target,
            general=tuple(general),
            third=third,
            shown={arm: 0 if arm == "none" else lengths.target for arm in self.arms},
            available=available(base, self.target),
            final=self.final,
        )
        return stage_findings(base, told, measured)

    def _lengths(self, base: Base) -> Lengths:
        batch = base.train.batch_tokens
        total = whole_batches(self.tokens, batch)
        decay = whole_batches(self.decay * total, batch)
        target = whole_batches(self.target_share * decay, batch)
        if target >= decay or total - decay - target < batch:
            raise UserError(
                "the decay is too short to hold the target beside anything else"
                if target >= decay
                else "nothing is left for the stable stage",
                field=("design", "tokens"),
                found=f"{total:,} tokens, {decay:,} of them the decay, {target:,} the target, in "
                f"steps of {batch:,}",
                fix="give more tokens, or smaller batches",
            )
        return Lengths(total=total, decay=decay, target=target, batch=batch)

    def _general(self, base: Base) -> Shares:
        return without(base.stable.weights, (self.target, *self.third))

    def _run(self, base: Base, of: Lengths, general: Shares, arm: ArmName, seed: int) -> RunSpec:
        stable = of.total - of.decay
        facts: dict[str, Any] = {
            "model": shape(self.width, self.layers, self.base_width),
            "seed": seed,
            "cap": self.epochs,
        }
        if arm == "spread":
            shares = with_share(general, self.target, of.target / of.total)
            phases = (
                phase_of(base, "stable", stable, shares, False),
                phase_of(base, "decay", of.decay, shares, True),
            )
            return RunSpec(**facts, phases=phases, train=self._train())
        trunk = RunSpec(
            **facts,
            phases=(phase_of(base, "stable", stable, general, False),),
            train={"schedule": {"warmup": self.warmup}},
        )
        mixed = with_share(general, self.target, of.share) if arm == "decay" else general
        decay = phase_of(base, "decay", of.decay, mixed, True)
        if arm != "after":
            return trunk.ended((decay,), stable // of.batch, train=self._train())
        tuning = phase_of(base, "after", of.target, {self.target: 1.0}, False)
        return trunk.ended(
            (decay, tuning),
            (stable - of.target) // of.batch,
            train=self._train(end=(of.total - of.target) // of.batch),
        )

    def _train(self, **schedule: int) -> dict[str, Any]:
        decay = {"final": self.final}
        return {"schedule": {"warmup": self.warmup, "decay": decay, **schedule}}
