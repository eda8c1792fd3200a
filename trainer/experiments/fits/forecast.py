"""The decayed loss, forecast during the stable phase from decays that were already branched off.

By the law of :mod:`trainer.experiments.fits.annealing_law`, whose gain comes from those decays.

    interval    forecast +- t(n - 1) times the root mean square of n residuals, each decay foreseen
                from the others (leave one branch out), or from those before it (past only)
    alarm       past forecasts left their intervals on one side more often than chance allows
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.statistics.estimates import Estimate, mean_of
from artifacts.statistics.intervals import CONFIDENCE
from trainer.experiments.fits.annealing_law import (
    LEAST_STABLE,
    AnnealingLaw,
    Measured,
    PathSums,
    fit_law,
    fit_sums,
    foreseen_loss,
)

Array = NDArray[np.float64]

LEAST_RESIDUALS = 3
ALARM = 0.01

Order = Literal["others", "past"]


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
    sums = PathSums.of([*stable, *decays, Measured(rates, 0.0)])
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
    sums = PathSums.of([*stable, *decays])
    steps = np.array([len(point.rates) for point in (*stable, *decays)])
    found: list[Forecast] = []
    measured: list[float] = []
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
        measured.append(float(sums.losses[place]))
        errors.append(found[-1].loss - measured[-1])
    return Rehearsal(order, tuple(found), tuple(measured))


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


def _left_out(sums: PathSums, known: NDArray[np.int64], stable: int) -> list[float]:
    """Errors of known decays, each foreseen from the others; none for a single one."""
    errors = []
    for place in known[stable:] if len(known) > stable + 1 else ():
        law = fit_sums(sums.only(known[known != place]), stable)
        errors.append(foreseen_loss(sums, law, int(place)) - float(sums.losses[place]))
    return errors


def _forecast(
    sums: PathSums,
    known: NDArray[np.int64],
    stable: int,
    place: int,
    residuals: Sequence[float],
) -> Forecast:
    law = fit_sums(sums.only(known), stable)
    loss = foreseen_loss(sums, law, place)
    if len(residuals) < LEAST_RESIDUALS:
        return Forecast(loss, None, None, law, len(known) - stable)
    from scipy.special import stdtrit

    spread = math.sqrt(sum(error**2 for error in residuals) / len(residuals))
    half = float(stdtrit(len(residuals) - 1, (1 + CONFIDENCE) / 2)) * spread
    return Forecast(loss, loss - half, loss + half, law, len(known) - stable)
