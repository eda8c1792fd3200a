"""Does D/N survive other choices: the law fitted again with a choice made otherwise.

    loss       another of the three objectives
    size       without one size          length    without one length
    count      parameters counted otherwise
    batch, rate, decay: only the runs of one value, where runs differ in it

A row stands for a fit, and is compared with the headline's interval by eye: where a dropped size
or length moves D/N outside it, the law does not hold over the range.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.experiments.laws.law import Law
from trainer.experiments.laws.objectives import HUBER, OBJECTIVES, Frame, Objective
from trainer.experiments.laws.points import Groups, Points
from trainer.experiments.laws.solve import solve

MOST_GROUPS = 12
"""Of more sizes or lengths, tenths of the points are left out."""
LEAST_POINTS = 6


class Variant(NamedTuple):
    """A law fitted otherwise: what was changed, how, with how many points, and D/N by it at the
    budget asked about.
    """

    kind: str
    change: str
    points: int
    law: Law
    ratio: float

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        constants = {name: float(value) for name, value in self.law._asdict().items()}
        return {
            "kind": self.kind, "change": self.change, "points": self.points, "ratio": self.ratio,
            **constants,
        }  # fmt: skip


def fitted(points: Points, objective: Objective = HUBER) -> Law:
    """The law of an objective."""
    frame = Frame.of(points)
    law = frame.law(solve(objective, frame, points.losses, points.weight).theta)
    return Law(*map(float, law))


def forest(points: Points, operations: float) -> list[Variant]:
    """The law by every other choice that the points allow."""
    rows = []
    for kind, change, chosen, objective in _choices(points):
        if len(chosen) >= LEAST_POINTS:
            law = fitted(chosen, objective)
            rows.append(Variant(kind, change, len(chosen), law, float(law.ratio(operations))))
    return rows


def left_out_errors(points: Points) -> list[float]:
    """ln of predicted over measured losses of each size, by a law fitted without it."""
    errors: list[float] = []
    for _, mask in _groups(points.size, points, "N"):
        if mask.sum() < LEAST_POINTS:
            continue
        law, out = fitted(points.chosen(mask)), points.chosen(~mask)
        errors += np.log(law.loss(out.parameters, out.tokens) / out.losses).tolist()
    return errors


def _choices(points: Points) -> Iterator[tuple[str, str, Points, Objective]]:
    for objective in OBJECTIVES:
        yield "loss", objective.meaning, points, objective
    for kind, groups, what in (("size", points.size, "N"), ("length", points.length, "D")):
        for change, mask in _groups(groups, points, what):
            if mask.any():
                yield kind, change, points.chosen(mask), HUBER
    for name in points.counts:
        yield "count", name.replace("_", " "), points.counted(name), HUBER
    for name, values in points.settings.items():
        texts = np.array([str(value) for value in values])
        levels = sorted(set(texts), key=_in_order)
        if len(levels) > 1:
            for level in levels:
                yield name, f"{name} {level} only", points.chosen(texts == level), HUBER


def _groups(groups: Groups, points: Points, what: str) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """What is left out, and the mask of what is kept."""
    values = points.parameters if what == "N" else points.tokens
    if groups.max() >= MOST_GROUPS:
        edges = np.quantile(values, np.linspace(0, 1, 11)[1:-1])
        groups = np.searchsorted(edges, values, "right").astype(np.int64)
    per_size = what == "D" and len(np.unique(points.length)) < int(points.cell.max()) + 1
    for group in np.unique(groups):
        own = values[groups == group]
        text = f"{own.mean():.3g}" if np.ptp(own) < 0.02 * own.mean() else _span(own)
        if per_size and np.ptp(own) >= 0.02 * own.mean():
            ratios = (points.tokens / points.parameters)[groups == group]
            if np.ptp(ratios) < 0.02 * ratios.mean():
                yield f"without D/N = {ratios.mean():.3g}", groups != group
                continue
        yield f"without {what} = {text}", groups != group


def _span(values: NDArray[np.float64]) -> str:
    return f"{values.min():.3g} to {values.max():.3g}"


def _in_order(text: str) -> tuple[int, float, str]:
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text
