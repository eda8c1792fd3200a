"""Whether activations and updates keep their size when models grow (arXiv 2203.03466, appendix D).

A few steps on fresh batches, the same for all sizes, with the parameterisation and with it off:
``dim_model_base`` equal to each width, all else the same. Depth is checked apart from width, by the
paper's square root or another ``depth_alpha``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from artifacts.errors import UserError
from trainer.experiments.coordinates import (
    NOT_JUDGED,
    Bounds,
    CoordinateCheck,
    Slope,
    judge,
    measured_in,
    over_layers,
)
from trainer.experiments.coordinates import Measured as Sizes
from trainer.experiments.design import Base, Design, Made, Measured
from trainer.experiments.designs.fields import Count, Seed
from trainer.experiments.designs.shape import shape
from trainer.experiments.findings import Claim, Figure, Findings, Panel, Series, Table
from trainer.experiments.runs import Point, RunSpec

Alpha = Annotated[float, Field(ge=0, le=2)]
CONCLUSIONS: dict[str, Literal["shown", "refuted", "cannot tell"]] = {
    "passes": "shown",
    "fails": "refuted",
}


class CoordinateCheckDesign(Design):
    """``widths`` at ``layers`` layers, or ``depths`` at the first width. ``after``: numbers of
    updates after which sizes are measured. ``peak`` is at or above the best rate. ``depth_alpha``
    by the names of arms, of a check over depths.
    """

    kind: ClassVar[str] = "coordcheck"
    summary: ClassVar[str] = "sizes of activations and updates over widths or depths"

    widths: tuple[Count, ...] = (64, 128, 256, 512)
    layers: Count = 2
    depths: tuple[Count, ...] = ()
    depth_alpha: dict[str, Alpha] = {"square root": 0.5, "whole": 1.0, "off": 0.0}
    seeds: tuple[Seed, ...] = Field(default=(1, 2, 3), min_length=1)
    peak: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01
    batch_tokens: Count | None = None
    after: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0, 1, 3, 10), min_length=1)

    @model_validator(mode="after")
    def _two_sizes(self) -> CoordinateCheckDesign:
        name = "depths" if self.depths else "widths"
        if len(set(getattr(self, name))) < 2:
            raise UserError(
                "a slope takes models of at least two sizes",
                field=("design", name),
                found=list(getattr(self, name)),
                fix="give at least two, better three or more, each twice the one before",
            )
        return self

    @property
    def _arms(self) -> tuple[str, ...]:
        return tuple(self.depth_alpha) if self.depths else ("on", "off")

    def points(self, base: Base, made: Made) -> list[Point]:
        sizes = self.depths or self.widths
        return [
            Point({"arm": arm, "size": size, "seed": seed}, self._run(base, arm, size, seed))
            for arm in self._arms
            for size in sizes
            for seed in self.seeds
        ]

    def findings(self, base: Base, measured: Sequence[Measured]) -> Findings:
        arms = {arm: self._check(arm, measured) for arm in self._arms if arm != "off"}
        what = "depth" if self.depths else "width"
        diverged = [one for one in measured if one.outcome.diverged is not None]
        return Findings(
            claims=tuple(_claim(arm, what, check) for arm, check in arms.items()),
            tables=tuple(_table(arm, check) for arm, check in arms.items()),
            figures=(_figure(what, arms),),
            notes=(
                "A flat check finds parameterisations that break; it does not prove that a "
                "learning rate transfers.",
                *(
                    f"{one['arm']}, {what} {one['size']}, seed {one['seed']} diverged: what it was "
                    "not measured after fails."
                    for one in diverged
                ),
            ),
            facts={arm: check.to_json() for arm, check in arms.items()},
        )

    def _run(self, base: Base, arm: str, size: int, seed: int) -> RunSpec:
        batch = self.batch_tokens or base.train.batch_tokens
        steps = max(self.after) + 1
        return RunSpec(
            model=self._model(arm, size),
            train={
                "batch_tokens": batch,
                "schedule": {"kind": "constant", "peak": self.peak, "warmup": 0},
            },
            seed=seed,
            phases=(base.stable_phase(steps * batch),),
            probes={"coordinates": {"after": list(self.after)}},
        )

    def _model(self, arm: str, size: int) -> dict[str, Any]:
        if not self.depths:
            base_width = min(self.widths) if arm == "on" else size
            return shape(size, self.layers, base_width)
        width, alpha = self.widths[0], self.depth_alpha[arm]
        facts = shape(width, size, width)
        return facts if alpha == 0.5 else {**facts, "depth_alpha": alpha}

    def _check(self, arm: str, measured: Sequence[Measured]) -> CoordinateCheck:
        """The slopes of an arm, with those of the arm that is off."""
        names = next((run.sizes for one in measured for run in self._lines(one)), {})
        sizes = [
            run
            for one in measured
            if one["arm"] in (arm, "off")
            for run in [*self._lines(one), *self._lost(one, names)]
        ]
        bounds = Bounds.of_depth(self.depth_alpha[arm]) if self.depths else Bounds.of_width()
        return judge(sizes, bounds)

    def _lines(self, one: Measured) -> list[Sizes]:
        found = measured_in(
            one.outcome.probes.get("coordinates", []),
            size=int(one["size"]),
            seed=int(one["seed"]),
            on=one["arm"] != "off",
        )
        return [over_layers(run) for run in found] if self.depths else found

    def _lost(self, one: Measured, names: Iterable[str]) -> list[Sizes]:
        """Sizes that are not finite, after updates that a run which diverged did not come to."""
        known = {run.updates for run in self._lines(one)}
        return [
            Sizes(
                int(one["size"]),
                int(one["seed"]),
                one["arm"] != "off",
                updates,
                dict.fromkeys(names),
            )
            for updates in self.after
            if updates not in known
        ]


def _claim(arm: str, what: str, check: CoordinateCheck) -> Claim:
    judged = [row for row in check.rows if row.verdict != NOT_JUDGED]
    worst = max(judged, key=lambda row: _distance(row))
    return Claim(
        claim=f"{arm}: sizes do not depend on {what}",
        verdict=CONCLUSIONS.get(check.verdict, "cannot tell"),
        figures={
            "check": check.verdict,
            "slopes that pass": sum(row.verdict == "passes" for row in judged),
            "of": len(judged),
            "furthest": f"{worst.coordinate} after {worst.updates}",
            "slope": worst.slope,
            "interval": [worst.low, worst.high],
            "expected": worst.expected,
            "bound": worst.bound,
        },
    )


def _distance(row: Slope) -> float:
    """How far a slope is from what is expected, in units of its bound."""
    return math.inf if row.slope is None else abs(row.slope - row.expected) / row.bound


def _table(arm: str, check: CoordinateCheck) -> Table:
    off = {(row.coordinate, row.updates): row for row in check.off}
    rows = []
    for row in check.rows:
        other = off.get((row.coordinate, row.updates))
        broken = None if other is None else other.slope
        rows.append(
            (
                row.coordinate,
                row.updates,
                row.slope,
                row.low,
                row.high,
                row.expected,
                row.bound,
                row.verdict,
                broken,
            )
        )
    return Table(
        title=f"slopes of log2 mean |x| ({arm})",
        columns=(
            *("coordinate", "updates", "slope", "low", "high", "expected", "bound", "verdict"),
            "slope off",
        ),
        rows=tuple(rows),
        note=f"Slope on log2 of the size for each seed, mean and 95 % t-interval over "
        f"{check.rows[0].seeds} seeds; sizes {', '.join(map(str, check.sizes))}.",
    )


def _figure(what: str, arms: dict[str, CoordinateCheck]) -> Figure:
    panels: list[Panel] = []
    for arm, check in arms.items():
        for name, rows in ((arm, check.rows), ("off", check.off)):
            if name == "off" and any(panel.title == "off" for panel in panels):
                continue
            names = list(dict.fromkeys(row.coordinate for row in rows))
            counts = sorted({row.updates for row in rows})
            series = [
                Series(
                    name=f"after {updates}",
                    x=tuple(names.index(row.coordinate) + _beside(place, counts) for row in at),
                    y=tuple(None if row.slope is None else row.slope - row.expected for row in at),
                    low=tuple(None if row.low is None else row.low - row.expected for row in at),
                    high=tuple(None if row.high is None else row.high - row.expected for row in at),
                    style="points",
                )
                for place, updates in enumerate(counts)
                for at in [[row for row in rows if row.updates == updates]]
            ]
            series.append(Series(name="bound", y=(-0.15, 0.15), style="rule", faint=True))
            panels.append(
                Panel(
                    title=name,
                    x="",
                    y="slope minus expected",
                    series=tuple(series),
                    ticks=tuple(names),
                )
            )
    return Figure(
        name=f"coordinates-{what}",
        title=f"Coordinate check over {what}",
        caption="Slope of log2 mean |x| minus its expected value, by coordinate and number of "
        "updates; bars are 95 % t-intervals over seeds, dashed rules the bound up to 3 updates.",
        panels=tuple(panels),
    )


def _beside(place: int, counts: Sequence[int]) -> float:
    """How far a series stands beside the middle of its name."""
    return 0.18 * (place - (len(counts) - 1) / 2)
