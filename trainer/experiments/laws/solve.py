"""The least of an objective: a grid of exponents, then descent from its best place.

For fixed exponents the law is linear in (E, A, B), so the best of them that are not negative come
from a problem of three unknowns (variable projection). All of a grid are solved at once: of the
seven choices which of three may be positive, the best that needs no negative one. One polish from
the best place of the grid ends at the optimum; without such a start most do not (Besiroglu et al.,
arXiv 2404.10102, report their own trouble).

Resamples of one table are descended together from the estimate, by iteratively reweighted least
squares with Levenberg's damping.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.experiments.laws.law import Array
from trainer.experiments.laws.objectives import Frame, Objective, evaluate, pull

EXPONENTS = (0.02, 1.5)
GRID = np.linspace(0.05, 1.2, 24)
LOWEST_E = 1e-6
"""Of the smallest loss: E is not sought below."""
_BELOW, _ABOVE = 25.0, 5.0
_SCALE = 1000.0
"""The objective is so small that a descent would stop early."""


class Solution(NamedTuple):
    """Where an objective is least: ``theta`` (5,), its ``value``, and which bounds hold it."""

    theta: Array
    value: float
    active: tuple[str, ...]


def bounds_of(losses: Array) -> Array:
    """Lowest and highest theta, (2, 5): exponents, E between nearly nothing and the smallest loss,
    terms at the centre from nothing to far above all losses.
    """
    least, most = float(np.log(losses.min())), float(np.log(losses.max())) + _ABOVE
    nothing = least - _BELOW
    low = [nothing, nothing, least + np.log(LOWEST_E), EXPONENTS[0], EXPONENTS[0]]
    return np.array([low, [most, most, least, EXPONENTS[1], EXPONENTS[1]]])


def solve(objective: Objective, frame: Frame, losses: Array, weights: Array) -> Solution:
    """The optimum for losses and weights (P,)."""
    start = grid_start(frame, losses, weights)
    bounds = bounds_of(losses)
    polished = _polished(objective, frame, losses, weights, start, bounds)
    both = descend(objective, frame, losses[None], weights[None], polished[None], bounds)
    theta = both[0]
    value = evaluate(objective, frame, losses[None], weights[None], theta[None]).value[0]
    return Solution(theta, float(value), _active(theta, bounds))


def grid_start(frame: Frame, losses: Array, weights: Array) -> Array:
    """The best theta of the grid for least squares of relative errors, (5,)."""
    share = np.sqrt(weights) / losses  # rows divided by the loss
    one, target = share, np.sqrt(weights)
    u = np.exp(-GRID[:, None] * frame.x) * share  # (24, P)
    v = np.exp(-GRID[:, None] * frame.y) * share
    count = len(GRID)
    gram = np.empty((count, count, 3, 3))
    gram[..., 0, 0] = one @ one
    gram[..., 0, 1] = gram[..., 1, 0] = (u @ one)[:, None]
    gram[..., 0, 2] = gram[..., 2, 0] = (v @ one)[None]
    gram[..., 1, 1] = (u * u).sum(1)[:, None]
    gram[..., 2, 2] = (v * v).sum(1)[None]
    gram[..., 1, 2] = gram[..., 2, 1] = u @ v.T
    aims = np.empty((count, count, 3))
    aims[..., 0], aims[..., 1], aims[..., 2] = one @ target, (u @ target)[:, None], v @ target
    best, coefficients = _not_negative(gram, aims)
    i, j = np.unravel_index(int(best.argmin()), best.shape)
    floor = 1e-9 * float(losses.mean())
    e, a, b = np.log(np.maximum(coefficients[i, j], floor))
    return np.array([a, b, e, GRID[i], GRID[j]])


@cache
def _choices() -> tuple[tuple[int, ...], ...]:
    """Which of three unknowns are not 0."""
    kept = [tuple(np.flatnonzero(choice).tolist()) for choice in product((0, 1), repeat=3)]
    return tuple(choice for choice in kept if choice)


def _not_negative(gram: Array, aims: Array) -> tuple[Array, Array]:
    """The least of c'Gc - 2 c'h over c of at least 0, and c, for every pair of exponents."""
    best = np.zeros(aims.shape[:2])
    found = np.zeros_like(aims)
    for choice in _choices():
        rows = np.array(choice)
        square = gram[..., rows[:, None], rows]
        ridge = 1e-13 * np.trace(square, axis1=-2, axis2=-1)[..., None, None]
        part = np.linalg.solve(square + ridge * np.eye(len(rows)), aims[..., rows, None])[..., 0]
        value = -(part * aims[..., rows]).sum(-1)
        better = (part >= 0).all(-1) & (value < best)
        best = np.where(better, value, best)
        whole = np.zeros_like(aims)
        whole[..., rows] = part
        found = np.where(better[..., None], whole, found)
    return best, found


def _polished(
    objective: Objective, frame: Frame, losses: Array, weights: Array, start: Array, bounds: Array
) -> Array:
    """One descent by L-BFGS-B."""
    from scipy.optimize import minimize  # half a second, for those who ask

    rows, counts = losses[None], weights[None]

    def scaled(theta: Array) -> tuple[float, Array]:
        state = evaluate(objective, frame, rows, counts, theta[None])
        forces = weights * pull(state.residuals[0], objective.delta) * state.residuals[0]
        return _SCALE * float(state.value[0]), _SCALE * (state.jacobian[0] @ forces)

    ended = minimize(
        scaled,
        np.clip(start, *bounds),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(*bounds, strict=True)),
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 5000, "maxfun": 20_000},
    )
    return np.asarray(ended.x, np.float64)


def descend(
    objective: Objective,
    frame: Frame,
    losses: Array,
    weights: Array,
    start: Array,
    bounds: Array,
    *,
    steps: int = 100,
    tolerance: float = 1e-12,
) -> Array:
    """Optima of resamples, (R, 5), each from its ``start``; ``losses`` and ``weights`` are (R, P)
    or (1, P).
    """
    theta = np.clip(np.array(start, np.float64), *bounds)
    damping = np.full(len(theta), 1e-4)
    state = evaluate(objective, frame, losses, weights, theta)
    going = np.arange(len(theta))
    value, residuals, jacobian = state
    for _ in range(steps):
        own, counts = _rows(losses, going), _rows(weights, going)
        step = _step(objective, counts, residuals, jacobian, damping[going], theta[going], bounds)
        tried = np.clip(theta[going] + step, *bounds)
        after = evaluate(objective, frame, own, counts, tried)
        better = after.value < value
        gain = np.where(better, value - after.value, 0.0)
        theta[going[better]] = tried[better]
        damping[going] = np.where(better, damping[going] / 5, damping[going] * 8)
        damping[going] = np.clip(damping[going], 1e-12, None)
        ended = (better & (gain <= tolerance * value)) | (damping[going] > 1e6)
        np.copyto(value, after.value, where=better)
        np.copyto(residuals, after.residuals, where=better[:, None])
        np.copyto(jacobian, after.jacobian, where=better[:, None, None])
        if ended.any():
            going, value = going[~ended], value[~ended]
            residuals, jacobian = residuals[~ended], jacobian[~ended]
        if not len(going):
            break
    return theta


def _rows(values: Array, at: NDArray[np.int64]) -> Array:
    return values if len(values) == 1 else values[at]


def _step(
    objective: Objective,
    weights: Array,
    residuals: Array,
    jacobian: Array,
    damping: Array,
    theta: Array,
    bounds: Array,
) -> Array:
    """A damped step of reweighted least squares, (R, 5); none of what a bound holds back."""
    counts = np.sqrt(weights * pull(residuals, objective.delta))
    weighted = jacobian * counts[:, None]
    gradient = (weighted @ (counts * residuals)[..., None])[..., 0]
    curvature = weighted @ weighted.transpose(0, 2, 1)
    held = ((theta <= bounds[0]) & (gradient > 0)) | ((theta >= bounds[1]) & (gradient < 0))
    free = ~held
    curvature = curvature * (free[:, :, None] & free[:, None])
    diagonal = np.einsum("rii->ri", curvature)
    floor = 1e-14 * diagonal.max(-1, keepdims=True) + 1e-300
    diagonal += damping[:, None] * diagonal + floor + held
    step: Array = -np.linalg.solve(curvature, (gradient * free)[..., None])[..., 0]
    return step


def _active(theta: Array, bounds: Array) -> tuple[str, ...]:
    """Which constants stand at a bound of the search."""
    names = {2: "E", 3: "alpha", 4: "beta"}
    near = np.isclose(theta, bounds[0], atol=1e-6) | np.isclose(theta, bounds[1], atol=1e-6)
    return tuple(name for at, name in names.items() if near[at])
