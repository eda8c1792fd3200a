"""Estimates with a standard error: means over seeds, and differences between two arms.

Seeds are the units. Arms that share seeds (same start, same order of the data, same held-out
windows) are compared by :func:`paired_difference`; arms that do not, by :func:`difference`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.statistics.intervals import CONFIDENCE, Variance, interval_of

LEAST_SEEDS = 2
"""Without which the noise of seeds is not known; 3 or more are recommended."""


@dataclass(frozen=True)
class Estimate:
    """A figure whose distance from the truth, divided by ``error``, has Student's t distribution
    with ``degrees`` of freedom.
    """

    value: float
    error: float
    degrees: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and 0 <= self.error < math.inf and self.degrees > 0):
            raise UserError(
                "an estimate needs a finite value and error, and degrees of freedom above 0",
                found=f"value {self.value}, error {self.error}, degrees {self.degrees}",
                fix="give at least two finite values that vary over seeds",
            )

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Low and high ends, two-sided."""
        from scipy.special import stdtrit  # half a second, for those who ask

        half = float(stdtrit(self.degrees, (1 + confidence) / 2)) * self.error
        return self.value - half, self.value + half

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.interval()[0]

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.interval()[1]

    def p_below(self, bound: float) -> float:
        """p of the hypothesis that the truth is at least ``bound``, against that it lies below.

        Without error it is 0 below the bound, else 1.
        """
        return self._p(self.value - bound)

    def p_above(self, bound: float) -> float:
        """p of the hypothesis that the truth is at most ``bound``, against that it lies above."""
        return self._p(bound - self.value)

    def scaled(self, factor: float) -> Estimate:
        """The same in another unit, ``factor`` of which make one of this."""
        return Estimate(self.value * factor, self.error * abs(factor), self.degrees)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values, with the 95 % interval."""
        low, high = self.interval()
        return {
            "value": self.value,
            "error": self.error,
            "degrees": self.degrees,
            "low": low,
            "high": high,
        }

    def _p(self, distance: float) -> float:
        if self.error == 0:
            return 0.0 if distance < 0 else 1.0
        from scipy.special import stdtr

        return float(stdtr(self.degrees, distance / self.error))


def mean_of(values: Sequence[float]) -> Estimate:
    """The mean of independent values (at least two), with its t interval.

    Raises: UserError for fewer values and for those that are not finite.
    """
    column = finite(values, "values")
    _check_seeds(len(column))
    variance = Variance.of_mean(column)
    return Estimate(float(column.mean()), variance.deviation, variance.degrees)


def paired_difference(
    first: Mapping[Hashable, float], second: Mapping[Hashable, float]
) -> Estimate:
    """First minus second, both by seed, paired by seed: the t interval of the mean difference with
    one degree of freedom less than there are seeds.

    Raises: UserError where the seeds of both differ, are fewer than two, or a value is not finite.
    """
    alone = sorted(str(seed) for seed in set(first) ^ set(second))
    if alone:
        raise UserError(
            "each seed of one side needs the same seed on the other",
            found=f"seeds that only one side has: {', '.join(alone)}",
            fix="run the missing seeds, or compare without pairs",
        )
    one = finite([first[seed] for seed in first], "first")
    other = finite([second[seed] for seed in first], "second")
    return mean_of((one - other).tolist())


def difference(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Mean of first minus mean of second, of independent seeds: Welch's t interval.

    Raises: UserError for fewer than two values a side and for those that are not finite.
    """
    sides = [finite(first, "first"), finite(second, "second")]
    for side in sides:
        _check_seeds(len(side))
    value = float(sides[0].mean() - sides[1].mean())
    bounds = interval_of(value, [Variance.of_mean(side) for side in sides])
    return Estimate(value, bounds.error, bounds.degrees)


def finite(values: Sequence[float], parameter: str) -> NDArray[np.float64]:
    """Values as a column. Raises: UserError that names the first that is not finite."""
    column = np.asarray(values, np.float64)
    wrong = np.flatnonzero(~np.isfinite(column))
    if len(wrong):
        raise UserError(
            "every value has to be a finite number",
            parameter=(parameter, int(wrong[0])),
            found=float(column[wrong[0]]),
            fix="leave runs that diverged out of means, and report them by their reason",
        )
    return column


def _check_seeds(seeds: int) -> None:
    if seeds < LEAST_SEEDS:
        raise UserError(
            "the noise of seeds cannot be seen in one",
            found=f"{seeds} seeds",
            allowed=[f"at least {LEAST_SEEDS}, better 3 or more"],
            fix="run further seeds",
        )
