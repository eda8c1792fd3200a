"""Tests of a difference against a margin that was fixed beforehand.

Differences are of losses, so that less is better. With t the estimate's Student distribution:

    superiority(d, m)     p of "d >= -m" against "d < -m": better by more than the margin
    inferiority(d, m)     p of "d <= m"  against "d > m":  worse by more than the margin
    not_worse(d, m)       p of "d >= m"  against "d < m":  not worse by the margin
    equivalence(d, m)     the larger p of two one-sided tests, "d <= -m" and "d >= m"
                          (Schuirmann, J. Pharmacokinetics and Biopharmaceutics 15, 1987)

A p below half of alpha of a one-sided test says the same as the two-sided interval at 1 - alpha
that lies wholly on that side of the bound.
"""

from __future__ import annotations

import math

from artifacts.errors import UserError
from artifacts.statistics.estimates import Estimate


def superiority(difference: Estimate, margin: float = 0.0) -> float:
    """p of a difference that is not below minus the margin."""
    return difference.p_below(-checked(margin))


def inferiority(difference: Estimate, margin: float = 0.0) -> float:
    """p of a difference that is not above the margin."""
    return difference.p_above(checked(margin))


def not_worse(difference: Estimate, margin: float) -> float:
    """p of a difference that is not below the margin."""
    return difference.p_below(checked(margin))


def equivalence(difference: Estimate, margin: float) -> float:
    """p of a difference that is not within the margin on both sides."""
    return max(difference.p_below(checked(margin)), difference.p_above(-margin))


def checked(margin: float) -> float:
    """Raises: UserError for a margin that is negative or not finite."""
    if not (math.isfinite(margin) and margin >= 0):
        raise UserError(
            "a margin is a distance",
            parameter="margin",
            found=margin,
            allowed=["0 or more, in the unit of the difference"],
            fix="give the margin without a sign",
        )
    return margin
