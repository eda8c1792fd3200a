"""The decayed loss, forecast during the stable phase from decays that were already branched off.

The annealing law (arXiv 2408.11029), over the rates of all updates up to a point:

    L = L0 + A S1^-a - g C S2,    S1 = sum of eta_i,    S2 = sum of m_i,
    m_i = lam m_(i-1) + (eta_(i-1) - eta_i), from the first update at the highest rate on

For each (a, lam) of a grid L0, A and C are non-negative least squares; the grid is then refined in
a. Warm-up is left out of S2, which is therefore 0 in the stable phase. Laws fitted elsewhere
foresee 14 to 37 % more gain from a decay than comes, always with one sign, so the gain is fitted: g
is the least-squares ratio of the drops that real decays made to those the law gives them. At least
one decay of the same size is needed; with :func:`calibrated`, the rest may be another size's.

    interval    forecast +- t(n - 1) times the root mean square of n residuals, each decay foreseen
                from the others (leave one branch out), or from those before it (past only)
    alarm       past forecasts left their intervals on one side more often than chance allows

Shapes: S updates, P points of trunks and decays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.statistics.estimates import Estimate, mean_of
from artifacts.statistics.intervals import CONFIDENCE

Array = NDArray[np.float64]

EXPONENTS = np.geomspace(0.05, 2.0, 24)
MEMORIES = (0.99, 0.9, 0.95, 0.98, 0.995, 0.998, 0.999)
"""The first stands where decays of one length cannot tell them apart."""

LEAST_STABLE = 4
LEAST_RESIDUALS = 3
ALARM = 0.01

Order = Literal["others", "past"]


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


@dataclass(frozen=True)
class Forecast:
    """A decayed loss, its 95 % interval (None with fewer than 3 decays), and how it came about."""

    loss: float
    low: float | None
    high: float | None
    law: AnnealingLaw
    decays: int

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {**vars(self), "law": dict(vars(self.law))}


@dataclass(frozen=True)
class Rehearsal:
    """Decays foreseen as if they had not been made: errors are forecast minus measured.

    ``inside``: whether each interval held the measured loss, None where it had none.
    """

    order: Order
    forecasts: tuple[Forecast, ...]
    measured: tuple[float, ...]

    @property
    def errors(self) -> tuple[float, ...]:
        """Forecast minus measured."""
        return tuple(
            forecast.loss - loss
            for forecast, loss in zip(self.forecasts, self.measured, strict=True)
        )

    @property
    def bias(self) -> Estimate | None:
        """The mean error with its interval, None for a single one."""
        return mean_of(self.errors) if len(self.errors) > 1 else None

    @property
    def inside(self) -> tuple[bool | None, ...]:
        """Whether each interval held the measured loss."""
        return tuple(
            None
            if forecast.low is None or forecast.high is None
            else forecast.low <= loss <= forecast.high
            for forecast, loss in zip(self.forecasts, self.measured, strict=True)
        )

    @property
    def coverage(self) -> float | None:
        """The share of intervals that held it, None where there was no interval."""
        known = [held for held in self.inside if held is not None]
        return sum(known) / len(known) if known else None

    def to_json(self) -> dict[str, Any]:
        """Errors, bias and coverage as plain values, and the alarm."""
        return {
            "order": self.order,
            "forecasts": [forecast.to_json() for forecast in self.forecasts],
            "measured": list(self.measured),
            "errors": list(self.errors),
            "bias": None if self.bias is None else self.bias.to_json(),
            "coverage": self.coverage,
            "drift": drift(self).to_json(),
        }


@dataclass(frozen=True)
class Drift:
    """How often measured losses lay ``above`` and ``below`` their intervals, of ``intervals``;
    ``p``: the chance of as many on one side.
    """

    above: int
    below: int
    intervals: int
    p: float

    @property
    def alarm(self) -> bool:
        """Whether the law has moved away from the runs."""
        return self.p < ALARM

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {**vars(self), "alarm": self.alarm}


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
    return _fit(_Sums.of([*stable, *decays]), len(stable))


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


def forecast(
    stable: Sequence[Measured],
    decays: Sequence[Measured],
    rates: Array,
    residuals: Sequence[float] | None = None,
) -> Forecast:
    """The loss after updates at ``rates`` (S), the trunk's and the decay's.

    ``residuals`` of earlier forecasts, such as :attr:`Rehearsal.errors`; without any those of
    leaving out one decay at a time. Raises: as :func:`fit_law`.
    """
    fit_law(stable, decays)  # refuses what cannot be fitted
    sums = _Sums.of([*stable, *decays, Measured(rates, 0.0)])
    known = np.arange(len(sums.losses) - 1)
    if residuals is None:
        residuals = _left_out(sums, known, len(stable))
    return _forecast(sums, known, len(stable), len(known), residuals)


def rehearse(
    stable: Sequence[Measured], decays: Sequence[Measured], order: Order = "others"
) -> Rehearsal:
    """Every decay foreseen from the ``others``, or from those before it (``past``: decays in the
    order they were made, from the second on, and stable points no longer than the trunk then).

    Each interval comes from the residuals of the decays it was foreseen from. Raises: UserError for
    fewer than two decays, and as :func:`fit_law`.
    """
    if len(decays) < 2:
        raise UserError(
            "a decay is foreseen from others",
            parameter="decays",
            found=f"{len(decays)} decays",
            allowed=["at least 2"],
            fix="branch a further decay",
        )
    fit_law(stable, decays[:1])
    sums = _Sums.of([*stable, *decays])
    steps = np.array([len(point.rates) for point in (*stable, *decays)])
    found: list[Forecast] = []
    errors: list[float] = []
    first = len(stable)
    for place in range(first, len(sums.losses)):
        if order == "others":
            known = np.delete(np.arange(len(sums.losses)), place)
            before = first
            residuals = _left_out(sums, known, before)
        else:
            trunk = np.flatnonzero(steps[:first] <= steps[place])
            known, before = np.array([*trunk, *range(first, place)]), len(trunk)
            residuals = list(errors)
            if place == first or before < LEAST_STABLE:
                continue
        found.append(_forecast(sums, known, before, place, residuals))
        errors.append(found[-1].loss - float(sums.losses[place]))
    measured = tuple(float(loss) for loss in sums.losses[-len(found) :]) if found else ()
    return Rehearsal(order, tuple(found), measured)


def drift(rehearsal: Rehearsal) -> Drift:
    """Whether measured losses left their intervals on one side more often than chance allows: of n
    intervals each side is left with probability 0.025, p doubled for the choice of the side.
    """
    from scipy.special import bdtrc

    sides = [
        loss > forecast.high if forecast.loss < loss else -(loss < forecast.low)
        for forecast, loss in zip(rehearsal.forecasts, rehearsal.measured, strict=True)
        if forecast.low is not None and forecast.high is not None
    ]
    above, below = sum(side > 0 for side in sides), sum(side < 0 for side in sides)
    most = max(above, below)
    tail = (1 - CONFIDENCE) / 2
    p = 1.0 if most == 0 else min(1.0, 2 * float(bdtrc(most - 1, len(sides), tail)))
    return Drift(above, below, len(sides), p)


@dataclass(frozen=True, eq=False)
class _Sums:
    """S1 (P), S2 by memory (M, P) and losses (P)."""

    first: Array
    second: Array
    losses: Array

    @classmethod
    def of(cls, points: Sequence[Measured]) -> _Sums:
        second = [[momentum_sum(point.rates, lam) for point in points] for lam in MEMORIES]
        return cls(
            np.array([point.rates.sum() for point in points]),
            np.array(second),
            np.array([point.loss for point in points]),
        )

    def only(self, places: NDArray[np.int64]) -> _Sums:
        return _Sums(self.first[places], self.second[:, places], self.losses[places])


def _fit(sums: _Sums, stable: int) -> AnnealingLaw:
    """``stable``: how many of the points come first and belong to the trunk."""
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


def _best_of_grid(sums: _Sums, exponents: Array, rounding: float) -> tuple[float, AnnealingLaw]:
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


def _with_gain(law: AnnealingLaw, sums: _Sums, stable: int) -> AnnealingLaw:
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


def _foreseen(sums: _Sums, law: AnnealingLaw, place: int) -> float:
    row = MEMORIES.index(law.memory)
    plateau = law.base + law.scale * sums.first[place] ** -law.exponent
    return float(plateau - law.gain * law.drop * sums.second[row, place])


def _left_out(sums: _Sums, known: NDArray[np.int64], stable: int) -> list[float]:
    """Errors of known decays, each foreseen from the others; none for a single one."""
    errors = []
    for place in known[stable:] if len(known) > stable + 1 else ():
        law = _fit(sums.only(known[known != place]), stable)
        errors.append(_foreseen(sums, law, int(place)) - float(sums.losses[place]))
    return errors


def _forecast(
    sums: _Sums,
    known: NDArray[np.int64],
    stable: int,
    place: int,
    residuals: Sequence[float],
) -> Forecast:
    law = _fit(sums.only(known), stable)
    loss = _foreseen(sums, law, place)
    if len(residuals) < LEAST_RESIDUALS:
        return Forecast(loss, None, None, law, len(known) - stable)
    from scipy.special import stdtrit

    spread = math.sqrt(sum(error**2 for error in residuals) / len(residuals))
    half = float(stdtrit(len(residuals) - 1, (1 + CONFIDENCE) / 2)) * spread
    return Forecast(loss, loss - half, loss + half, law, len(known) - stable)
