"""Which constants the data determine, and why not the others.

A constant is not determined where there are too few sizes or lengths for its term, where it can be
moved with others at no cost (a singular curvature), where a bound of the search holds it, or where
its interval reaches past what is sought or leaves a factor of 100 open.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trainer.experiments.laws.law import CONSTANTS, LOGARITHMIC
from trainer.experiments.laws.objectives import LOG_SQUARES, Frame, evaluate
from trainer.experiments.laws.points import Points, grouped
from trainer.experiments.laws.solve import EXPONENTS, Solution
from trainer.experiments.laws.spreads import Interval

LEAST_LEVELS = 3
"""Sizes for E, A and alpha, lengths for E, B and beta."""
LEAST_POINTS = 6
"""One more than constants."""
WIDEST = 100.0
_SINGULAR = 1e-7
_LOADED = 0.05
_OF_SIZE, _OF_LENGTH = ("E", "A", "alpha"), ("E", "B", "beta")
_PARAMETERS = ("A", "B", "E", "alpha", "beta")  # in the order of theta


def undetermined(
    points: Points, frame: Frame, solution: Solution, intervals: Mapping[str, Interval | None]
) -> dict[str, str]:
    """Reasons by constant, for those that the data do not determine."""
    reasons: dict[str, str] = {}
    cells = int(points.cell.max()) + 1
    if cells < LEAST_POINTS:
        reason = f"{cells} different points for {len(CONSTANTS)} constants"
        return dict.fromkeys(CONSTANTS, reason)
    ratios = grouped(points.tokens / points.parameters)
    if ratios.max() == 0:
        return dict.fromkeys(CONSTANTS, "all runs have one D/N, so N and D are not told apart")
    sizes = int(points.size.max()) + 1
    lengths = len(np.unique(points.length))
    for levels, what, names in ((sizes, "sizes", _OF_SIZE), (lengths, "lengths", _OF_LENGTH)):
        if levels < LEAST_LEVELS:
            reasons |= dict.fromkeys(names, f"{levels} {what}, {LEAST_LEVELS} are the least")
    for name in solution.active:
        also = {"alpha": "A", "beta": "B"}.get(name)
        for held in (name, *([also] if also else [])):
            reasons.setdefault(held, f"the search ends at a bound of {name}")
    for name in _loose(points, frame, solution):
        reasons.setdefault(name, "it can be moved together with others at no cost")
    for name, interval in intervals.items():
        if interval is not None and (wide := _too_wide(name, interval)):
            reasons.setdefault(name, wide)
    return {name: reasons[name] for name in CONSTANTS if name in reasons}


def _loose(points: Points, frame: Frame, solution: Solution) -> list[str]:
    """Constants in directions along which the losses do not change."""
    weights, losses = points.weight[None], points.losses[None]
    slopes = evaluate(LOG_SQUARES, frame, losses, weights, solution.theta[None]).jacobian[0]
    slopes = slopes * np.sqrt(points.weight)
    norms = np.linalg.norm(slopes, axis=1)
    gone = norms < _SINGULAR * norms.max()
    _, values, right = np.linalg.svd((slopes / np.where(gone, 1.0, norms)[:, None]).T)
    flat = right[values < _SINGULAR * values.max()]
    loaded = gone | (np.abs(flat) > _LOADED).any(0)
    return [name for name, own in zip(_PARAMETERS, loaded, strict=True) if own]


def _too_wide(name: str, interval: Interval) -> str | None:
    low, high = interval
    if not (np.isfinite(low) and np.isfinite(high)):
        return "its interval has no end"
    if name in LOGARITHMIC:
        return f"its interval spans a factor above {WIDEST:g}" if high > WIDEST * low else None
    if name == "E":
        return "its interval reaches 0" if low <= 0 else None
    if low < EXPONENTS[0] or high > EXPONENTS[1]:
        return f"its interval reaches past {EXPONENTS[0]} to {EXPONENTS[1]}, which is sought"
    return None
