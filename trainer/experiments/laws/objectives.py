"""What a fit makes small: three measures of how far a law is from losses.

    huber        sum of Huber(ln L^ - ln L), delta 1e-3     (Hoffmann et al., Chinchilla)
    log_squares  sum of (ln L^ - ln L)^2 / 2
    squares      sum of (L^ - L)^2 / 2                      (MiniCPM's curve_fit)

A law is held as theta = (a, b, e, alpha, beta) around the centre of the data,

    ln L^ = logsumexp(a - alpha (ln N - n0), b - beta (ln D - d0), e)

Shapes: R resamples, P points.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trainer.experiments.laws.law import Array, Law
from trainer.experiments.laws.points import Points

DELTA = 1e-3


class Objective(NamedTuple):
    """Huber's function of residuals, of log losses or of losses; an infinite ``delta`` makes it
    half the squares.
    """

    name: str
    meaning: str
    delta: float
    logarithmic: bool


HUBER = Objective("huber", "Huber 1e-3 on log loss", DELTA, True)
LOG_SQUARES = Objective("log_squares", "least squares on log loss", np.inf, True)
SQUARES = Objective("squares", "least squares on the loss, as curve_fit", np.inf, False)
OBJECTIVES = (HUBER, LOG_SQUARES, SQUARES)


class Frame(NamedTuple):
    """Points around their centre: ``x`` = ln N - ``n0``, ``y`` = ln D - ``d0``, both (P,)."""

    x: Array
    y: Array
    n0: float
    d0: float

    @classmethod
    def of(cls, points: Points) -> Frame:
        x, y = np.log(points.parameters), np.log(points.tokens)
        n0, d0 = float(x.mean()), float(y.mean())
        return cls(x - n0, y - d0, n0, d0)

    def law(self, theta: Array) -> Law:
        """Constants of theta (…, 5) in single parameters and tokens."""
        a, b, e, alpha, beta = np.moveaxis(theta, -1, 0)
        return Law(np.exp(e), np.exp(a + alpha * self.n0), np.exp(b + beta * self.d0), alpha, beta)

    def theta(self, law: Law) -> Array:
        """The inverse of :meth:`law`."""
        a, b = np.log(law.A) - law.alpha * self.n0, np.log(law.B) - law.beta * self.d0
        return np.stack([a, b, np.log(law.E), law.alpha, law.beta], -1)

    def parts(self, theta: Array) -> tuple[Array, Array, Array]:
        """The terms of the loss at every point: of N and of D, (R, P) each, and E, (R, 1)."""
        a, b, e, alpha, beta = theta.T[:, :, None]
        return np.exp(a - alpha * self.x), np.exp(b - beta * self.y), np.exp(e)


class State(NamedTuple):
    """A law at the points: ``value`` of the objective (R,), ``residuals`` (R, P), their
    ``jacobian`` (R, 5, P).
    """

    value: Array
    residuals: Array
    jacobian: Array


def evaluate(
    objective: Objective, frame: Frame, losses: Array, weights: Array, theta: Array
) -> State:
    """The objective of theta (R, 5); ``losses`` and ``weights`` are (R, P) or (1, P)."""
    of_size, of_data, rest = frame.parts(theta)
    predicted = of_size + of_data + rest
    jacobian = np.empty((len(theta), 5, len(frame.x)))
    scale = predicted if objective.logarithmic else 1.0
    np.divide(of_size, scale, out=jacobian[:, 0])
    np.divide(of_data, scale, out=jacobian[:, 1])
    jacobian[:, 2] = rest / scale
    np.multiply(jacobian[:, 0], -frame.x, out=jacobian[:, 3])
    np.multiply(jacobian[:, 1], -frame.y, out=jacobian[:, 4])
    residuals = np.log(predicted / losses) if objective.logarithmic else predicted - losses
    return State((weights * huber(residuals, objective.delta)).sum(-1), residuals, jacobian)


def huber(residuals: Array, delta: float) -> Array:
    """r^2 / 2 within delta of 0, delta (|r| - delta / 2) beyond."""
    inside = np.minimum(np.abs(residuals), delta)
    linear = np.abs(residuals) - inside
    return inside**2 / 2 + (delta * linear if np.isfinite(delta) else 0.0)


def pull(residuals: Array, delta: float) -> Array:
    """By how much less a residual counts than a square would: min(1, delta / |r|)."""
    if not np.isfinite(delta):
        return np.ones_like(residuals)
    size = np.abs(residuals)
    return delta / np.maximum(size, delta)
