"""Verdicts: shown, refuted or cannot tell, by an interval against a margin fixed beforehand.

With d the true difference, candidate minus reference, of a figure of which less is better (losses:
margin 0.02 nats; an optimum's shift: one grid step), m the margin and [low, high] the two-sided
interval at 1 - alpha:

    claim        says            shown                    refuted
    better       d < -m          high < -m                low > -m
    worse        d > m           low > m                  high < m
    equivalent   -m <= d <= m    low > -m and high < m    low > m or high < -m
    not worse    d <= m          high < m                 low > m

Anything else is *cannot tell*: add seeds. Shown is no more than that the claim's opposite was
rejected, and refuted that the claim was. So a better of margin 0.02 is refuted where the interval
lies wholly above -0.02, even if the candidate is a little better. Equivalence is shown by two
one-sided tests (Schuirmann 1987) at alpha / 2 each, which is the interval inside the margin.

Within a family p is adjusted by Holm, and a claim is decided where its adjusted p is at most alpha.
p is twice the smaller of the p of both opposites, so the chance of any wrong conclusion, on either
side, stays at alpha for independent estimates (Shaffer, Annals of Statistics 8, 1980).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from artifacts.errors import UserError
from artifacts.statistics.estimates import Estimate
from artifacts.statistics.families import holm
from artifacts.statistics.margins import checked, equivalence, inferiority, not_worse, superiority

Kind = Literal["better", "worse", "equivalent", "not worse"]
Conclusion = Literal["shown", "refuted", "cannot tell"]

ALPHA = 0.05

LOSS_MARGIN = 0.02
"""Nats: a difference of losses below it does not matter."""

GRID_STEP = 1.0
"""Grid steps: an optimum that moves by less has not moved as far as the grid can see."""


@dataclass(frozen=True)
class Claim:
    """What was to be found out. ``difference``: candidate minus reference; None where it has no
    interval, with the ``reason`` (one seed, an optimum at the grid's edge). ``unit`` of the margin.
    """

    name: str
    kind: Kind
    difference: Estimate | None
    margin: float = LOSS_MARGIN
    unit: str = "nats"
    reason: str | None = None

    def __post_init__(self) -> None:
        checked(self.margin)
        if self.difference is None and not self.reason:
            raise UserError(
                "a claim without an estimate says why",
                parameter="reason",
                found=self.name,
                fix="give the reason, for example reason='one seed'",
            )
        if self.kind in ("equivalent", "not worse") and self.margin == 0:
            raise UserError(
                f"nothing can be shown to be {self.kind} without a margin",
                parameter="margin",
                found=self.margin,
                allowed=["above 0"],
                fix=f"fix the margin before the runs are made, such as {LOSS_MARGIN} nats",
            )


@dataclass(frozen=True)
class Verdict:
    """The conclusion about a claim, the ``interval`` at 1 - alpha it rests on (not widened for the
    family), ``p`` of the conclusion's opposite, and ``adjusted`` for the family.
    """

    claim: Claim
    conclusion: Conclusion
    interval: tuple[float, float] | None
    p: float
    adjusted: float
    alpha: float
    family: int

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        claim = self.claim
        low, high = self.interval or (None, None)
        return {
            "claim": claim.name,
            "kind": claim.kind,
            "verdict": self.conclusion,
            "estimate": None if claim.difference is None else claim.difference.value,
            "error": None if claim.difference is None else claim.difference.error,
            "degrees": None if claim.difference is None else claim.difference.degrees,
            "low": low,
            "high": high,
            "margin": claim.margin,
            "unit": claim.unit,
            "p": self.p,
            "p_adjusted": self.adjusted,
            "alpha": self.alpha,
            "family": self.family,
            "reason": claim.reason,
        }


def judge(claims: Sequence[Claim], alpha: float = ALPHA) -> list[Verdict]:
    """Verdicts of a family of claims, in their order.

    A claim without an estimate counts in the family and cannot be told. Raises: UserError for two
    claims of one name, and for an alpha outside (0, 1).
    """
    names = [claim.name for claim in claims]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(
            "claims of one family have names of their own",
            parameter="claims",
            found=", ".join(twice),
            fix="name each by what it compares",
        )
    if not 0 < alpha < 1:
        raise UserError(
            "alpha is a probability",
            parameter="alpha",
            found=alpha,
            allowed=["above 0 and below 1"],
            fix="give 0.05",
        )
    both = [_chances(claim) for claim in claims]
    p = [min(1.0, 2 * min(chances)) for chances in both]
    return [
        _verdict(claim, chances, raw, adjusted, alpha, len(claims))
        for claim, chances, raw, adjusted in zip(claims, both, p, holm(p), strict=True)
    ]


def _chances(claim: Claim) -> tuple[float, float]:
    """p of what the claim denies, and p of the claim; each one-sided."""
    difference, margin = claim.difference, claim.margin
    if difference is None:
        return 1.0, 1.0
    match claim.kind:
        case "better":
            return superiority(difference, margin), difference.p_above(-margin)
        case "worse":
            return inferiority(difference, margin), difference.p_below(margin)
        case "not worse":
            return not_worse(difference, margin), inferiority(difference, margin)
        case "equivalent":
            outside = min(superiority(difference, margin), inferiority(difference, margin))
            return equivalence(difference, margin), outside


def _verdict(
    claim: Claim,
    chances: tuple[float, float],
    p: float,
    adjusted: float,
    alpha: float,
    family: int,
) -> Verdict:
    conclusion: Conclusion = "cannot tell"
    if adjusted <= alpha:
        conclusion = "shown" if chances[0] < chances[1] else "refuted"
    interval = None if claim.difference is None else claim.difference.interval(1 - alpha)
    return Verdict(claim, conclusion, interval, p, adjusted, alpha, family)
