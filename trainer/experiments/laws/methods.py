"""Which interval of a fit is the headline, and which stand beside it.

    seeds, and the law fits     parametric, from the noise of seeds
    else, with 5 sizes          jackknife over sizes
    else                        none: the data do not say how far off the law is

A law that fits misses only by what seeds do, so their noise tells how far its constants could lie
from these. Where it misses by more, another size would move them more than another seed.
"""

from __future__ import annotations

from typing import NamedTuple

from trainer.experiments.laws.lack_of_fit import LackOfFit, lack_of_fit
from trainer.experiments.laws.noise import Noise, seed_noise
from trainer.experiments.laws.objectives import Frame, Objective
from trainer.experiments.laws.points import Points
from trainer.experiments.laws.solve import Solution
from trainer.experiments.laws.spreads import (
    DRAWS,
    JACKKNIFE,
    LEAST_SIZES,
    LEAST_UNITS,
    PARAMETRIC,
    POINTS,
    SIZES,
    Spread,
    jackknife,
    parametric,
    resampled,
)

LEAST_SEEDS = 3
"""At half of the sizes or more, for the headline to rest on the noise of seeds."""


class Methods(NamedTuple):
    """Spreads by kind, the ``headline``'s kind and why it is that, and what decided it. ``test`` is
    the reason where there is no test of fit.
    """

    spreads: dict[str, Spread]
    headline: str | None
    because: str
    noise: Noise | None
    test: LackOfFit | str

    @property
    def spread(self) -> Spread | None:
        """The headline's."""
        return None if self.headline is None else self.spreads[self.headline]


def methods_of(
    objective: Objective,
    points: Points,
    frame: Frame,
    solution: Solution,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Methods:
    """All intervals that the points allow, of a law already fitted to them."""
    noise = seed_noise(points)
    test = lack_of_fit(points, frame, noise, solution.theta)
    sizes = int(points.size.max()) + 1
    spreads: dict[str, Spread] = {}
    theta = solution.theta
    if noise is not None:
        spreads[PARAMETRIC] = parametric(
            objective, points, frame, theta, noise, draws=draws, seed=seed
        )
    if sizes >= LEAST_SIZES:
        spreads[JACKKNIFE] = jackknife(objective, points, frame)
    units = {SIZES: sizes, POINTS: len(points) if sizes >= 3 else 0}
    for kind, count in units.items():
        if count >= LEAST_UNITS:
            spreads[kind] = resampled(objective, points, frame, theta, kind, draws=draws, seed=seed)
    return Methods(spreads, *_headline(noise, test, sizes), noise, test)


def _headline(noise: Noise | None, test: LackOfFit | str, sizes: int) -> tuple[str | None, str]:
    if noise is None:
        reason = "no size has two seeds"
    elif noise.seeds < LEAST_SEEDS or 2 * noise.replicated < sizes:
        reason = f"fewer than {LEAST_SEEDS} seeds at half of the sizes"
    elif isinstance(test, str):
        reason = test
    elif test.found:
        reason = f"the law misses by more than seeds explain (p = {test.p:.2g})"
    else:
        return PARAMETRIC, f"the law fits as well as seeds allow (p = {test.p:.2g})"
    if sizes >= LEAST_SIZES:
        return JACKKNIFE, reason
    return None, f"{reason}, and {sizes} sizes are fewer than {LEAST_SIZES}"
