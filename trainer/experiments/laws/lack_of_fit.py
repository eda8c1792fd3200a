"""Does the law miss the losses by more than seeds explain: the test of pure error.

The law is fitted to the means of cells by generalised least squares, under the noise of seeds. What
it leaves, squared in units of that noise, is Q, and

    F = Q / (cells - 5)

which without lack of fit is about 1. The noise comes from two strata: means of sizes, which trunks
move, and lengths within a size, which only branches do. Each is estimated with degrees of freedom
of its own; F is given such a number of them that its mean is that of the two together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from trainer.experiments.laws.law import Array
from trainer.experiments.laws.noise import Noise, covariance
from trainer.experiments.laws.objectives import LOG_SQUARES, Frame, evaluate
from trainer.experiments.laws.points import Points

LEVEL = 0.05
PARAMETERS = 5
LEAST_NOISE = 1e-20
"""Variance of log losses below which it is rounding."""
_STEPS = 20


class LackOfFit(NamedTuple):
    """The test: ``statistic`` is F, with its degrees of freedom, and ``p`` the probability of as
    large a one by the noise of seeds alone.
    """

    statistic: float
    degrees: int
    noise_degrees: float
    p: float

    @property
    def found(self) -> bool:
        """Whether the law does not fit, at 5 %."""
        return self.p < LEVEL

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {**self._asdict(), "found": self.found, "level": LEVEL}


def lack_of_fit(points: Points, frame: Frame, noise: Noise | None, start: Array) -> LackOfFit | str:
    """The test, with theta ``start`` near the fit; or why it cannot be made."""
    cells = int(points.cell.max()) + 1
    if noise is None:
        return "no size has two seeds, so the noise of seeds is not known"
    if cells <= PARAMETERS:
        return f"{cells} pairs of size and length cannot miss a law of {PARAMETERS} constants"
    if noise.branch < LEAST_NOISE:
        return "seeds do not differ within a trunk, so there is no noise to measure misses by"
    from scipy.special import fdtrc  # half a second, for those who ask

    means = _means(points)
    whitener = np.linalg.inv(np.linalg.cholesky(means @ covariance(points, noise) @ means.T))
    at_cells = Frame(means @ frame.x, means @ frame.y, frame.n0, frame.d0)
    logs = means @ np.log(points.losses)
    left, hat = _least_squares(at_cells, logs, whitener, start)
    degrees = cells - PARAMETERS
    statistic = float(left @ left) / degrees
    own = _noise_degrees(points, noise, degrees, _between(points, means, whitener), hat)
    return LackOfFit(statistic, degrees, own, float(fdtrc(degrees, own, statistic)))


def _means(points: Points) -> Array:
    """What takes points to means of cells, (cells, P)."""
    own = points.cell == np.arange(int(points.cell.max()) + 1)[:, None]
    return np.asarray(own / own.sum(1, keepdims=True), np.float64)


def _least_squares(frame: Frame, logs: Array, whitener: Array, start: Array) -> tuple[Array, Array]:
    """What the law leaves of the means, whitened (cells,), and the projection onto what it can
    follow.
    """
    theta, damping = np.array(start), 1e-6
    losses, counts = np.exp(logs)[None], np.ones((1, len(logs)))

    def at(theta: Array) -> tuple[Array, Array]:
        state = evaluate(LOG_SQUARES, frame, losses, counts, theta[None])
        return whitener @ state.residuals[0], whitener @ state.jacobian[0].T

    left, slopes = at(theta)
    for _ in range(_STEPS):
        curvature = slopes.T @ slopes
        curvature += (damping + 1e-14) * np.diag(np.diag(curvature) + 1e-300)
        tried = theta - np.linalg.lstsq(curvature, slopes.T @ left, rcond=None)[0]
        after, next_slopes = at(tried)
        if after @ after < left @ left:
            ended = left @ left - after @ after < 1e-10 * (left @ left)
            theta, left, slopes, damping = tried, after, next_slopes, damping / 10
            if ended:
                break
        else:
            damping = damping * 100 + 1e-9
    basis = np.linalg.qr(slopes / (np.linalg.norm(slopes, axis=0) + 1e-300))[0]
    return left, basis @ basis.T


def _between(points: Points, means: Array, whitener: Array) -> Array:
    """The projection onto means of sizes, of whitened cells."""
    first = np.array([int(points.size[row.argmax()]) for row in means])
    columns = whitener @ (first[:, None] == np.arange(int(points.size.max()) + 1)).astype(float)
    basis = np.linalg.qr(columns)[0]
    return np.asarray(basis @ basis.T, np.float64)


def _noise_degrees(points: Points, noise: Noise, degrees: int, between: Array, hat: Array) -> float:
    """Degrees of freedom of F's denominator."""
    sizes = int(points.size.max()) + 1
    outer = float(np.clip(sizes - np.trace(hat @ between), 0.0, degrees))
    strata = ((outer, noise.trunk_degrees), (degrees - outer, noise.branch_degrees))
    mean = sum(ways * (own / (own - 2) if own > 2 else own + 2.0) for ways, own in strata) / degrees
    return float(2 * mean / (mean - 1))
