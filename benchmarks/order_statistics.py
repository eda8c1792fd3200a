"""Intervals from order statistics: exact whatever the distribution."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from math import comb


def median_interval(values: Sequence[float], level: float = 0.95) -> dict[str, float]:
    """The median and its exact interval: the narrowest pair of order statistics that covers it.

    The number of values below the median is binomial (n, 1/2), whatever their distribution.
    """
    ordered, count = sorted(values), len(values)
    cut = 0
    while 2 * sum(comb(count, below) for below in range(cut + 1)) / 2**count <= 1 - level:
        cut += 1
    low = max(cut - 1, 0)
    return {
        "median": statistics.median(ordered),
        "low": ordered[low],
        "high": ordered[count - 1 - low],
    }
