"""A Gaussian process over mixtures, on the square roots of their shares.

    k(x, y) = s (exp(-|sqrt x - sqrt y|^2 / (2 l^2)) + r [x is y]),    mean: that of the losses

Square roots lay shares on a sphere, where a rare source moves as far as a common one. Length l and
noise ratio r maximise the leave-one-out predictive density, closed form, with the scale s that is
best for each (Rasmussen and Williams, Gaussian Processes, 2006, section 5.4.2):

    left out residual  (K^-1 y)_i / (K^-1)_ii,    its variance  s / (K^-1)_ii
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LENGTHS = np.geomspace(0.05, 4.0, 16)
NOISES = np.geomspace(1e-6, 3.0, 12)


@dataclass(frozen=True, eq=False)
class GaussianProcess:
    """Fitted to mixtures (N, K) and losses; ``left_out``: predictions of each from the others (N).

    ``scale``, ``length`` and ``noise`` (a ratio of the scale) are s, l and r.
    """

    places: Array
    weights: Array
    inverse: Array
    mean: float
    scale: float
    length: float
    noise: float
    left_out: Array

    def predict(self, shares: Array) -> Array:
        """Losses (M) of mixtures (M, K)."""
        return self.predict_with_deviation(shares)[0]

    def predict_with_deviation(self, shares: Array) -> tuple[Array, Array]:
        """Losses (M) and the standard deviation of each, without a run's own noise."""
        near = _kernel(np.sqrt(np.asarray(shares, np.float64)), self.places, self.length)
        means = self.mean + near @ self.weights
        left = 1 - ((near @ self.inverse) * near).sum(1)
        return means, np.sqrt(self.scale * np.maximum(left, 0.0))


def fit_gaussian_process(shares: Array, losses: Array) -> GaussianProcess:
    """The process whose leave-one-out density is highest, on a grid and refined once.

    shares (N, K) and losses (N) as :func:`trainer.experiments.fits.mixture_regression.checked`
    leaves them.
    """
    places, mean = np.sqrt(shares), float(losses.mean())
    rest = losses - mean
    best = _best(places, rest, LENGTHS, NOISES)
    for _ in range(2):
        wide = (LENGTHS[1] / LENGTHS[0], NOISES[1] / NOISES[0])
        around = [
            centre * np.geomspace(1 / ratio, ratio, 7)
            for centre, ratio in zip(best, wide, strict=True)
        ]
        best = _best(places, rest, *around)
    length, noise = best
    inverse = _inverse(places, length, noise)
    weights, diagonal = inverse @ rest, np.diagonal(inverse)
    residuals = weights / diagonal
    scale = float((residuals**2 * diagonal).mean())
    return GaussianProcess(places, weights, inverse, mean, scale, length, noise, losses - residuals)


def _best(places: Array, rest: Array, lengths: Array, noises: Array) -> tuple[float, float]:
    scored = [
        (_density(places, rest, float(length), float(noise)), float(length), float(noise))
        for length in lengths
        for noise in noises
    ]
    _, length, noise = max(scored)
    return length, noise


def _density(places: Array, rest: Array, length: float, noise: float) -> float:
    """The log density of leaving one out, up to a constant, at the best scale."""
    inverse = _inverse(places, length, noise)
    diagonal = np.diagonal(inverse)
    squares = float(((inverse @ rest) ** 2 / diagonal).mean())
    if squares <= 0:
        return -math.inf
    return float(0.5 * np.log(diagonal).sum() - 0.5 * len(rest) * math.log(squares))


def _inverse(places: Array, length: float, noise: float) -> Array:
    kernel = _kernel(places, places, length)
    kernel[np.diag_indices_from(kernel)] += noise + 1e-10
    inverse = np.linalg.inv(kernel).astype(np.float64)
    return (inverse + inverse.T) / 2


def _kernel(one: Array, other: Array, length: float) -> Array:
    squares = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
    near: Array = np.exp(-np.maximum(squares, 0.0) / (2 * length**2))
    return near
