"""Shares in whole units: weights of a recipe as integers that sum to 2^18, exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from artifacts.errors import Address, UserError, address_of
from mixtures.plan.format import PinnedSource, SourceContext
from mixtures.sequences.chairman import SHARE_UNITS, Shares


def shares_of(
    weights: Mapping[str, float],
    names: Sequence[str],
    field: str | Address,
    fills: Mapping[str, float] | None = None,
) -> Shares:
    """The weights of a phase, shares of tokens, as shares of windows in units, by the order of
    ``names``; no weight is 0.

    ``fills``: what part of a source's windows is tokens, where it is not all: such a source gets
    more windows for its tokens.
    Raises: UserError when a weight is above 0 and below one unit.
    """
    for name, weight in weights.items():
        if 0 < weight < 1 / SHARE_UNITS:
            raise UserError(
                "a weight too small to plan with",
                field=(*address_of(field), name),
                found=weight,
                allowed=["0", f"at least 1/{SHARE_UNITS}"],
            )
    return apportioned(
        [
            Fraction(weights.get(name, 0.0)) / Fraction((fills or {}).get(name, 1.0))
            for name in names
        ]
    )


def fill_of(pinned: PinnedSource, own: SourceContext, window: int) -> float:
    """What part of a source's windows is tokens: 1 for a stream, less where whole documents leave
    padding.
    """
    return (
        pinned.tokens / (own.windows * window)
        if pinned.packing == "documents" and own.windows
        else 1.0
    )


def between(start: Shares, end: Shares, part: Fraction) -> Shares:
    """Shares a part of the way from start to end."""
    return apportioned(
        [first * (1 - part) + last * part for first, last in zip(start, end, strict=True)]
    )


def apportioned(values: Sequence[Fraction]) -> Shares:
    """Integers that sum to :data:`SHARE_UNITS`, in proportion to the values: largest remainders,
    ties to the first.
    """
    total = sum(values, Fraction())
    exact = [value * SHARE_UNITS / total for value in values]
    whole = [int(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda place: whole[place] - exact[place])
    for place in by_remainder[: SHARE_UNITS - sum(whole)]:
        whole[place] += 1
    return tuple(whole)
