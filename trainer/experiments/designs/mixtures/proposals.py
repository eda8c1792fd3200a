"""The mixtures to verify: the best that a Gaussian process foresees, apart from one another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from trainer.experiments.designs.mixtures.space import Mixture, Space, distance, rounded
from trainer.experiments.fits.gaussian_process import fit_gaussian_process
from trainer.experiments.fits.mixture_proposals import best_proposals, propose
from trainer.experiments.fits.mixture_regression import LEAST_MIXTURES, checked

APART = 0.05
"""Share that has to move from one proposal to another; nearer ones are one mixture to a small
study.
"""

CANDIDATES = 10_000


@dataclass(frozen=True)
class Foreseen:
    """A mixture to verify, and the loss foreseen with its deviation."""

    mixture: Mixture
    loss: float
    deviation: float


@lru_cache(maxsize=8)
def proposals(
    space: Space,
    mixtures: tuple[Mixture, ...],
    losses: tuple[float, ...],
    count: int,
    kappa: float,
    random_seed: int,
) -> tuple[Foreseen, ...]:
    """``count`` mixtures whose foreseen loss minus ``kappa`` deviations is least, best first, each
    at least :data:`APART` from those before; none where too few losses are there to fit.
    """
    if len(losses) < LEAST_MIXTURES:
        return ()
    model = fit_gaussian_process(*checked(np.array(mixtures), np.array(losses)))
    drawn = propose(space.prior, CANDIDATES, random_seed, space.bounds)
    chosen: list[Foreseen] = []
    for one in best_proposals(model, drawn, len(drawn), kappa):
        if all(distance(one.shares, other.mixture) >= APART for other in chosen):
            chosen.append(Foreseen(rounded(np.array(one.shares)), one.loss, one.deviation))
        if len(chosen) == count:
            break
    return tuple(chosen)
