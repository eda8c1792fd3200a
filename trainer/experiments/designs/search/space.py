"""Where a search looks: ranges of four values, evenly in their logarithms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

from pydantic import Field, model_validator

from artifacts.errors import UserError
from artifacts.settings import Part

Value = Annotated[float, Field(gt=0, allow_inf_nan=False)]
DIGITS = 4
"""Significant digits of a value, so that the last bits of a proposal do not count."""


class Values(NamedTuple):
    """What a trial sets."""

    scale_depth: float
    scale_emb: float
    init_std: float
    lr: float


PAPER = Values(scale_depth=1.4, scale_emb=12.0, init_std=0.1, lr=0.01)
"""What the paper's search found (arXiv 2404.06395, appendix A.1)."""


class Range(Part):
    """From ``low`` to ``high``."""

    low: Value
    high: Value

    @model_validator(mode="after")
    def _rises(self) -> Range:
        if not self.low < self.high:
            raise UserError(
                "a range rises",
                field=("design", "space"),
                found=f"low {self.low:g}, high {self.high:g}",
                fix="give a low end below the high one",
            )
        return self

    def at(self, share: float) -> float:
        """The value at a share of the way, from 0 to 1, in logarithms."""
        low, high = math.log(self.low), math.log(self.high)
        return self.within(math.exp(low + share * (high - low)))

    def share(self, value: float) -> float:
        """Where a value lies on the way."""
        return math.log(value / self.low) / math.log(self.high / self.low)

    def within(self, value: float) -> float:
        """Rounded to :data:`DIGITS`, and not beyond the ends."""
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


class Space(Part):
    """Ranges by default are those of the axes of the paper's figure 14, read by machine."""

    scale_depth: Range = Range(low=1.0, high=8.0)
    scale_emb: Range = Range(low=2.5, high=20.0)
    init_std: Range = Range(low=0.025, high=0.2)
    lr: Range = Range(low=0.002, high=0.05)

    @property
    def ranges(self) -> dict[str, Range]:
        """By name, in the order of :class:`Values`."""
        return {name: getattr(self, name) for name in Values._fields}

    def at(self, shares: Sequence[float]) -> Values:
        """The values at these shares of their ranges."""
        ranges = self.ranges.values()
        return Values(*(one.at(share) for one, share in zip(ranges, shares, strict=True)))

    def shares(self, values: Values) -> list[float]:
        """Where values lie in their ranges."""
        return [one.share(value) for one, value in zip(self.ranges.values(), values, strict=True)]

    def within(self, values: Values) -> Values:
        """Rounded, and inside."""
        ranges = self.ranges.values()
        return Values(*(one.within(value) for one, value in zip(ranges, values, strict=True)))


def first_points(space: Space, count: int, seed: int) -> list[Values]:
    """Scrambled Sobol points, which fill the space evenly where ``count`` is a power of two."""
    import numpy as np
    from scipy.stats import qmc

    shares = qmc.Sobol(len(Values._fields), seed=np.random.default_rng(seed)).random(count)
    return [space.at([float(share) for share in row]) for row in shares]
