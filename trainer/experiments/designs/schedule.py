"""Cosine of matched lengths against decays that branch from one stable run (arXiv 2404.06395, 4.3).

All arms of a total have been shown as many tokens, in one order of data by seed:

    trunk       the stable run itself               plateau    a checkpoint of it, measured
    wsd         the stable run, decayed over the last share of the total
    cosine      a run of its own, whose period is the total        midway    a checkpoint of it
    separate    the rates and data of a branch, in a run of its own
    again       from the decayed end of the total before at the full rate, and decayed once more
                (WSD-S, arXiv 2410.05192)
    merge       stable checkpoints over the span of a decay, summed as that decay weighs updates
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from artifacts.errors import UserError
from trainer.experiments.design import Base, Made, Measured, whole_batches
from trainer.experiments.designs.fields import Count
from trainer.experiments.designs.matched_lengths import MatchedLengths
from trainer.experiments.designs.schedule_findings import schedule_findings
from trainer.experiments.designs.stable_runs import (
    Share,
    Span,
    StableDesign,
    decayed,
    named,
    scheduled,
)
from trainer.experiments.findings import Findings
from trainer.experiments.runs import Label, Point, RunSpec
from trainer.optimizer.schedules import DecaySpec

Final = Annotated[float, Field(ge=0, le=1)]
Checkpoints = Annotated[int, Field(ge=2)]


class ScheduleDesign(StableDesign):
    """``totals`` in tokens, decay included; ``decays``: shares of them that decay by ``decay``.
    ``main`` of them is compared with cosine, and continued. ``shapes``: further ones, at
    ``shape_decays`` of the longest total. ``cosine_finals``: fractions of the peak at which cosines
    end, the first for comparison. ``merged``: how many checkpoints are summed over each decay of
    ``decay``. ``separate``: whether the shortest total is trained in one go as well. ``again``:
    whether decayed runs are continued.

    ``seeds`` draw the weights and the order of data. ``width``: none for the recipe's model, else
    of ``layers``; ``peak`` and ``warmup``, in steps: none for the recipe's.
    """

    kind: ClassVar[str] = "schedule"
    summary: ClassVar[str] = "cosine against decays of several lengths and shapes"

    totals: tuple[Count, ...] = Field(min_length=1)
    decays: tuple[Share, ...] = (0.025, 0.05, 0.1, 0.2, 0.4)
    main: Share = 0.1
    decay: DecaySpec = DecaySpec(shape="linear_to")
    shapes: tuple[DecaySpec, ...] = ()
    shape_decays: tuple[Share, ...] = (0.1, 0.2)
    cosine_finals: tuple[Final, ...] = Field(default=(0.1,), min_length=1)
    merged: tuple[Checkpoints, ...] = ()
    separate: bool = True
    again: bool = True

    @model_validator(mode="after")
    def _agrees(self) -> ScheduleDesign:
        for name in ("totals", "decays", "shape_decays", "merged"):
            values = list(getattr(self, name))
            if values != sorted(set(values)):
                raise UserError(
                    "values rise from one to the next",
                    field=("design", name),
                    found=values,
                    fix=f"write {sorted(set(values))}",
                )
        if self.main not in self.decays:
            raise UserError(
                "the decay that is compared with cosine is one of those made",
                field=("design", "main"),
                found=self.main,
                allowed=[f"{share:g}" for share in self.decays],
                fix="add it to decays, or name one of these",
            )
        names = [named(shape) for shape in (self.decay, *self.shapes)]
        if len(set(names)) < len(names):
            raise UserError(
                "further shapes are others than the first, each once",
                field=("design", "shapes"),
                found=names[1:],
                fix="leave out what stands twice",
            )
        for before, after in pairwise(self.totals if self.again else ()):
            if after * (1 - self.main) <= before:
                raise UserError(
                    "a run that goes on from the total before has a stable stage and a decay",
                    field=("design", "totals"),
                    found=f"{after} after {before}",
                    allowed=[f"above {int(before / (1 - self.main)):,}"],
                    fix="set the totals further apart, or give again: false",
                )
        return self

    def points(self, base: Base, made: Made) -> list[Point]:
        return [point for seed in self.seeds for point in self._of_seed(base, seed)]

    def findings(self, base: Base, measured: Sequence[Measured]) -> Findings:
        asked = MatchedLengths(
            totals=self.totals,
            decays=self.decays,
            main=self.main,
            shape=named(self.decay),
            shapes=tuple(named(shape) for shape in self.shapes),
            shape_decays=self.shape_decays,
            finals=self.cosine_finals,
            merged=self.merged,
        )
        return schedule_findings(base, asked, measured)

    def _of_seed(self, base: Base, seed: int) -> Iterator[Point]:
        batch = base.train.batch_tokens
        trunk = self.stable(base, whole_batches(self.totals[-1], batch), seed)
        yield Point({"arm": "trunk", "seed": seed}, trunk)
        before: tuple[RunSpec, Span] | None = None
        for total in self.totals:
            labels: dict[str, Label] = {"tokens": total, "seed": seed}
            span = Span.of(total, self.main, batch)
            yield from self._decays(base, trunk, labels, span.last)
            yield from self._compared(base, trunk, labels, span)
            ended = decayed(base, trunk, span, self.decay)
            if before is not None and self.again:
                ended = _again(base, *before, span)
                facts: dict[str, Label] = {
                    "arm": "again",
                    "share": self.main,
                    "shape": named(self.decay),
                }
                yield Point({**facts, **labels}, ended)
            before = ended, span

    def _decays(
        self, base: Base, trunk: RunSpec, labels: dict[str, Label], last: int
    ) -> Iterator[Point]:
        """Decays from the stable run and what previews them; of the shortest total also the main
        one in one go.
        """
        batch, total = base.train.batch_tokens, int(labels["tokens"])
        yield Point({"arm": "plateau", "share": 0.0, **labels}, trunk.measured_at(last))
        pairs = [(share, self.decay) for share in self.decays]
        if total == self.totals[-1]:
            pairs += [(share, shape) for shape in self.shapes for share in self.shape_decays]
        for share, decay in pairs:
            span = Span.of(total, share, batch)
            facts = {"share": share, "shape": named(decay), **labels}
            run = decayed(base, trunk, span, decay)
            yield Point({"arm": "wsd", **facts}, run)
            if decay != self.decay:
                continue
            yield Point({"arm": "plateau", "share": share, **labels}, trunk.measured_at(span.first))
            for number in self.merged:
                merge = trunk.merged_at(span.apart(number), decay)
                yield Point({"arm": "merge", "checkpoints": number, **facts}, merge)
            if (self.separate, total, share) == (True, self.totals[0], self.main):
                phases = (base.stable_phase(span.first * batch), *run.phases)
                alone = RunSpec(model=run.model, train=run.train, seed=run.seed, phases=phases)
                yield Point({"arm": "separate", **facts}, alone)

    def _compared(
        self, base: Base, trunk: RunSpec, labels: dict[str, Label], span: Span
    ) -> Iterator[Point]:
        """Cosines of a total; the first of them also where the main decay begins."""
        phases = (base.stable_phase(span.last * base.train.batch_tokens),)
        for final in self.cosine_finals:
            train = scheduled(trunk, kind="cosine", final=final)
            run = RunSpec(model=trunk.model, train=train, seed=trunk.seed, phases=phases)
            yield Point({"arm": "cosine", "final": final, **labels}, run)
            if final == self.cosine_finals[0]:
                facts: dict[str, Label] = {"arm": "midway", "share": self.main}
                yield Point({**facts, **labels}, run.measured_at(span.first))


def _again(base: Base, before: RunSpec, ended: Span, span: Span) -> RunSpec:
    """From a run that decayed over ``ended`` at the full rate, and decayed over ``span`` again."""
    batch = base.train.batch_tokens
    stable = base.stable_phase((span.first - ended.last) * batch)
    decay = base.plain_decay(span.steps * batch)
    steps = before.tokens // batch + (0 if before.anew else before.from_step)
    return before.continued((stable, decay), steps, train=scheduled(before, warmup=0))
