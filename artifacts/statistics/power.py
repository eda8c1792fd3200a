"""Power: from the spread between seeds to the seeds that an effect of some size needs.

With n seeds a side, an effect e and the standard deviation s (of differences by seed where arms are
paired, else of single runs), t has the noncentral distribution with

    paired     n - 1 degrees of freedom,     noncentrality e sqrt(n) / s
    unpaired   2 (n - 1) degrees of freedom, noncentrality e sqrt(n / 2) / s

and power is the chance that \\|t\\| exceeds the two-sided limit at alpha (exact for normal losses).

>>> [round(half_width(seeds, 1.0), 2) for seeds in (2, 3, 4, 5, 8)]
[8.98, 2.48, 1.59, 1.24, 0.84]
>>> [round(power(seeds, 2.0, 1.0), 2) for seeds in (3, 4, 5)]
[0.47, 0.75, 0.91]
>>> seeds_needed(2.0, 1.0, target=0.9)
5
"""

from __future__ import annotations

import math

from artifacts.errors import UserError

MOST_SEEDS = 1_000_000


def half_width(seeds: int, deviation: float, *, paired: bool = True, alpha: float = 0.05) -> float:
    """Half of the interval at 1 - alpha of a difference between two arms of ``seeds`` each."""
    _check(deviation, alpha)
    _check_count(seeds)
    from scipy.special import stdtrit

    scale = math.sqrt((1 if paired else 2) / seeds)
    return float(stdtrit(_degrees(seeds, paired), 1 - alpha / 2)) * deviation * scale


def power(
    seeds: int, effect: float, deviation: float, *, paired: bool = True, alpha: float = 0.05
) -> float:
    """The chance that the interval of a difference leaves out zero, on either side."""
    _check(deviation, alpha)
    _check_count(seeds)
    if not math.isfinite(effect):
        raise UserError(
            "an effect is a finite number", parameter="effect", found=effect, fix="give a number"
        )
    from scipy.special import nctdtr, stdtrit

    degrees = _degrees(seeds, paired)
    shift = abs(effect) / deviation * math.sqrt(seeds / (1 if paired else 2))
    limit = stdtrit(degrees, 1 - alpha / 2)
    left = float(nctdtr(degrees, shift, limit))
    if math.isnan(left):  # its series ends in nan far out, where all of t is above the limit
        return 1.0 if shift > limit else 0.0
    right_side = 1 - left
    wrong_side = float(nctdtr(degrees, shift, -limit))  # nan where it is too small for a float
    return right_side + (0.0 if math.isnan(wrong_side) else wrong_side)


def seeds_needed(
    effect: float,
    deviation: float,
    *,
    target: float = 0.9,
    paired: bool = True,
    alpha: float = 0.05,
) -> int:
    """The fewest seeds a side whose power is at least ``target``.

    Raises: UserError for an effect of 0, a target outside (0, 1), and more than a million seeds.
    """
    _check(deviation, alpha)
    if not (math.isfinite(effect) and effect != 0):
        raise UserError(
            "no number of seeds shows an effect of this size",
            parameter="effect",
            found=effect,
            allowed=["a finite number other than 0"],
            fix="give the smallest difference that would matter",
        )
    if not alpha < target < 1:
        raise UserError(
            "power lies between alpha and 1",
            parameter="target",
            found=target,
            allowed=[f"above {alpha} and below 1"],
            fix="give 0.8 or 0.9",
        )
    low, high = 1, 2
    while power(high, effect, deviation, paired=paired, alpha=alpha) < target:
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            raise UserError(
                "the effect is too small beside the spread between seeds",
                parameter="effect",
                found=effect,
                allowed=[f"what at most {MOST_SEEDS:,} seeds can show"],
                fix="give a larger effect, or pair the arms by seed to make the spread smaller",
            )
    while high - low > 1:
        middle = (low + high) // 2
        enough = power(middle, effect, deviation, paired=paired, alpha=alpha) >= target
        low, high = (low, middle) if enough else (middle, high)
    return high


def _degrees(seeds: int, paired: bool) -> int:
    return (seeds - 1) * (1 if paired else 2)


def _check(deviation: float, alpha: float) -> None:
    if not (math.isfinite(deviation) and deviation > 0):
        raise UserError(
            "a standard deviation is above 0",
            parameter="deviation",
            found=deviation,
            fix="take it from at least two runs that differ in the seed alone",
        )
    if not 0 < alpha < 1:
        raise UserError(
            "alpha is a probability",
            parameter="alpha",
            found=alpha,
            allowed=["above 0 and below 1"],
            fix="give 0.05",
        )


def _check_count(seeds: int) -> None:
    if seeds < 2:
        raise UserError(
            "the noise of seeds cannot be seen in one",
            parameter="seeds",
            found=seeds,
            allowed=["2 or more"],
            fix="give at least 2 seeds",
        )
