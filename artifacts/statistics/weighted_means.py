"""The interval of a mean over groups of what was measured, each with a weight.

>>> round(half_width([10, 20, 10], [2.0, 2.1, 2.4]), 3)
0.406
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from artifacts.statistics.intervals import CONFIDENCE


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
