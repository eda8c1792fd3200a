"""Losses at the ends of runs by what they are called, and differences paired by seed.

    ends = Ends(measured, base.primary)
    ends.losses(arm="cosine", tokens=2_500_000)                 # {1: 2.81, 2: 2.79}, by seed
    ends.contrast({"arm": "wsd", "share": 0.1}, {"arm": "cosine"})

Runs of one seed share weights at the start and the order of the data, so that their difference
varies far less from seed to seed than each does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from artifacts.errors import UserError
from artifacts.statistics.estimates import Estimate, paired_difference
from trainer.experiments.design import Measured
from trainer.experiments.findings import Cell
from trainer.experiments.outcomes import Primary
from trainer.experiments.runs import Label
from trainer.experiments.verdicts import Claim, Kind

Labels = Mapping[str, Label]
FEW = "fewer than two seeds of both came to an end"


@dataclass(frozen=True)
class Ends:
    """Points with a label ``seed``, and the number that they are judged by."""

    measured: Sequence[Measured]
    primary: Primary

    def at(self, **labels: Label) -> list[Measured]:
        """Points with these labels."""
        return [one for one in self.measured if one.point.at(**labels)]

    def losses(self, **labels: Label) -> dict[int, float]:
        """Losses by seed; runs that diverged are left out. Raises: UserError where the labels name
        two runs of a seed.
        """
        found: dict[int, float] = {}
        for one in self.at(**labels):
            loss, seed = self.primary.of(one.outcome), int(one["seed"])
            if seed in found:
                raise UserError(
                    "these labels are of several runs of one seed",
                    parameter="labels",
                    found=", ".join(f"{name} {value}" for name, value in labels.items()),
                    fix="name one arm",
                )
            if loss is not None:
                found[seed] = loss
        return dict(sorted(found.items()))

    def mean(self, **labels: Label) -> float | None:
        """The mean of :meth:`losses`, None without any."""
        losses = self.losses(**labels)
        return math.fsum(losses.values()) / len(losses) if losses else None

    def contrast(self, first: Labels, second: Labels) -> Estimate | None:
        """First minus second over the seeds that both have; None for fewer than two of them."""
        return paired(self.losses(**first), self.losses(**second))

    def claim(self, name: str, kind: Kind, first: Labels, second: Labels, margin: float) -> Claim:
        """That the first is ``kind`` against the second."""
        difference = self.contrast(first, second)
        reason = None if difference else FEW
        return Claim(name, kind, difference, margin, self.primary.unit, reason)

    @property
    def notes(self) -> list[str]:
        """A sentence for every run that diverged."""
        return [
            f"{', '.join(f'{name} {value}' for name, value in one.point.labels.items())}: diverged "
            f"at step {one.outcome.diverged.step} ({one.outcome.diverged.reason}); it counts in no "
            "mean."
            for one in self.measured
            if one.outcome.diverged is not None
        ]


def paired(first: Mapping[int, float], second: Mapping[int, float]) -> Estimate | None:
    """First minus second over the seeds that both have; None for fewer than two of them."""
    shared = sorted(first.keys() & second.keys())
    if len(shared) < 2:
        return None
    return paired_difference({s: first[s] for s in shared}, {s: second[s] for s in shared})


def cells(estimate: Estimate | None) -> tuple[Cell, Cell, Cell]:
    """The value and the ends of the 95 % interval, for a table."""
    return (None,) * 3 if estimate is None else (estimate.value, estimate.low, estimate.high)
