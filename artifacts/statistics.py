"""How sure a figure is: intervals for means over groups of what was measured.

>>> round(half_width([10, 20, 10], [2.0, 2.1, 2.4]), 3)
0.406
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


def half_width(weights: Sequence[float], values: Sequence[float]) -> float | None:
    """Half of the 95 % interval of the mean of ``values`` weighted by ``weights``, whose groups are
    independent draws: the variance of a ratio estimator (Cochran, Sampling Techniques, 1977,
    section 6.3), and Student's t with one degree of freedom less than there are groups.

    None where fewer than two groups have a weight.
    """
    weight, value = (np.asarray(column, np.float64) for column in (weights, values))
    weight, value = weight[weight > 0], value[weight > 0]
    groups = len(weight)
    if groups < 2:
        return None
    from scipy.special import stdtrit  # half a second, for those who ask

    mean = (weight * value).sum() / weight.sum()
    squares = ((weight * (value - mean)) ** 2).sum() * groups / (groups - 1)
    return float(stdtrit(groups - 1, (1 + CONFIDENCE) / 2) * np.sqrt(squares) / weight.sum())


class Variance(NamedTuple):
    """An estimated variance and its degrees of freedom."""

    value: float
    degrees: float

    @classmethod
    def of_mean(cls, values: NDArray[np.float64]) -> Variance:
        """Of the mean of independent values (at least two)."""
        return cls(float(values.var(ddof=1) / len(values)), len(values) - 1)


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
