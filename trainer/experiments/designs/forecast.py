"""The decayed loss foreseen in the stable phase, from decays that were branched off before.

    stable run ──┬──┬──┬──┬─▶     its losses at every branch point, and the ends of some decays
                 ╲  ╲  ╲  ╲       ─ law of rates and losses ─▶ the end of another, with an interval

Every decay of a stable run is foreseen from its other decays, and, as it would be done while the
run goes on, from those before it alone (:mod:`trainer.experiments.fits.forecast`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from pydantic import Field, model_validator

from artifacts.errors import UserError
from trainer.experiments.design import Base, Made, Measured, whole_batches
from trainer.experiments.designs.fields import Count
from trainer.experiments.designs.forecast_findings import forecast_findings
from trainer.experiments.designs.stable_runs import Share, Span, StableDesign, decayed, named
from trainer.experiments.findings import Findings
from trainer.experiments.runs import Label, Point
from trainer.optimizer.schedules import DecaySpec

QUARTERS = (0.25, 0.5, 0.75)
"""Of the way to the first decay, where the stable run is measured as well."""

LEAST_DECAYS = 4
"""Of a stable run: with fewer the errors of others do not make an interval."""


class ForecastDesign(StableDesign):
    """``totals`` in tokens, decay included; each ends in a decay of every share in ``decays``, by
    every shape in ``shapes``.

    ``seeds`` draw the weights and the order of data. ``width``: none for the recipe's model, else
    of ``layers``; ``peak`` and ``warmup``, in steps: none for the recipe's.
    """

    kind: ClassVar[str] = "forecast"
    summary: ClassVar[str] = "decayed losses foreseen from decays before"

    totals: tuple[Count, ...] = Field(min_length=1)
    decays: tuple[Share, ...] = Field(default=(0.1, 0.2), min_length=1)
    shapes: tuple[DecaySpec, ...] = Field(default=(DecaySpec(shape="linear_to"),), min_length=1)

    @model_validator(mode="after")
    def _suffices(self) -> ForecastDesign:
        for name in ("totals", "decays"):
            values = list(getattr(self, name))
            if values != sorted(set(values)):
                raise UserError(
                    "values rise from one to the next",
                    field=("design", name),
                    found=values,
                    fix=f"write {sorted(set(values))}",
                )
        number = len(self.totals) * len(self.decays) * len(self.shapes)
        if number < LEAST_DECAYS:
            raise UserError(
                "a decay is foreseen from several others of its stable run",
                field=("design", "totals"),
                found=f"{number} decays of each",
                allowed=[f"at least {LEAST_DECAYS}"],
                fix="give further totals",
            )
        return self

    def points(self, base: Base, made: Made) -> list[Point]:
        return [point for seed in self.seeds for point in self._of_seed(base, seed)]

    def findings(self, base: Base, measured: Sequence[Measured]) -> Findings:
        shapes = {named(shape): shape for shape in self.shapes}
        return forecast_findings(base, self.schedule(base), shapes, measured)

    def _of_seed(self, base: Base, seed: int) -> Iterator[Point]:
        batch = base.train.batch_tokens
        trunk = self.stable(base, whole_batches(self.totals[-1], batch), seed)
        spans = [Span.of(total, share, batch) for total in self.totals for share in self.decays]
        first, warm = min(span.first for span in spans), self.schedule(base).warmup
        places = {round(part * first) for part in QUARTERS if part * first > warm}
        for step in sorted({*places, *(step for span in spans for step in span)}):
            yield Point({"arm": "plateau", "step": step, "seed": seed}, trunk.measured_at(step))
        for total in self.totals:
            for share in self.decays:
                span = Span.of(total, share, batch)
                for decay in self.shapes:
                    facts: dict[str, Label] = {
                        "tokens": total,
                        "share": share,
                        "shape": named(decay),
                        "first": span.first,
                        "last": span.last,
                    }
                    run = decayed(base, trunk, span, decay)
                    yield Point({"arm": "wsd", **facts, "seed": seed}, run)
