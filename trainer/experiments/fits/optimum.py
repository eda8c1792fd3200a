"""The optimum of a loss over a logarithmic grid, such as learning rates, with its interval.

Through the points near the best (loss within 5 % of it, at least 3 neighbours), averaged over
seeds, goes the parabola

    loss = c0 + c1 z + c2 z^2,    z = ln x - ln x_best,    vertex ln x* = ln x_best - c1 / (2 c2)

Each seed has a vertex of its own, through the same grid values; their mean is the optimum and their
spread its t interval in ln x. With one seed the interval comes from the parabola's residuals (delta
method, points minus 3 degrees of freedom), which show misfit and not the noise of seeds: ``method``
says so. A run that diverged is worse than all and never enters the parabola; a grid value where any
seed diverged is not used.

The curve as in arXiv 2404.06395, section 3.3; sensitivity as in arXiv 2309.14322.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.statistics.estimates import Estimate, mean_of, paired_difference
from artifacts.statistics.estimates import difference as unpaired_difference

Array = NDArray[np.float64]

NEAR = 0.05
"""Losses up to this share above the best take part."""

LEAST_POINTS = 3

Edge = Literal["low", "high", "divergence"]
Method = Literal["seeds", "residuals"]


@dataclass(frozen=True)
class GridPoint:
    """A run: its place ``x`` on the grid and its loss, None where it diverged, with the reason."""

    x: float
    loss: float | None
    seed: Hashable = 0
    reason: str | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.x) and self.x > 0):
            raise UserError(
                "a place on a logarithmic grid is above 0",
                parameter="x",
                found=self.x,
                fix="give the value itself, not its logarithm",
            )
        if self.loss is not None and not math.isfinite(self.loss):
            raise UserError(
                "a loss is a finite number",
                parameter="loss",
                found=self.loss,
                fix="give a run that diverged loss=None and its reason",
            )
        if self.loss is None and not self.reason:
            raise UserError(
                "a run without a loss needs its reason",
                parameter="reason",
                found=f"x {self.x:g}, seed {self.seed}",
                fix="say why, for example reason='loss not finite at step 40'",
            )


@dataclass(frozen=True)
class Optimum:
    """Where the loss is least.

    ``log_x``: its logarithm with error and degrees of freedom, None where no interval can be had;
    ``value``: the optimum, None where the grid does not hold it; ``loss`` at the vertex; ``used``:
    grid values in the parabola; ``edge``: at which end of the grid the best value lies, or beside
    values that diverge; ``next_value``: what to run next there; ``reason``: why something is None;
    ``vertices``: ln x* by seed.
    """

    value: float | None
    log_x: Estimate | None
    method: Method | None
    loss: float | None
    used: tuple[float, ...]
    edge: Edge | None = None
    next_value: float | None = None
    reason: str | None = None
    vertices: Mapping[Hashable, float] = field(default_factory=dict)

    @property
    def at_edge(self) -> bool:
        """Whether the grid has to grow before it can hold the optimum."""
        return self.edge is not None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval in units of x."""
        return None if self.log_x is None else (math.exp(self.log_x.low), math.exp(self.log_x.high))

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        low, high = self.interval or (None, None)
        return {
            "optimum": self.value,
            "low": low,
            "high": high,
            "method": self.method,
            "loss": self.loss,
            "determined": self.value is not None,
            "used": list(self.used),
            "edge": self.edge,
            "next": self.next_value,
            "reason": self.reason,
            "by_seed": {str(seed): math.exp(place) for seed, place in self.vertices.items()},
        }


def find_optimum(points: Sequence[GridPoint], near: float = NEAR) -> Optimum:
    """The optimum of one curve, of one or several seeds.

    Only grid values that every seed has run enter the parabola; all of them say where the best
    is. Raises: UserError for fewer than 3 grid values, and a run given twice.
    """
    grid, losses, seeds = _table(points)
    means = np.nanmean(losses, 0)  # inf where a seed diverged
    if not np.isfinite(means).any():
        return Optimum(
            *(None, None, None, None, ()),
            edge="divergence",
            next_value=float(grid[0] ** 2 / grid[1]),
            reason="every grid value has a run that diverged",
        )
    best = int(np.argmin(means))
    edge = _edge(grid, means, best)
    if edge in ("low", "high"):
        return _at_end(grid, means, best, edge)
    complete: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(losses), axis=0)
    window = _window(means, complete, best, near) if complete[best] else []
    lacking = len(window) < LEAST_POINTS and not complete.all() and edge is None
    if lacking:
        window = _window(means, np.isfinite(means), best, near)
    used = tuple(float(grid[place]) for place in window)
    if len(window) < LEAST_POINTS:
        return _beside_divergence(grid, means, best, used)
    log_x = np.log(grid[window]) - math.log(grid[best])
    middle = _parabola(log_x, means[window])
    outside = middle.vertex is None or not log_x[0] <= middle.vertex <= log_x[-1]
    if edge == "divergence" and outside:
        return _beside_divergence(grid, means, best, used)
    if middle.vertex is None:
        return Optimum(None, None, None, None, used, reason="the losses do not curve upward")
    if lacking:
        near_best = ", ".join(f"{x:g}" for x in grid[best - 1 : best + 2])
        reason = f"not every seed has run at {near_best}"
        value = float(grid[best] * math.exp(middle.vertex))
        return Optimum(value, None, None, middle.least, used, reason=reason)
    return _with_interval(float(grid[best]), log_x, losses[:, window], seeds, used)


def shift(first: Optimum, second: Optimum, step: float) -> Estimate | None:
    """How far the optimum moves from the first curve to the second, in grid steps of the ratio
    ``step``: ln(second / first) / ln(step), with its interval.

    Paired by seed where both have the same seeds, else by Welch; with one seed each, from the
    errors of both parabolas. None where one of both has no optimum or no interval. Raises:
    UserError for a step that is not above 1.
    """
    if not (math.isfinite(step) and step > 1):
        raise UserError(
            "a grid's step is the ratio of neighbours",
            parameter="step",
            found=step,
            allowed=["above 1"],
            fix="give 2 for a grid of doublings",
        )
    if first.log_x is None or second.log_x is None:
        return None
    unit = 1 / math.log(step)
    if first.method == second.method == "seeds":
        if set(first.vertices) == set(second.vertices):
            return paired_difference(second.vertices, first.vertices).scaled(unit)
        values = [list(one.vertices.values()) for one in (second, first)]
        return unpaired_difference(*values).scaled(unit)
    squares = [one.log_x.error**2 for one in (first, second) if one.log_x is not None]
    degrees = [one.log_x.degrees for one in (first, second) if one.log_x is not None]
    spread = sum(square**2 / count for square, count in zip(squares, degrees, strict=True))
    return Estimate(
        second.log_x.value - first.log_x.value,
        math.sqrt(sum(squares)),
        sum(squares) ** 2 / spread if spread > 0 else min(degrees),
    ).scaled(unit)


def shifts(
    optima: Mapping[float, Optimum], step: float
) -> dict[tuple[float, float], Estimate | None]:
    """:func:`shift` between neighbours of a map from width to optimum, by the two widths."""
    widths = sorted(optima)
    return {
        (small, large): shift(optima[small], optima[large], step)
        for small, large in pairwise(widths)
    }


def sensitivity(points: Sequence[GridPoint], initial: float) -> Estimate | float:
    """Learning-rate sensitivity (arXiv 2309.14322, section 2.2): the mean over the grid of
    min(loss, loss at the start) minus the best loss; a run that diverged counts as the start.

    ``initial``: the loss at initialisation. With several seeds the mean with its t interval, with
    one the figure alone. Raises: as :func:`find_optimum`, and UserError for a start not finite.
    """
    if not math.isfinite(initial):
        raise UserError(
            "the loss at the start is a finite number",
            parameter="initial",
            found=initial,
            fix="give ln V of the vocabulary, or the first loss that was measured",
        )
    _, losses, seeds = _table(points)
    if np.isnan(losses).any():
        missing = [
            str(seed) for seed, row in zip(seeds, losses, strict=True) if np.isnan(row).any()
        ]
        raise UserError(
            "sensitivity compares seeds over one grid",
            parameter="points",
            found=f"seeds that lack grid values: {', '.join(missing)}",
            fix="run them, or leave these seeds out",
        )
    bounded = np.minimum(losses, initial)
    values = (bounded - bounded.min(1, keepdims=True)).mean(1)
    return mean_of(values.tolist()) if len(seeds) > 1 else float(values[0])


@dataclass(frozen=True)
class _Parabola:
    """Coefficients c0, c1, c2, their covariance (None without degrees of freedom)."""

    coefficients: Array
    covariance: Array | None
    degrees: int

    @property
    def vertex(self) -> float | None:
        _, slope, curve = self.coefficients
        return None if curve <= 0 else float(-slope / (2 * curve))

    @property
    def least(self) -> float:
        level, slope, curve = self.coefficients
        return float(level - slope**2 / (4 * curve))

    def vertex_error(self) -> float | None:
        """By the delta method, from the residuals."""
        if self.covariance is None:
            return None
        _, slope, curve = self.coefficients
        gradient = np.array([0.0, -1 / (2 * curve), slope / (2 * curve**2)])
        return float(np.sqrt(max(gradient @ self.covariance @ gradient, 0.0)))


def _parabola(log_x: Array, losses: Array) -> _Parabola:
    design = np.vander(log_x, 3, increasing=True)
    coefficients: Array = np.linalg.lstsq(design, losses, rcond=None)[0].astype(np.float64)
    # below what rounding of the losses can curve, the points are a line
    least = 1e-12 * max(float(np.abs(losses).max()), 1e-300) / float(np.ptp(log_x)) ** 2
    coefficients[2] = 0.0 if abs(coefficients[2]) < least else coefficients[2]
    degrees = len(log_x) - 3
    if degrees < 1:
        return _Parabola(coefficients, None, 0)
    residuals = losses - design @ coefficients
    inverse = np.linalg.inv(design.T @ design)
    return _Parabola(coefficients, inverse * float(residuals @ residuals) / degrees, degrees)


def _with_interval(
    best: float,
    log_x: Array,
    losses: Array,
    seeds: Sequence[Hashable],
    used: tuple[float, ...],
) -> Optimum:
    """Of a window (P) whose mean curve has a vertex; losses (S, P)."""
    middle = _parabola(log_x, losses.mean(0))
    assert middle.vertex is not None
    origin = math.log(best)

    def optimum(place: float, **known: Any) -> Optimum:
        return Optimum(math.exp(place), loss=middle.least, used=used, **known)

    own = {seed: _parabola(log_x, row).vertex for seed, row in zip(seeds, losses, strict=True)}
    without = [str(seed) for seed, vertex in own.items() if vertex is None]
    vertices = {seed: origin + vertex for seed, vertex in own.items() if vertex is not None}
    if len(seeds) > 1:
        if without:
            reason = f"of seeds {', '.join(without)} alone the losses do not curve upward"
            return optimum(
                origin + middle.vertex, log_x=None, method=None, reason=reason, vertices=vertices
            )
        place = mean_of(list(vertices.values()))
        return optimum(place.value, log_x=place, method="seeds", vertices=vertices)
    error = middle.vertex_error()
    if error is None:
        reason = "one seed and 3 points leave nothing to take an interval from"
        return optimum(
            origin + middle.vertex, log_x=None, method=None, reason=reason, vertices=vertices
        )
    single = Estimate(origin + middle.vertex, error, middle.degrees)
    return optimum(single.value, log_x=single, method="residuals", vertices=vertices)


def _table(points: Sequence[GridPoint]) -> tuple[Array, Array, list[Hashable]]:
    """Grid values (P), losses by seed (S, P), inf where a run diverged and nan where there is none,
    and the seeds.
    """
    by_place: dict[tuple[Hashable, float], float] = {}
    for point in points:
        key = (point.seed, point.x)
        if key in by_place:
            raise UserError(
                "a run of one seed stands at each grid value",
                parameter="points",
                found=f"x {point.x:g} of seed {point.seed} twice",
                fix="give repeated runs seeds of their own",
            )
        by_place[key] = math.inf if point.loss is None else point.loss
    grid = sorted({x for _, x in by_place})
    if len(grid) < LEAST_POINTS:
        raise UserError(
            "an optimum needs grid values on both sides of it",
            parameter="points",
            found=f"{len(grid)} grid values",
            allowed=[f"at least {LEAST_POINTS}"],
            fix="run further values",
        )
    seeds = list(dict.fromkeys(seed for seed, _ in by_place))
    rows = [[by_place.get((seed, x), math.nan) for x in grid] for seed in seeds]
    return np.array(grid), np.array(rows), seeds


def _edge(grid: Array, means: Array, best: int) -> Edge | None:
    if best == 0:
        return "low"
    if best == len(grid) - 1:
        return "high"
    return "divergence" if not np.isfinite(means[[best - 1, best + 1]]).all() else None


def _at_end(grid: Array, means: Array, best: int, edge: Edge) -> Optimum:
    ratio = grid[best + 1] / grid[best] if edge == "low" else grid[best] / grid[best - 1]
    beyond = float(grid[best] / ratio if edge == "low" else grid[best] * ratio)
    side = "smallest" if edge == "low" else "largest"
    reason = f"the {side} grid value is the best: run {beyond:.4g}"
    return Optimum(None, None, None, float(means[best]), (), edge, beyond, reason)


def _beside_divergence(grid: Array, means: Array, best: int, used: tuple[float, ...]) -> Optimum:
    wild = best + 1 if not np.isfinite(means[best + 1]) else best - 1
    between = float(math.sqrt(grid[best] * grid[wild]))
    reason = (
        f"the best grid value, {grid[best]:g}, lies beside {grid[wild]:g}, where a run diverged: "
        f"run {between:.4g}"
    )
    loss = float(means[best])
    return Optimum(None, None, None, loss, used, "divergence", between, reason)


def _window(means: Array, usable: NDArray[np.bool_], best: int, near: float) -> list[int]:
    """Places around the best one, in one piece: those near it, and the nearest up to 3."""
    limit = means[best] + near * abs(means[best])
    first = last = best
    while True:
        sides = [
            place for place in (first - 1, last + 1) if 0 <= place < len(means) and usable[place]
        ]
        if last - first + 1 >= LEAST_POINTS:
            sides = [place for place in sides if means[place] <= limit]
        if not sides:
            return list(range(first, last + 1))
        # the best must not end the piece, so a side that has nothing comes first
        sides.sort(key=lambda place: (first < best if place < best else last > best, means[place]))
        first, last = min(first, sides[0]), max(last, sides[0])
