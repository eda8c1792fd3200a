"""How long a decay is that begins at a checkpoint: tokens, or a share of all tokens at its end.

    10 %        of everything shown at the end, WSD(D, 0.1 D) of the paper (arXiv 2404.06395, Eq. 1)
    300_000     tokens

>>> DecayLength.parse("10%").tokens_after(900)
100
>>> DecayLength.parse("300_000").tokens_after(900)
300000
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from artifacts.errors import UserError
from mixtures.spec.phase import MOST_TOKENS


@dataclass(frozen=True)
class DecayLength:
    """``share`` of all tokens at the end, between 0 and 1, or ``tokens``."""

    share: Fraction | None
    tokens: int | None

    @classmethod
    def parse(cls, text: str) -> DecayLength:
        """What ``10%`` or ``300_000`` says. Raises: UserError for anything else."""
        said = text.strip()
        try:
            if said.endswith("%"):
                share = Fraction(said[:-1].strip()) / 100
                if 0 < share < 1:
                    return cls(share, None)
            else:
                tokens = int(said.replace(",", "_"))
                if 0 < tokens <= MOST_TOKENS:
                    return cls(None, tokens)
        except (ValueError, ZeroDivisionError):
            pass
        raise UserError(
            "not the length of a decay",
            parameter="decay",
            found=text,
            allowed=["a share of all tokens at the end, as 10%", "tokens, as 300_000"],
            fix="a share lies between 0 and 100 %, and tokens are at least 1",
        )

    def tokens_after(self, before: int) -> int:
        """Tokens of the decay after ``before`` tokens, rounded up to whole ones; rounding up to
        whole batches is the plan's.
        """
        if self.tokens is not None:
            return self.tokens
        assert self.share is not None
        exact = self.share * before / (1 - self.share)
        return max(1, -(-exact.numerator // exact.denominator))
