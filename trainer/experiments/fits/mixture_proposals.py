"""Mixtures to run next: draws around a prior under caps, and the best that a model foresees.

Draws are those of RegMix (arXiv 2407.01492): Dirichlet with parameters strength * prior^0.5,
normalised, at strengths spread evenly in logarithm, so that some lie near the prior and some near a
single source. A draw is brought within its bounds by one factor on all shares,

    x_k = clip(f d_k, least_k, most_k),    f such that the shares add to 1.

The optimum minimises mean - kappa * deviation over such draws: with kappa above 0 it tries what may
be better (a lower confidence bound, to be verified by runs), below 0 it takes no risks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError
from trainer.experiments.fits.gaussian_process import GaussianProcess

Array = NDArray[np.float64]

STRENGTHS = (0.1, 5.0)


@dataclass(frozen=True)
class Bounds:
    """The ``least`` and ``most`` share of each source."""

    least: tuple[float, ...]
    most: tuple[float, ...]

    def __post_init__(self) -> None:
        pairs = zip(self.least, self.most, strict=False)
        ordered = all(0 <= low <= high <= 1 for low, high in pairs)
        if not (len(self.least) == len(self.most) > 0 and ordered):
            found = f"least {self.least}, most {self.most}"
        elif sum(self.least) > 1 + 1e-9 or sum(self.most) < 1 - 1e-9:
            found = f"least add to {sum(self.least):g}, most to {sum(self.most):g}"
        else:
            return
        raise UserError(
            "no mixture lies within these bounds",
            parameter="bounds",
            found=found,
            allowed=["0 <= least <= most <= 1, least adding to at most 1, most to at least 1"],
            fix="lower a minimum share, or allow more epochs of a source",
        )


@dataclass(frozen=True)
class Proposal:
    """A mixture to run, the loss foreseen, its deviation, and what it was chosen by."""

    shares: tuple[float, ...]
    loss: float
    deviation: float
    bound: float


def bounds_of_epochs(
    available: Sequence[float],
    tokens: float,
    epochs: float | Sequence[float],
    least: Sequence[float] | None = None,
) -> Bounds:
    """Caps such that no source is seen for more than ``epochs``: share * tokens <= epochs *
    available. ``least``: minimum shares, 0 without.

    Raises: UserError for counts that are not above 0, and where no mixture is left.
    """
    allowed = [epochs] * len(available) if isinstance(epochs, int | float) else list(epochs)
    values = [tokens, *available, *allowed]
    if len(allowed) != len(available) or not all(0 < value < math.inf for value in values):
        raise UserError(
            "caps come from tokens and epochs above 0, one of each for every source",
            parameter="available",
            found=f"{len(available)} sources, {len(allowed)} epochs, {tokens:g} tokens",
            fix="leave out sources without a token",
        )
    most = [min(1.0, count * own / tokens) for count, own in zip(allowed, available, strict=True)]
    return Bounds(tuple(least or [0.0] * len(most)), tuple(most))


def propose(
    prior: Sequence[float],
    count: int,
    random_seed: int,
    bounds: Bounds | None = None,
    strengths: tuple[float, float] = STRENGTHS,
) -> Array:
    """``count`` mixtures (M, K) around ``prior``, within ``bounds``.

    Raises: UserError for a prior that is not positive, or bounds of other sources.
    """
    centre = np.asarray(prior, np.float64)
    limits = bounds or Bounds((0.0,) * len(centre), (1.0,) * len(centre))
    if not (np.isfinite(centre).all() and (centre > 0).all() and len(centre) == len(limits.least)):
        raise UserError(
            "a prior gives every source a weight above 0",
            parameter="prior",
            found=f"{len(centre)} weights from {centre.min():g}, {len(limits.least)} bounds",
            fix="leave out sources of weight 0, or give them a small one",
        )
    base = np.sqrt(centre / centre.sum())
    base /= base.sum()
    draw = np.random.default_rng(random_seed)
    strength = np.geomspace(*strengths, count) if count > 1 else np.array([strengths[-1]])
    made = np.array([draw.dirichlet(np.maximum(value * base, 1e-3)) for value in strength])
    return within(made, limits)


def within(shares: Array, bounds: Bounds) -> Array:
    """Mixtures (M, K), or one (K), brought within the bounds: one factor on all shares of each,
    then clipped; what lies within them stays.
    """
    low, high = np.array(bounds.least), np.array(bounds.most)
    weight = np.maximum(np.atleast_2d(np.asarray(shares, np.float64)), 1e-12)
    small, large = np.zeros((len(weight), 1)), (high / weight).max(1, keepdims=True)
    for _ in range(100):  # bisection, to the last bit
        middle = (small + large) / 2
        short = np.clip(middle * weight, low, high).sum(1, keepdims=True) < 1
        small, large = np.where(short, middle, small), np.where(short, large, middle)
    found: Array = np.clip(large * weight, low, high)
    return found.reshape(np.shape(shares))


def best_proposals(
    model: GaussianProcess, candidates: Array, count: int = 3, kappa: float = 1.0
) -> list[Proposal]:
    """The ``count`` candidates (M, K) whose mean - kappa * deviation is least, best first.

    Raises: UserError without candidates, and for a kappa that is not finite.
    """
    if len(candidates) == 0 or not math.isfinite(kappa):
        raise UserError(
            "an optimum is chosen from candidates by a finite bound",
            parameter="candidates",
            found=f"{len(candidates)} candidates, kappa {kappa}",
            fix="propose some thousand mixtures",
        )
    losses, deviations = model.predict_with_deviation(candidates)
    bound = losses - kappa * deviations
    return [
        Proposal(
            tuple(candidates[place].tolist()),
            float(losses[place]),
            float(deviations[place]),
            float(bound[place]),
        )
        for place in np.argsort(bound, kind="stable")[:count]
    ]
