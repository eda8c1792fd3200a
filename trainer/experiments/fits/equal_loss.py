"""The batch that reaches a loss with the fewest tokens, and its law bs(L) = a / L^b.

The method of arXiv 2404.06395, section 3.2. For each batch b, from its curve of losses:

    smooth        means in bins of ln tokens, then isotonic (a loss that never rises)
    invert        ln T as a function of ln loss, by monotone cubic interpolation: T(b, l)
    per level l   ln T = q0 + q1 ln b + q2 (ln b)^2;  ln b* = -q1 / (2 q2)
                  valid where q2 > 0 and b* lies between the batches
    law           ln b* = ln a - b ln l through the valid levels

With E(B) = Emin (1 + B / Bc) tokens grow with the batch throughout; an interior minimum then comes
from a rate that was not tuned for small batches. So "no interior minimum" is a result. Intervals
come from whole runs: each run's deviations of ln T from its batch's mean, over all levels, pooled
over batches; means are drawn anew as multivariate t with the pooled degrees of freedom, sum of
(seeds - 1). With one seed a batch there is no interval.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.statistics.estimates import Estimate

Array = NDArray[np.float64]

DRAWS = 2000
MOST_LOST = 0.05
"""Share of draws without a minimum above which the exponent counts as not determined."""

LEAST_BATCHES = 3
NO_MINIMUM = "no interior minimum"


@dataclass(frozen=True)
class Curve:
    """Losses of one run at numbers of ``tokens`` that grow; ``batch`` in tokens."""

    batch: float
    tokens: Sequence[float]
    losses: Sequence[float]
    seed: Hashable = 0

    def __post_init__(self) -> None:
        tokens, losses = (np.asarray(column, np.float64) for column in (self.tokens, self.losses))
        columns = len(tokens) == len(losses) >= 2 and bool(np.isfinite([*tokens, *losses]).all())
        if not (columns and self.batch > 0 and math.isfinite(self.batch)):
            found = f"batch {self.batch}, {len(tokens)} tokens, {len(losses)} losses"
        elif tokens[0] <= 0 or (np.diff(tokens) <= 0).any() or (losses <= 0).any():
            found = (
                f"batch {self.batch:g} of seed {self.seed}: tokens that do not grow, or loss <= 0"
            )
        else:
            return
        raise UserError(
            "a curve has at least two finite losses above 0, at growing numbers of tokens",
            parameter="curve",
            found=found,
            fix="cut a run that diverged before its first loss that is not finite",
        )


@dataclass(frozen=True)
class Level:
    """A loss, the tokens that each batch needs to reach it (mean over seeds), and the vertex.

    ``best`` is the batch at the vertex, None where the parabola has no minimum inside the batches;
    ``tokens_at_best`` the tokens there.
    """

    loss: float
    tokens: dict[float, float]
    best: float | None
    tokens_at_best: float | None
    reason: str | None = None


@dataclass(frozen=True)
class BatchLaw:
    """bs(L) = a / L^b in tokens; ``exponent`` is b with its error, None without seeds."""

    a: float
    b: float
    exponent: Estimate | None = None
    reason: str | None = None

    def at(self, loss: float) -> float:
        """The batch for a loss, in tokens."""
        return float(self.a / loss**self.b)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        interval = None if self.exponent is None else self.exponent.to_json()
        return {**vars(self), "determined": interval is not None, "exponent": interval}


@dataclass(frozen=True)
class EqualLoss:
    """Levels from high loss to low, and the law through those that have a minimum.

    ``law`` is None where fewer than two levels have one, with the ``reason``; ``lost`` is the share
    of draws in which some level loses its minimum.
    """

    levels: tuple[Level, ...]
    law: BatchLaw | None
    reason: str | None = None
    lost: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values; a level's tokens by batch as pairs."""
        rows = [{**vars(level), "tokens": sorted(level.tokens.items())} for level in self.levels]
        law = None if self.law is None else self.law.to_json()
        return {"levels": rows, "law": law, "reason": self.reason, "lost": self.lost}


def tokens_to_reach(curve: Curve, levels: Sequence[float], smoothing: float = 0.0) -> Array:
    """Tokens at which a curve reaches each loss (L), nan where it does not, or starts below it.

    ``smoothing``: width of the bins in ln tokens whose losses are averaged first, 0 for none.
    """
    from scipy.interpolate import PchipInterpolator
    from scipy.optimize import isotonic_regression

    log_tokens, losses, weights = _binned(curve, smoothing)
    falling = isotonic_regression(losses, weights=weights, increasing=False)
    log_loss, blocks = np.log(falling.x), falling.blocks[:-1]
    starts = blocks[np.diff(log_loss[blocks], prepend=np.inf) < 0]  # blocks of one loss are one
    sums = np.add.reduceat(np.stack([log_tokens * weights, weights]), starts, axis=1)
    log_loss, log_tokens = log_loss[starts], sums[0] / sums[1]
    wanted = np.log(np.asarray(levels, np.float64))
    if len(log_loss) < 2:
        return np.full(len(wanted), np.nan)
    inverse = PchipInterpolator(log_loss[::-1], log_tokens[::-1], extrapolate=False)
    found: Array = np.exp(inverse(wanted))
    return found


def shared_levels(curves: Sequence[Curve], count: int = 8, smoothing: float = 0.0) -> list[float]:
    """Losses that all curves reach and none starts below, evenly in ln loss, ends left out.

    Raises: UserError where the curves share no loss.
    """
    ends = []
    for curve in curves:
        losses = _binned(curve, smoothing)[1]
        ends.append((float(losses[0]), float(losses.min())))
    high, low = min(first for first, _ in ends), max(last for _, last in ends)
    if not low < high or count < 1:
        raise UserError(
            "the curves have no loss in common",
            parameter="curves",
            found=f"the earliest loss of one is {high:.4g}, the last of another {low:.4g}",
            fix="run the slow batches for more tokens, or leave them out",
        )
    inner = np.linspace(math.log(high), math.log(low), count + 2)[1:-1]
    return [float(loss) for loss in np.exp(inner)]


def equal_loss(
    curves: Sequence[Curve],
    levels: Sequence[float] | None = None,
    *,
    smoothing: float = 0.0,
    random_seed: int = 0,
) -> EqualLoss:
    """Parabolas at each level and the law through their minima.

    ``levels`` without any: :func:`shared_levels`. A batch takes part in a level that all its seeds
    reach. Raises: UserError for fewer than 3 batches, and for a batch and seed given twice.
    """
    batches = _batches(curves)
    chosen = np.asarray(
        shared_levels(curves, smoothing=smoothing) if levels is None else levels, np.float64
    )
    runs = {
        batch: np.log([tokens_to_reach(curve, chosen.tolist(), smoothing) for curve in own])
        for batch, own in batches.items()
    }  # by batch (S, L)
    log_batch = np.log(list(runs))
    means = np.array([own.mean(0) for own in runs.values()])  # (B, L), nan where a seed lacks it
    found = tuple(
        _level(float(loss), log_batch, means[:, place]) for place, loss in enumerate(chosen)
    )
    valid = [place for place, level in enumerate(found) if level.best is not None]
    if len(valid) < 2:
        reason = f"{NO_MINIMUM} at {len(found) - len(valid)} of {len(found)} levels"
        return EqualLoss(found, None, reason)
    slope, level = np.polyfit(
        np.log(chosen[valid]), np.log([found[place].best or math.nan for place in valid]), 1
    )
    law = BatchLaw(math.exp(level), -float(slope))
    exponent, lost = _exponent_interval(law.b, runs, chosen, valid, random_seed)
    missing = None
    if exponent is None:
        missing = (
            "one seed a batch shows no noise"
            if lost is None
            else f"{NO_MINIMUM} at some level in {lost:.0%} of draws"
        )
    return EqualLoss(found, BatchLaw(law.a, law.b, exponent, missing), None, lost)


def _batches(curves: Sequence[Curve]) -> dict[float, list[Curve]]:
    """Curves by batch, small to large."""
    batches: dict[float, list[Curve]] = {}
    for curve in sorted(curves, key=lambda curve: curve.batch):
        own = batches.setdefault(curve.batch, [])
        if any(curve.seed == before.seed for before in own):
            raise UserError(
                "a batch has one curve of each seed",
                parameter="curves",
                found=f"batch {curve.batch:g} of seed {curve.seed} twice",
                fix="leave one out, or give it its own seed",
            )
        own.append(curve)
    if len(batches) < LEAST_BATCHES:
        raise UserError(
            "a parabola over batches needs several",
            parameter="curves",
            found=f"{len(batches)} batches",
            allowed=[f"at least {LEAST_BATCHES}"],
            fix="run further batches",
        )
    return batches


def _binned(curve: Curve, smoothing: float) -> tuple[Array, Array, Array]:
    """ln tokens, losses and how many each stands for, averaged in bins of ``smoothing``."""
    log_tokens, losses = np.log(curve.tokens), np.asarray(curve.losses, np.float64)
    if smoothing != 0 and not 1e-6 <= smoothing < math.inf:
        raise UserError(
            "smoothing is the width of bins in ln tokens",
            parameter="smoothing",
            found=smoothing,
            allowed=["0 for none, or a width from 1e-6"],
            fix="give 0.05 to average over 5 % more tokens",
        )
    if smoothing == 0:
        return log_tokens, losses, np.ones(len(losses))
    bins = np.unique((log_tokens / smoothing).astype(np.int64), return_inverse=True)[1]
    counts = np.bincount(bins).astype(np.float64)
    means = [np.bincount(bins, column) / counts for column in (log_tokens, losses)]
    return means[0], means[1], counts


def _level(loss: float, log_batch: Array, log_tokens: Array) -> Level:
    there = np.isfinite(log_tokens)
    tokens = {
        float(np.exp(batch)): float(np.exp(value))
        for batch, value in zip(log_batch[there], log_tokens[there], strict=True)
    }
    if there.sum() < LEAST_BATCHES:
        reason = f"{there.sum()} batches reach it, {LEAST_BATCHES} are needed"
        return Level(loss, tokens, None, None, reason)
    origin = log_batch[there].mean()
    curve, slope, level = np.polyfit(log_batch[there] - origin, log_tokens[there], 2)
    if curve <= 0:
        return Level(loss, tokens, None, None, f"{NO_MINIMUM}: tokens do not curve upward")
    vertex = origin - slope / (2 * curve)
    if not log_batch[there].min() < vertex < log_batch[there].max():
        side = "smallest" if vertex <= log_batch[there].min() else "largest"
        return Level(loss, tokens, None, None, f"{NO_MINIMUM}: beyond the {side} batch")
    least = level - slope**2 / (4 * curve)
    return Level(loss, tokens, float(np.exp(vertex)), float(np.exp(least)))


def _exponent_interval(
    b: float, runs: dict[float, Array], levels: Array, valid: Sequence[int], random_seed: int
) -> tuple[Estimate | None, float | None]:
    """b with its error, and the share of draws in which a level has no minimum."""
    kept = {batch: own[:, valid] for batch, own in runs.items()}
    complete = {batch: own for batch, own in kept.items() if np.isfinite(own).all()}
    residuals = np.concatenate([own - own.mean(0) for own in complete.values()])  # (R, L)
    degrees = len(residuals) - len(complete)
    if degrees < 1:
        return None, None
    draw = np.random.default_rng(random_seed)
    stretch = 1 / np.sqrt(draw.chisquare(degrees, DRAWS))  # so that draws are t and not normal
    log_batch = np.log(list(kept))
    noise = np.stack(
        [
            draw.normal(size=(DRAWS, len(residuals))) @ residuals / math.sqrt(len(own))
            for own in kept.values()
        ]
    )  # (B, draws, L): covariance that of the residuals, times the degrees of freedom
    means = np.stack([own.mean(0) for own in kept.values()])[:, None] + noise * stretch[:, None]
    vertices, curves = np.empty((2, DRAWS, len(valid)))
    for place in range(len(valid)):
        there = np.isfinite(means[:, 0, place])
        origin = log_batch[there].mean()
        fit = np.polyfit(log_batch[there] - origin, means[there][:, :, place], 2)
        curves[:, place] = fit[0]
        vertices[:, place] = origin - fit[1] / (2 * fit[0])
    fine = (curves > 0).all(1)
    lost = float(1 - fine.mean())
    if lost > MOST_LOST:
        return None, lost
    slopes = np.polyfit(np.log(levels[valid]), vertices[fine].T, 1)[0]
    low, high = np.quantile(slopes, [0.025, 0.975])
    from scipy.special import stdtrit

    error = float((high - low) / 2 / stdtrit(degrees, 0.975))
    return Estimate(b, error, degrees), lost
