"""Families of claims: p adjusted so that the chance of any false one stays at alpha.

>>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
[0.03, 0.06, 0.06]
"""

from __future__ import annotations

from collections.abc import Sequence

from artifacts.errors import UserError


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p, in the order given (Holm, Scandinavian Journal of Statistics 6, 1979): with m
    claims and p sorted, the largest of (m - j + 1) p_j up to the claim's own place, at most 1.

    Raises: UserError for a p that is not between 0 and 1.
    """
    for place, value in enumerate(p):
        if not 0 <= value <= 1:
            raise UserError(
                "p is a probability",
                parameter=("p", place),
                found=value,
                allowed=["0 to 1"],
                fix="give a claim that could not be tested p=1",
            )
    adjusted = [0.0] * len(p)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda place: p[place])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = largest
    return adjusted
