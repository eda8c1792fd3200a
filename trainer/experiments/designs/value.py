"""What a source is worth, by a short anneal (arXiv 2407.21783, 2506.07900; OLMo 2's microanneals).

A run that is half trained is annealed several times over the same tokens, each time with another
source in part of the mixture:

    default      the default mixture alone
    CANDIDATE    share x candidate, the rest the default mixture; every source in turn
    control      the same with a generic source, which is one of the candidates

The score of a candidate is its loss minus that of *default*. Whether it is the candidate, or any
text of one kind in the slot, the difference to the control tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from artifacts.errors import UserError
from artifacts.settings import Part
from mixtures.spec.bands import source_of
from trainer.experiments.design import Base, Design, Made, Measured, whole_batches
from trainer.experiments.designs.fields import Count, Seed
from trainer.experiments.designs.shape import shape
from trainer.experiments.designs.sources import (
    Shares,
    available,
    check_source,
    phase_of,
    with_share,
)
from trainer.experiments.designs.value_findings import DEFAULT, TRUNK, Slot, value_findings
from trainer.experiments.findings import Findings
from trainer.experiments.runs import Label, Point, RunSpec


class Size(Part):
    """A model: tokens of its ``trunk`` at the stable rate, and of the ``anneal`` after it."""

    width: Count = 128
    layers: Count = 4
    trunk: Count
    anneal: Count

    @property
    def name(self) -> str:
        return f"{self.width}x{self.layers}"


class ValueDesign(Design):
    """``candidates``: default every source of the recipe. ``control``: the generic source, default
    the largest of the stable mixture. ``share`` of the anneal that is the candidate's; the rest is
    the recipe's ``default`` mixture, that of its stable phase or of its decay. The first of
    ``sizes`` is judged; whether others rank candidates alike is told beside it. ``epochs`` caps how
    often any source is shown.
    """

    kind: ClassVar[str] = "value"
    summary: ClassVar[str] = "what each source is worth in a short anneal"

    candidates: tuple[str, ...] = ()
    control: str | None = None
    share: Annotated[float, Field(gt=0, le=1)] = 0.3
    default: Literal["stable", "decay"] = "stable"
    sizes: tuple[Size, ...] = Field(min_length=1)
    base_width: Count | None = None
    warmup: Annotated[int, Field(ge=0)] = 20
    epochs: Count = 1
    seeds: tuple[Seed, ...] = Field((1, 2, 3, 4), min_length=1)

    @model_validator(mode="after")
    def _sizes_differ(self) -> ValueDesign:
        names = [size.name for size in self.sizes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UserError(
                "two sizes are one shape",
                field=("design", "sizes"),
                found=", ".join(twice),
                fix="give each another width or depth",
            )
        return self

    def points(self, base: Base, made: Made) -> list[Point]:
        mixture, arms = self._mixture(base), self._arms(base)
        return [point for size in self.sizes for point in self._points(base, mixture, arms, size)]

    def findings(self, base: Base, measured: Sequence[Measured]) -> Findings:
        mixture = self._mixture(base)
        slots = {
            name: Slot(
                source=name,
                extra=self.share * (1 - mixture.get(name, 0.0)),
                share=self.share + (1 - self.share) * mixture.get(name, 0.0),
                available=available(base, name),
            )
            for name in self._arms(base)
        }
        anneals = {size.name: self._anneal(base, size) for size in self.sizes}
        return value_findings(base, slots, self._control(base), anneals, measured)

    def _points(self, base: Base, mixture: Shares, arms: Sequence[str], size: Size) -> list[Point]:
        batch = base.train.batch_tokens
        stable, length = whole_batches(size.trunk, batch), self._anneal(base, size)
        labels: dict[str, Label] = {"size": size.name, "width": size.width, "layers": size.layers}
        settings: dict[str, Any] = {"schedule": {"warmup": self.warmup}}
        points = []
        for seed in self.seeds:
            trunk = RunSpec(
                model=shape(size.width, size.layers, self.base_width),
                train=settings,
                seed=seed,
                phases=(base.stable_phase(stable),),
                cap=self.epochs,
            )
            points.append(Point({"arm": TRUNK, **labels, "seed": seed}, trunk))
            for arm in (DEFAULT, *arms):
                shares = mixture if arm == DEFAULT else with_share(mixture, arm, self.share)
                anneal = phase_of(base, "anneal", length, shares, True)
                run = trunk.ended((anneal,), stable // batch)
                points.append(Point({"arm": arm, **labels, "seed": seed}, run))
        return points

    def _anneal(self, base: Base, size: Size) -> int:
        return whole_batches(size.anneal, base.train.batch_tokens)

    def _mixture(self, base: Base) -> Shares:
        """The default mixture. Raises: UserError where the recipe has no decay that is asked
        for.
        """
        phase = base.stable if self.default == "stable" else base.decay
        if phase is None:
            raise UserError(
                "the recipe has no decay whose mixture could be the default",
                field=("design", "default"),
                found=self.default,
                allowed=["stable"],
                fix="leave default out, or give the recipe's mixture a phase with decay: true",
            )
        return {name: share for name, share in phase.weights.items() if share}

    def _control(self, base: Base) -> str:
        shares = base.stable.weights
        return self.control or source_of(max(shares, key=lambda name: (shares[name], name)))

    def _arms(self, base: Base) -> list[str]:
        """Candidates, the control among them."""
        names = self.candidates or tuple(sorted({source_of(name) for name in base.available}))
        control = self._control(base)
        for name in names:
            check_source(base, name, "candidates")
            if name in (DEFAULT, TRUNK):
                raise UserError(
                    f"a source called {name} cannot be told from that arm",
                    field=("design", "candidates"),
                    found=name,
                    fix="name the candidates without it, or rename the source in the recipe",
                )
        check_source(base, control, "control")
        return list(dict.fromkeys((*names, control)))
