"""The noise of seeds, in log loss: of trunks and of branches, pooled over sizes.

A loss is that of its cell, times what the trunk's seed did to all its branches, times what the
decay did to one. Of each size, seeds x lengths, the squares are split as in a two-way table without
interaction, so a missing run leaves the estimates unbiased.

    MS(branch)                      estimates  s_b^2
    MS(trunk, after lengths)        estimates  s_b^2 + c s_t^2,  c lengths a trunk
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.experiments.laws.law import Array
from trainer.experiments.laws.points import Points

Mask = NDArray[np.bool_]


class Noise(NamedTuple):
    """Variances of log losses, and degrees of freedom: sizes x (seeds - 1) of trunks. ``share`` is
    c, the branches a trunk has to tell it by; ``seeds``: the most at a size; ``replicated``: sizes
    with three seeds or more.
    """

    trunk: float
    branch: float
    trunk_degrees: int
    branch_degrees: int
    share: float
    seeds: int
    replicated: int

    @classmethod
    def split(cls, squares: Array, facts: Facts) -> Noise:
        """From the sums of squares of trunks and branches."""
        between, within = squares
        branch = max(0.0, within / facts.branch_degrees) if facts.branch_degrees else 0.0
        trunk = max(0.0, (between / facts.trunk_degrees - branch) / facts.share)
        return cls(float(trunk), float(branch), *facts)

    @property
    def trunk_mean_square(self) -> float:
        """What MS(trunk) is expected to be."""
        return self.branch + self.share * self.trunk


class Facts(NamedTuple):
    """What a design allows to estimate."""

    trunk_degrees: int
    branch_degrees: int
    share: float
    seeds: int
    replicated: int


class Splitter(NamedTuple):
    """Splits the squares of log losses, any number of times for one design: ``between`` and
    ``within`` are symmetric, (P, P).
    """

    between: Array
    within: Array
    facts: Facts

    @classmethod
    def of(cls, points: Points) -> Splitter | None:
        """None where no size has two seeds, or seeds are not known."""
        if points.trunks is None:
            return None
        count = len(points)
        between, within = np.zeros((count, count)), np.zeros((count, count))
        facts = np.zeros(3)
        seeds, replicated = 0, 0
        for size in np.unique(points.size):
            at = np.flatnonzero(points.size == size)
            lengths, trunks = _indicators(points.cell[at]), _indicators(points.trunks[at])
            seeds = max(seeds, trunks.shape[1])
            replicated += trunks.shape[1] >= 3
            rest, rank = _complement(lengths)
            inner, whole = _complement(np.column_stack([lengths, trunks]))
            block = np.ix_(at, at)
            between[block], within[block] = rest - inner, inner
            facts += [whole - rank, len(at) - whole, np.trace(trunks.T @ rest @ trunks)]
        degrees = int(facts[0])
        if degrees == 0:
            return None
        share = float(facts[2]) / degrees
        return cls(
            between, within, Facts(degrees, int(facts[1]), share, int(seeds), int(replicated))
        )

    def noise(self, logs: Array) -> Noise:
        """The variances of log losses (P,)."""
        squares = np.array([logs @ self.between @ logs, logs @ self.within @ logs])
        return Noise.split(squares, self.facts)


def seed_noise(points: Points) -> Noise | None:
    """The noise of seeds, None where no size has two seeds."""
    splitter = Splitter.of(points)
    return None if splitter is None else splitter.noise(np.log(points.losses))


def drawn(points: Points, noise: Noise, draws: int, random: np.random.Generator) -> Array:
    """Noise of log losses as another set of seeds would have it, (draws, P)."""
    trunks = points.size if points.trunks is None else points.trunks
    shared = random.normal(0, np.sqrt(noise.trunk), (draws, int(trunks.max()) + 1))
    own = random.normal(0, np.sqrt(noise.branch), (draws, len(points)))
    return np.asarray(shared[:, trunks] + own, np.float64)


def covariance(points: Points, noise: Noise) -> Array:
    """Of log losses, (P, P)."""
    trunks = points.size if points.trunks is None else points.trunks
    same = trunks[:, None] == trunks
    return np.asarray(noise.trunk * same + noise.branch * np.eye(len(points)), np.float64)


def _indicators(numbers: NDArray[np.int64]) -> Array:
    return np.asarray(numbers[:, None] == np.unique(numbers), np.float64)


def _complement(columns: Array) -> tuple[Array, int]:
    """The projection away from columns, and their rank."""
    left, values, _ = np.linalg.svd(columns, full_matrices=False)
    basis = left[:, values > 1e-9 * values[0]]
    return np.eye(len(columns)) - basis @ basis.T, basis.shape[1]
