"""The annealing law of a decayed loss, with the gain that real decays had.

Over the rates of all updates up to a point (arXiv 2408.11029):

    L = L0 + A S1^-a - g C S2,    S1 = sum of eta_i,    S2 = sum of m_i,
    m_i = lam m_(i-1) + (eta_(i-1) - eta_i), from the first update at the highest rate on

For each (a, lam) of a grid L0, A and C are non-negative least squares; the grid is then refined in
a. Warm-up is left out of S2, which is therefore 0 in the stable phase. Laws fitted elsewhere
foresee 14 to 37 % more gain from a decay than comes, always with one sign, so the gain is fitted: g
is the least-squares ratio of the drops that real decays made to those the law gives them. At least
one decay of the same size is needed; with :func:`calibrated`, the rest may be another size's.

Shapes: S updates, P points of trunks and decays, M memories.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError

Array = NDArray[np.float64]

EXPONENTS = np.geomspace(0.05, 2.0, 24)
MEMORIES = (0.99, 0.9, 0.95, 0.98, 0.995, 0.998, 0.999)
"""The first stands where decays of one length cannot tell them apart."""

LEAST_STABLE = 4


@dataclass(frozen=True, eq=False)
class Measured:
    """A loss after updates at ``rates`` (S): all of them from the first, the trunk's too."""

    rates: Array
    loss: float

    def __post_init__(self) -> None:
        rates = np.asarray(self.rates, np.float64)
        whole = rates.ndim == 1 and len(rates) > 0 and bool(np.isfinite(rates).all())
        if not (whole and rates.min() >= 0 and rates.max() > 0 and math.isfinite(self.loss)):
            raise UserError(
                "a measured point has the rate of every update up to it, and a finite loss",
                parameter="measured",
                found=f"{rates.size} rates, loss {self.loss}",
                fix="give rates from update 1 on, not negative, and leave out runs that diverged",
            )
        object.__setattr__(self, "rates", rates)


@dataclass(frozen=True)
class AnnealingLaw:
    """Constants of the law; ``gain`` g multiplies C."""

    base: float
    scale: float
    exponent: float
    drop: float
    memory: float
    gain: float = 1.0

    def stable(self, rates: Array) -> float:
        """The loss without what the decay adds."""
        return float(self.base + self.scale * np.asarray(rates).sum() ** -self.exponent)

    def predict(self, rates: Array) -> float:
        """The loss after updates at ``rates`` (S)."""
        return self.stable(rates) - self.gain * self.drop * momentum_sum(rates, self.memory)


def momentum_sum(rates: Array, memory: float) -> float:
    """S2: the sum of m_i = memory m_(i-1) + (eta_(i-1) - eta_i), from m = 0 at the first update at
    the highest rate.

    In closed form: each fall counts (1 - memory^k) / (1 - memory), k updates before the end.
    """
    whole = np.asarray(rates, np.float64)
    falls = -np.diff(whole[int(np.argmax(whole)) :])
    left = np.arange(len(falls), 0, -1)
    return float((falls * (1 - memory**left)).sum() / (1 - memory))


def fit_law(stable: Sequence[Measured], decays: Sequence[Measured]) -> AnnealingLaw:
    """The law through points of the stable phase and the ends of decays of the same size, with the
    gain that these decays had.

    Raises: UserError for fewer than 4 stable points or no decay, and where no decay lowers the
    loss.
    """
    if len(stable) < LEAST_STABLE or not decays:
        raise UserError(
            "a forecast needs the stable phase and a decay of the same size",
            parameter="decays" if len(stable) >= LEAST_STABLE else "stable",
            found=f"{len(stable)} stable points, {len(decays)} decays",
            allowed=[f"at least {LEAST_STABLE} points and 1 decay"],
            fix="branch a first decay early; what published laws foresee is too good",
        )
    return fit_sums(PathSums.of([*stable, *decays]), len(stable))


def calibrated(
    law: AnnealingLaw, stable: Sequence[Measured], decays: Sequence[Measured]
) -> AnnealingLaw:
    """A law that was fitted elsewhere, such as on a smaller size, moved to these runs: ``base``
    from the mean distance of the stable points, ``gain`` from the drops of the decays.

    Raises: UserError without a stable point or a decay, and where no decay lowers the loss.
    """
    if not stable or not decays:
        raise UserError(
            "a law is moved to other runs by their stable phase and a decay",
            parameter="decays" if stable else "stable",
            found=f"{len(stable)} stable points, {len(decays)} decays",
            allowed=["at least 1 of each"],
            fix="branch a first decay early",
        )
    above = sum(point.loss - law.stable(point.rates) for point in stable) / len(stable)
    moved = replace(law, base=law.base + above)
    foreseen = np.array([law.drop * momentum_sum(point.rates, law.memory) for point in decays])
    real = np.array([moved.stable(point.rates) - point.loss for point in decays])
    return replace(moved, gain=_gain(foreseen, real))


@dataclass(frozen=True, eq=False)
class PathSums:
    """S1 (P), S2 by memory (M, P) and losses (P)."""

    first: Array
    second: Array
    losses: Array

    @classmethod
    def of(cls, points: Sequence[Measured]) -> PathSums:
        """Of measured points, in their order."""
        second = [[momentum_sum(point.rates, lam) for point in points] for lam in MEMORIES]
        return cls(
            np.array([point.rates.sum() for point in points]),
            np.array(second),
            np.array([point.loss for point in points]),
        )

    def only(self, places: NDArray[np.int64]) -> PathSums:
        """Those of some of the points."""
        return PathSums(self.first[places], self.second[:, places], self.losses[places])


def fit_sums(sums: PathSums, stable: int) -> AnnealingLaw:
    """The law through points of which the first ``stable`` belong to the trunk.

    Raises: UserError where no decay lowers the loss.
    """
    grid = np.log(EXPONENTS)
    best: tuple[float, AnnealingLaw] | None = None
    rounding = 1e-14 * float(sums.losses @ sums.losses)
    for _ in range(3):
        squares, law = _best_of_grid(sums, np.exp(grid), rounding)
        if best is None or squares < best[0] - rounding:
            best = squares, law
        width = (grid[-1] - grid[0]) / (len(grid) - 1)
        grid = math.log(best[1].exponent) + np.linspace(-width, width, 9)
    assert best is not None
    return _with_gain(best[1], sums, stable)


def _best_of_grid(sums: PathSums, exponents: Array, rounding: float) -> tuple[float, AnnealingLaw]:
    """Least squares of every (memory, exponent), non-negative ones where that has to be asked for:
    they cannot fit better than those without bounds.
    """
    from scipy.optimize import nnls

    unit, size = float(sums.first.max()), float(np.abs(sums.second).max()) or 1.0
    grid = np.ones((len(MEMORIES), len(exponents), len(sums.losses), 3))
    grid[..., 1] = (sums.first / unit) ** -exponents[:, None]
    grid[..., 2] = -sums.second[:, None] / size
    columns = grid.reshape(-1, len(sums.losses), 3)
    q, r = np.linalg.qr(columns)
    projected = np.swapaxes(q, 1, 2) @ sums.losses
    squares = ((sums.losses - (q @ projected[..., None])[..., 0]) ** 2).sum(1)
    regular = np.abs(np.diagonal(r, axis1=1, axis2=2)).min(1) > 1e-12
    least, tried = math.inf, []
    for cell in np.argsort(squares, kind="stable").tolist():
        if squares[cell] > least + rounding:
            break
        solved = np.linalg.solve(r[cell], projected[cell]) if regular[cell] else np.full(3, -1.0)
        value = float(squares[cell])
        if (solved < 0).any():
            solved, norm = nnls(columns[cell], sums.losses)
            value = float(norm) ** 2
        least = min(least, value)
        tried.append((value, cell, solved.tolist()))
    alike = [(cell, value, solved) for value, cell, solved in tried if value <= least + rounding]
    # of those that fit alike the first memory, as in MEMORIES
    cell, value, (base, scale, drop) = min(
        alike, key=lambda entry: (entry[0] // len(exponents), entry[1])
    )
    memory, power = MEMORIES[cell // len(exponents)], float(exponents[cell % len(exponents)])
    return value, AnnealingLaw(base, scale * unit**power, power, drop / size, memory)


def _with_gain(law: AnnealingLaw, sums: PathSums, stable: int) -> AnnealingLaw:
    row = MEMORIES.index(law.memory)
    plateau = law.base + law.scale * sums.first[stable:] ** -law.exponent
    foreseen = law.drop * sums.second[row, stable:]
    return replace(law, gain=_gain(foreseen, plateau - sums.losses[stable:]))


def _gain(foreseen: Array, real: Array) -> float:
    """The factor that brings the drops a law foresees nearest to the real ones."""
    squares, product = float(foreseen @ foreseen), float(foreseen @ real)
    if squares == 0 or product <= 0:
        raise UserError(
            "no decay lowers the loss below the stable phase",
            parameter="decays",
            found=f"{len(real)} decays, mean drop {real.mean():.4g}",
            fix="give each decay the rates of all its updates, the trunk's first, and its end loss",
        )
    return product / squares


def foreseen_loss(sums: PathSums, law: AnnealingLaw, place: int) -> float:
    """What a law of this grid foresees at one of the points."""
    row = MEMORIES.index(law.memory)
    plateau = law.base + law.scale * sums.first[place] ** -law.exponent
    return float(plateau - law.gain * law.drop * sums.second[row, place])
