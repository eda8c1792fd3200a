"""Correlation of ranks, with an interval.

Spearman's r and Kendall's tau-b by Fisher's z: atanh(r) is normal with variance (1 + r^2/2)/(n - 3)
for r (Bonett and Wright, Psychometrika 65, 2000) and 0.437/(n - 4) for tau (Fieller and others,
Biometrika 44, 1957). Where all ranks agree, the low end is that of half a swap of neighbours, since
z has no end there. Up to 7 pairs p is exact, over all orders; above, by Student's t, or for tau by
the normal distribution.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.statistics.estimates import finite
from artifacts.statistics.intervals import CONFIDENCE

Array = NDArray[np.float64]
Kind = Literal["spearman", "kendall"]

EXACT = 7
"""Pairs up to which all orders are counted."""

_LEAST: dict[Kind, int] = {"spearman": 4, "kendall": 5}


@dataclass(frozen=True)
class RankCorrelation:
    """``value`` of ``pairs`` pairs, ``low`` and ``high`` of its 95 % interval (None where there are
    too few pairs), and ``p`` of no association, two-sided.
    """

    kind: Kind
    value: float
    low: float | None
    high: float | None
    p: float
    pairs: int

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return dict(vars(self))


def spearman(first: Sequence[float], second: Sequence[float]) -> RankCorrelation:
    """Correlation of the ranks, ties at their mean rank.

    Raises: UserError for columns of different lengths, fewer than 3 pairs, values that are not
    finite, and a column without any variation.
    """
    return _correlation("spearman", first, second)


def kendall(first: Sequence[float], second: Sequence[float]) -> RankCorrelation:
    """Kendall's tau-b: agreeing pairs minus disagreeing ones, over those without ties.

    Raises: as :func:`spearman`.
    """
    return _correlation("kendall", first, second)


def ranks(values: Array) -> Array:
    """Ranks from 1, ties at their mean rank."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: Array = (ends - (counts - 1) / 2)[places]
    return means


def _correlation(kind: Kind, first: Sequence[float], second: Sequence[float]) -> RankCorrelation:
    one, other = _columns(first, second)
    pairs = len(one)
    value = _value(kind, one, other)
    low, high = _interval(kind, value, pairs)
    return RankCorrelation(kind, value, low, high, _p(kind, one, other, value), pairs)


def _columns(first: Sequence[float], second: Sequence[float]) -> tuple[Array, Array]:
    one, other = finite(first, "first"), finite(second, "second")
    if len(one) != len(other) or len(one) < 3:
        raise UserError(
            "ranks are compared of at least 3 pairs",
            found=f"{len(one)} and {len(other)} values",
            fix="give both columns a value for each of the same things",
        )
    for name, column in (("first", one), ("second", other)):
        if np.ptp(column) == 0:
            raise UserError(
                "values that are all the same have no ranks",
                parameter=name,
                found=f"{len(column)} times {column[0]}",
                fix="compare things that differ",
            )
    return ranks(one), ranks(other)


def _value(kind: Kind, one: Array, other: Array) -> float:
    return float(_values(kind, one, other[None])[0])


def _values(kind: Kind, one: Array, others: Array) -> Array:
    """Of one column with each of several, as rows (R, N)."""
    if kind == "spearman":
        a, b = one - one.mean(), others - others.mean(1, keepdims=True)
    else:
        left, right = np.triu_indices(len(one), 1)
        a, b = np.sign(one[left] - one[right]), np.sign(others[:, left] - others[:, right])
    scale = np.sqrt((a * a).sum() * (b * b).sum(1))
    found: Array = np.clip(b @ a / scale, -1, 1)
    return found


def _interval(kind: Kind, value: float, pairs: int) -> tuple[float | None, float | None]:
    if pairs < _LEAST[kind]:
        return None, None
    from scipy.special import ndtri

    swap = 6 / (pairs * (pairs**2 - 1)) if kind == "spearman" else 2 / (pairs * (pairs - 1))
    inside = float(np.clip(value, swap - 1, 1 - swap))
    by_kind = {"spearman": (1 + inside**2 / 2) / (pairs - 3), "kendall": 0.437 / (pairs - 4 or 1)}
    half = float(ndtri((1 + CONFIDENCE) / 2)) * math.sqrt(by_kind[kind])
    low, high = (math.tanh(math.atanh(inside) + side * half) for side in (-1, 1))
    return (-1.0 if value == -1 else low), (1.0 if value == 1 else high)


def _p(kind: Kind, one: Array, other: Array, value: float) -> float:
    pairs = len(one)
    if pairs <= EXACT:
        orders = np.array(list(itertools.permutations(range(pairs))))
        return float((np.abs(_values(kind, one, other[orders])) >= abs(value) - 1e-12).mean())
    from scipy.special import ndtr, stdtr

    if kind == "spearman":
        if abs(value) == 1:
            return 0.0
        t = abs(value) * math.sqrt((pairs - 2) / (1 - value**2))
        return float(2 * stdtr(pairs - 2, -t))
    z = abs(value) / math.sqrt(2 * (2 * pairs + 5) / (9 * pairs * (pairs - 1)))
    return float(2 * ndtr(-z))
