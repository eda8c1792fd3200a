"""Intervals from variances that were estimated, each with its degrees of freedom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


class Variance(NamedTuple):
    """An estimated variance and its degrees of freedom."""

    value: float
    degrees: float

    @classmethod
    def of_mean(cls, values: NDArray[np.float64]) -> Variance:
        """Of the mean of independent values (at least two)."""
        return cls(float(values.var(ddof=1) / len(values)), len(values) - 1)

    @property
    def deviation(self) -> float:
        """The standard deviation."""
        return float(np.sqrt(self.value))

    def deviation_interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Bounds of the standard deviation, of normal values, by chi-squared."""
        from scipy.special import chdtri  # half a second, for those who ask

        tail = (1 - confidence) / 2
        squares = self.value * self.degrees
        low, high = (squares / chdtri(self.degrees, area) for area in (tail, 1 - tail))
        return float(np.sqrt(low)), float(np.sqrt(high))


class Bounds(NamedTuple):
    """Of a 95 % interval: the standard ``error``, ``degrees`` of freedom, ``low`` and ``high``."""

    error: float
    degrees: float
    low: float
    high: float


def interval_of(estimate: float, parts: Sequence[Variance]) -> Bounds:
    """The 95 % interval of an estimate whose variance is the sum of independent estimates, by
    Student's t with the degrees of freedom of Satterthwaite (Biometrics Bulletin 2, 1946); of two
    means' variances it is Welch's. A part that others count twice is negative; the sum is never
    taken to be less than one of the parts.

    >>> [round(value, 4) for value in interval_of(1.0, [Variance(0.04, 4.0)])]
    [0.2, 4.0, 0.4447, 1.5553]
    """
    from scipy.special import stdtrit  # half a second, for those who ask

    variance = max(sum(part.value for part in parts), *(part.value for part in parts), 0.0)
    squares = sum(part.value**2 / part.degrees for part in parts)
    degrees = variance**2 / squares if squares > 0 else min(part.degrees for part in parts)
    error = float(np.sqrt(variance))
    half = float(stdtrit(degrees, (1 + CONFIDENCE) / 2)) * error
    return Bounds(error, degrees, estimate - half, estimate + half)
