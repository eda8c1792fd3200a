"""Arms of an experiment: their losses by source and seed, and differences paired by seed.

    arms = Arms.of(measured, base.primary.unit)
    arms.losses("decay", ("sft",))                    # {1: 2.31, 2: 2.35}, by seed
    arms.contrast("decay", "none", ("web-en", "code"))    # of the mean over both sources

Arms of one seed share weights at the start and the order of every source, so that their difference
varies far less from seed to seed than each does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from artifacts.statistics.estimates import Estimate, paired_difference
from trainer.experiments.design import Measured
from trainer.experiments.findings import Cell
from trainer.experiments.outcomes import Outcome, Primary, Unit
from trainer.experiments.verdicts import Claim, Kind

Sources = tuple[str, ...]


@dataclass(frozen=True)
class Arms:
    """Outcomes by arm and seed; ``unit`` of their losses."""

    outcomes: Mapping[str, Mapping[int, Outcome]]
    unit: Unit = "nats"

    @classmethod
    def of(cls, measured: Iterable[Measured], unit: Unit) -> Arms:
        """Of points that are labelled ``arm`` and ``seed``."""
        outcomes: dict[str, dict[int, Outcome]] = {}
        for one in measured:
            outcomes.setdefault(str(one["arm"]), {})[int(one["seed"])] = one.outcome
        return cls(outcomes, unit)

    def losses(self, arm: str, sources: Sources) -> dict[int, float]:
        """The mean loss over sources, by seed; runs that diverged are left out."""
        primary = Primary(sources=sources, unit=self.unit)
        found = {seed: primary.of(one) for seed, one in self.outcomes.get(arm, {}).items()}
        return {seed: loss for seed, loss in sorted(found.items()) if loss is not None}

    def mean(self, arm: str, sources: Sources) -> float | None:
        """The mean of :meth:`losses`, None without any."""
        losses = self.losses(arm, sources)
        return math.fsum(losses.values()) / len(losses) if losses else None

    def contrast(self, first: str, second: str, sources: Sources) -> Estimate | None:
        """First minus second over the seeds that both have; None for fewer than two of them."""
        one, other = self.losses(first, sources), self.losses(second, sources)
        shared = sorted(one.keys() & other.keys())
        if len(shared) < 2:
            return None
        return paired_difference({s: one[s] for s in shared}, {s: other[s] for s in shared})

    def claim(
        self, name: str, kind: Kind, pair: tuple[str, str], sources: Sources, margin: float
    ) -> Claim:
        """That the first arm of a pair is ``kind`` against the second, by its mean loss over
        sources.
        """
        if not sources:
            return Claim(name, kind, None, margin, self.unit, "no source is left to measure it on")
        difference = self.contrast(*pair, sources)
        reason = None if difference else "fewer than two seeds of both arms came to an end"
        return Claim(name, kind, difference, margin, self.unit, reason)

    def spread_and_noise(self, arms: Sequence[str], sources: Sources) -> tuple[float, float] | None:
        """Standard deviations of a loss: of the arms' means, and of what neither arm nor seed
        explains. None for fewer than two arms, or fewer than two seeds that all of them have.
        """
        by_arm = [self.losses(arm, sources) for arm in arms]
        seeds = sorted(set.intersection(*map(set, by_arm))) if by_arm else []
        if len(arms) < 2 or len(seeds) < 2:
            return None
        losses = np.array([[one[seed] for seed in seeds] for one in by_arm])
        means = losses.mean(1, keepdims=True)
        rest = losses - means - losses.mean(0) + losses.mean()
        degrees = (len(arms) - 1) * (len(seeds) - 1)
        return float(means.std(ddof=1)), math.sqrt(float((rest**2).sum()) / degrees)

    @property
    def diverged(self) -> list[str]:
        """A sentence for every run that diverged."""
        return [
            f"{arm}, seed {seed}: diverged at step {one.diverged.step} ({one.diverged.reason}); it "
            "counts in no mean"
            for arm, by_seed in self.outcomes.items()
            for seed, one in sorted(by_seed.items())
            if one.diverged is not None
        ]

    @property
    def sources(self) -> Sources:
        """All that some run measured."""
        return tuple(
            sorted(
                {
                    name
                    for by_seed in self.outcomes.values()
                    for one in by_seed.values()
                    for name in one.losses
                }
            )
        )


def cells(estimate: Estimate | None) -> tuple[Cell, Cell, Cell]:
    """The value and the ends of the 95 % interval of an estimate, for a table."""
    return (None,) * 3 if estimate is None else (estimate.value, estimate.low, estimate.high)


def columns(
    estimates: Sequence[Estimate | None],
) -> tuple[tuple[float | None, ...], tuple[float | None, ...], tuple[float | None, ...]]:
    """Values, low and high ends of several, for a figure."""
    values = tuple(None if one is None else one.value for one in estimates)
    lows = tuple(None if one is None else one.low for one in estimates)
    return values, lows, tuple(None if one is None else one.high for one in estimates)
