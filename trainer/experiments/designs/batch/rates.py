"""The best rate of each batch at the end of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.experiments.design import Base, Measured
from trainer.experiments.designs.batch.curves import path_of
from trainer.experiments.fits.optimum import GridPoint, Optimum, find_optimum


@dataclass(frozen=True)
class BestRate:
    """Of one batch: the ``best`` rate of the grid (None where all diverged), the ``optimum`` of the
    parabola through its losses, and what of them is not known.
    """

    batch: int
    best: float | None
    optimum: Optimum | None
    note: str

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        optimum = None if self.optimum is None else self.optimum.to_json()
        return {**vars(self), "optimum": optimum}


def best_rates(base: Base, measured: Sequence[Measured]) -> list[BestRate]:
    """By batch, small to large."""
    return [
        _best(batch, [_point(base, one) for one in measured if int(one["batch"]) == batch])
        for batch in sorted({int(one["batch"]) for one in measured})
    ]


def _point(base: Base, one: Measured) -> GridPoint:
    diverged, path = one.outcome.diverged, path_of(base, one)
    loss = path.get(one.outcome.tokens) if diverged is None else None
    reason = diverged.reason if diverged is not None else "no held-out loss"
    return GridPoint(float(one["peak"]), loss, int(one["seed"]), reason)


def _best(batch: int, points: Sequence[GridPoint]) -> BestRate:
    means = {}
    for rate in sorted({point.x for point in points}):
        losses = [point.loss for point in points if point.x == rate]
        if None not in losses:
            means[rate] = sum(loss or 0.0 for loss in losses) / len(losses)
    if not means:
        return BestRate(batch, None, None, "every rate has a run that diverged")
    optimum = find_optimum(points)
    note = optimum.reason or ""
    return BestRate(batch, min(means, key=lambda rate: (means[rate], rate)), optimum, note)
