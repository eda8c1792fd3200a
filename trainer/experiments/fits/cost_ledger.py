"""The cost of decays that branch from one stable run, beside a run of its own for each length.

For end points d_1 < ... < d_m, in tokens with their decay included, of which the last share f
decays (arXiv 2404.06395, section 4.5, where totals leave the decay out):

    separate runs (cosine, or WSD each)     sum d_i
    one stable run with branches            (1 - f) max d_i + f sum d_i

>>> round(branching([10, 15, 20, 30, 40, 60]).ratio, 3)
0.409
>>> round(branching([1, 2, 4, 8, 16]).ratio, 3)
0.565
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from artifacts.errors import UserError


class Branch(NamedTuple):
    """A decay: the tokens its trunk had seen where it starts, and those of its own."""

    start: int
    tokens: int


@dataclass(frozen=True)
class Trunk:
    """A stable run of ``tokens``, what it costs a token in operations, and its branches."""

    tokens: int
    branches: tuple[Branch, ...]
    operations_per_token: float = 1.0


@dataclass(frozen=True)
class Ledger:
    """Operations of branches with their trunks, trunk tokens counted once, and of separate runs to
    the same ends.
    """

    branched: float
    separate: float

    @property
    def ratio(self) -> float:
        """Branched over separate."""
        return self.branched / self.separate

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {"branched": self.branched, "separate": self.separate, "ratio": self.ratio}


def branching(
    totals: Sequence[float], decay: float = 0.1, operations_per_token: float = 1.0
) -> Ledger:
    """The ledger of ends at ``totals`` tokens, the last share ``decay`` of each in the decay.

    Exact in rational arithmetic up to the last rounding. Raises: UserError without totals, for one
    that is not above 0, and for a share outside [0, 1].
    """
    ends = [_positive(total, "totals", place) for place, total in enumerate(totals)]
    if not ends:
        raise UserError(
            "a ledger needs an end point", parameter="totals", found="none", fix="give totals"
        )
    if not 0 <= decay <= 1:
        raise UserError(
            "the share of a run that decays",
            parameter="decay",
            found=decay,
            allowed=["0 to 1"],
            fix="give 0.1 for a tenth of all tokens",
        )
    share, cost = Fraction(str(decay)), _positive(operations_per_token, "operations_per_token")
    branched = (1 - share) * max(ends) + share * sum(ends)
    return Ledger(float(cost * branched), float(cost * sum(ends)))


def ledger_of(trunks: Sequence[Trunk]) -> Ledger:
    """The ledger of runs that were made: each trunk once, whatever branches from it, and its
    branches; beside it a run of its own to the end of each branch.

    Raises: UserError for a branch that starts after its trunk ends, and without any branch.
    """
    branched, separate = Fraction(0), Fraction(0)
    for number, trunk in enumerate(trunks):
        cost = _positive(trunk.operations_per_token, "operations_per_token", number)
        for branch in trunk.branches:
            if not 0 <= branch.start <= trunk.tokens or branch.tokens < 0:
                raise UserError(
                    "a branch starts within its trunk",
                    parameter=("trunks", number),
                    found=f"start {branch.start:,}, tokens {branch.tokens:,}",
                    allowed=[f"a start from 0 to {trunk.tokens:,}, tokens from 0"],
                    fix="give tokens, not steps, and those of the trunk up to its last checkpoint",
                )
            separate += cost * (branch.start + branch.tokens)
            branched += cost * branch.tokens
        branched += cost * trunk.tokens
    if separate == 0:
        raise UserError(
            "nothing to compare: no trunk has a branch",
            parameter="trunks",
            found=f"{len(trunks)} trunks",
            fix="give at least one branch",
        )
    return Ledger(float(branched), float(separate))


def _positive(value: float, *address: str | int) -> Fraction:
    if not (math.isfinite(value) and value > 0):
        raise UserError(
            "a finite number above 0 is needed",
            parameter=address,
            found=value,
            fix="give tokens, or operations a token",
        )
    return Fraction(value)
