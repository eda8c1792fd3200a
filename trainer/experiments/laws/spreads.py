"""How far the constants could lie from where they are: replicates of a fit, and their spread.

Every way to an interval here makes replicates, laws fitted to other draws of the data, and of any
figure of a law (a constant, D/N at a budget, a loss) the standard error is the root of

    factor x sum over replicates of (figure - mean figure)^2

and the interval is that times Student's t around the estimate, or, of the percentile kind, the
quantiles of the figure over replicates.

    parametric   noise of trunks and branches drawn anew around the law; degrees sizes x (seeds - 1)
    jackknife    each size left out in turn; degrees sizes - 1
    sizes        sizes drawn with replacement, percentiles: at least 6
    points       points drawn with replacement, percentiles: the noise of branches only
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from artifacts.statistics.intervals import CONFIDENCE
from trainer.experiments.laws.law import Array, Figure, Law, laws_of
from trainer.experiments.laws.noise import Noise, drawn
from trainer.experiments.laws.objectives import Frame, Objective
from trainer.experiments.laws.points import Points
from trainer.experiments.laws.solve import bounds_of, descend, grid_start

PARAMETRIC, JACKKNIFE, SIZES, POINTS = "parametric", "jackknife", "sizes", "points"
MEANINGS = {
    PARAMETRIC: "noise of trunks and branches, pooled over sizes, drawn anew around the law",
    JACKKNIFE: "each size left out in turn",
    SIZES: "sizes drawn with replacement, percentiles",
    POINTS: "points drawn with replacement, percentiles: the noise of branches only",
}
LEAST_UNITS = 6
"""Fewer units are never resampled: percentiles over 3 seeds hold 74 % at nominal 95."""
LEAST_SIZES = 5
"""Of the jackknife."""
DRAWS = 400


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value lies in it."""
        return bool(self.low <= value <= self.high)


class Spread(NamedTuple):
    """Replicates of a law, constants in columns (replicates, 5), and what makes an interval of
    them. Of a percentile kind ``degrees`` is None and ``factor`` is not used.
    """

    kind: str
    replicates: Array
    factor: float
    degrees: float | None

    def interval(
        self,
        figure: Callable[[Law], Figure],
        law: Law,
        *,
        logarithmic: bool,
        more: float = 0.0,
    ) -> Interval:
        """Of a figure of the law, made of its logarithm or of itself. ``more``: a variance that the
        figure has besides.
        """
        with np.errstate(all="ignore"):
            values = np.asarray(figure(laws_of(self.replicates)), np.float64)
            center = float(figure(law))
            values, center = (
                (np.log(values), float(np.log(center))) if logarithmic else (values, center)
            )
        values = values[np.isfinite(values)]
        if len(values) < 2:
            return Interval(np.nan, np.nan)
        if self.degrees is None:
            low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        else:
            from scipy.special import stdtrit  # half a second, for those who ask

            squares = self.factor * ((values - values.mean()) ** 2).sum() + more
            half = float(stdtrit(self.degrees, (1 + CONFIDENCE) / 2)) * float(np.sqrt(squares))
            low, high = center - half, center + half
        with np.errstate(over="ignore"):
            ends = np.exp([low, high]) if logarithmic else (low, high)
        return Interval(float(ends[0]), float(ends[1]))

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values, for planning with the law."""
        return {**self._asdict(), "replicates": self.replicates.tolist()}


def parametric(
    objective: Objective,
    points: Points,
    frame: Frame,
    theta: Array,
    noise: Noise,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Spread:
    """The law's losses under other seeds, fitted anew."""
    law = frame.law(theta)
    random = np.random.default_rng(seed)
    exact = law.loss(points.parameters, points.tokens)
    losses = exact * np.exp(drawn(points, noise, draws, random))
    found = _refitted(objective, frame, losses, points.weight[None], theta, draws)
    return Spread(PARAMETRIC, frame.law(found).rows(), 1 / (draws - 1), noise.trunk_degrees)


def jackknife(objective: Objective, points: Points, frame: Frame) -> Spread:
    """Each size left out in turn."""
    sizes = np.unique(points.size)
    weights = points.weight * (points.size != sizes[:, None])
    starts = np.array([grid_start(frame, points.losses, row) for row in weights])
    bounds = bounds_of(points.losses)
    found = descend(objective, frame, points.losses[None], weights, starts, bounds, steps=300)
    rows = frame.law(found).rows()
    return Spread(JACKKNIFE, rows, (len(sizes) - 1) / len(sizes), len(sizes) - 1)


def resampled(
    objective: Objective,
    points: Points,
    frame: Frame,
    theta: Array,
    kind: str,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Spread:
    """Sizes, or points, drawn with replacement; draws of fewer than three sizes are drawn again."""
    random = np.random.default_rng(seed)
    units = points.size if kind == SIZES else np.arange(len(points))
    count = int(units.max()) + 1
    weights = np.empty((draws, count))
    for row in range(draws):
        while True:
            weights[row] = np.bincount(random.integers(0, count, count), minlength=count)
            if len(np.unique(points.size[weights[row][units] > 0])) >= 3:
                break
    counts = weights[:, units] * points.weight
    found = _refitted(objective, frame, points.losses[None], counts, theta, draws)
    return Spread(kind, frame.law(found).rows(), np.nan, None)


def _refitted(
    objective: Objective, frame: Frame, losses: Array, weights: Array, theta: Array, draws: int
) -> Array:
    start = np.repeat(theta[None], draws, 0)
    bounds = bounds_of(losses)
    return descend(objective, frame, losses, weights, start, bounds, steps=40, tolerance=1e-5)
