"""The mixtures that a search may try: shares around a prior, within bounds, as whole millionths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError
from trainer.experiments.fits.mixture_proposals import STRENGTHS, Bounds, propose, within

Mixture = tuple[float, ...]
PLACES = 6

APART = 0.01
"""Share that has to move from one mixture drawn to another: what is held out is not fitted."""

ATTEMPTS = 40


@dataclass(frozen=True)
class Space:
    """Sources by ``names``, the ``prior`` share of each (above 0, adding to 1), and its bounds."""

    names: tuple[str, ...]
    prior: Mixture
    bounds: Bounds

    @property
    def default(self) -> Mixture:
        """The prior, within the bounds."""
        return self.within(self.prior)

    def draws(
        self,
        count: int,
        random_seed: int,
        strengths: tuple[float, float] = STRENGTHS,
        beside: Sequence[Mixture] = (),
    ) -> list[Mixture]:
        """Mixtures drawn around the prior
        (:func:`trainer.experiments.fits.mixture_proposals.propose`), each at least :data:`APART`
        from the others and from those ``beside``. Raises: UserError when the bounds leave no room
        for so many.
        """
        drawn: list[Mixture] = []
        for attempt in range(ATTEMPTS):
            seed = random_seed + 1_000_003 * attempt
            for row in propose(self.prior, count - len(drawn), seed, self.bounds, strengths):
                found = rounded(row)
                if all(distance(found, other) >= APART for other in (*beside, *drawn)):
                    drawn.append(found)
            if len(drawn) == count:
                return drawn
        raise UserError(
            "the bounds leave no room for so many mixtures",
            field=("design",),
            found=f"{len(drawn)} of {count} that differ by {APART:.0%} of the tokens",
            fix="widen least and most, or draw fewer mixtures",
        )

    def within(self, weights: Sequence[float]) -> Mixture:
        """Weights as a mixture within the bounds."""
        return rounded(within(np.asarray(weights, np.float64), self.bounds))

    def most_of(self, name: str) -> Mixture:
        """As much of one source as is allowed, the others in proportion to the prior."""
        place = self.names.index(name)
        least = list(self.bounds.least)
        others = sum(least) - least[place]
        least[place] = min(self.bounds.most[place], 1 - others)
        most = list(self.bounds.most)
        most[place] = least[place]
        return rounded(within(np.asarray(self.prior), Bounds(tuple(least), tuple(most))))

    def shares(self, mixture: Mixture) -> Mapping[str, float]:
        """Weights of a phase, sources without a share left out."""
        return {name: share for name, share in zip(self.names, mixture, strict=True) if share}


def rounded(shares: NDArray[np.float64]) -> Mixture:
    """Shares in whole millionths that add to 1, the largest taking up the rest.

    >>> rounded(np.array([1 / 3, 1 / 3, 1 / 3]))
    (0.333334, 0.333333, 0.333333)
    """
    units = np.rint(shares * 10**PLACES).astype(np.int64)
    units[int(np.argmax(shares))] += 10**PLACES - int(units.sum())
    return tuple(int(unit) / 10**PLACES for unit in units)


def distance(one: Mixture, other: Mixture) -> float:
    """Half the sum of absolute differences: the share that has to move."""
    return 0.5 * float(np.abs(np.subtract(one, other)).sum())
