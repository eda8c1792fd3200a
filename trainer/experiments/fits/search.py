"""What a search over configurations found: the flat set, and whether two budgets rank alike.

The least loss of many noisy runs is a lucky one. So configurations are confirmed under several
seeds, and all that lie within one standard deviation of the best confirmed mean are equally good as
far as the search can tell. The deviation is that between seeds, pooled over what was confirmed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from artifacts.errors import UserError
from artifacts.statistics.estimates import finite
from artifacts.statistics.pooled import pooled_variance
from artifacts.statistics.ranks import RankCorrelation, kendall, spearman


@dataclass(frozen=True)
class FlatSet:
    """Configurations within one ``deviation`` of the ``best`` confirmed one, whose mean is
    ``loss``; ``confirmed`` and ``untried`` (one run alone) by name, with their loss, best first.
    """

    best: str
    loss: float
    deviation: float
    degrees: float
    confirmed: dict[str, float]
    untried: dict[str, float]
    diverged: int

    @property
    def limit(self) -> float:
        """The largest loss that still belongs to the set."""
        return self.loss + self.deviation

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {**vars(self), "limit": self.limit}


def flat_set(
    trials: Mapping[str, float | None], confirmed: Mapping[str, Sequence[float]]
) -> FlatSet:
    """The flat set of a search.

    ``trials``: one loss by configuration, None where it diverged. ``confirmed``: losses under
    several seeds, of at least one configuration twice; they count in the place of its trial.
    Raises: UserError where nothing is confirmed or a loss is not finite.
    """
    if not confirmed or not all(confirmed.values()):
        raise UserError(
            "a flat set needs configurations that were run under several seeds",
            parameter="confirmed",
            found=f"{len(confirmed)} configurations"
            + (", one without a loss" if confirmed else ""),
            fix="run the best few under 3 seeds each",
        )
    spread = pooled_variance(confirmed.values())
    means = {name: float(finite(losses, name).mean()) for name, losses in confirmed.items()}
    best = min(means, key=lambda name: (means[name], name))
    single = {
        name: loss for name, loss in trials.items() if loss is not None and name not in confirmed
    }
    finite(list(single.values()), "trials")
    limit = means[best] + spread.deviation
    return FlatSet(
        best,
        means[best],
        spread.deviation,
        spread.degrees,
        _within(means, limit),
        _within(single, limit),
        sum(loss is None for loss in trials.values()),
    )


def _within(losses: Mapping[str, float], limit: float) -> dict[str, float]:
    """Those at most ``limit``, best first."""
    ordered = sorted(losses.items(), key=lambda entry: (entry[1], entry[0]))
    return {name: loss for name, loss in ordered if loss <= limit}


@dataclass(frozen=True)
class Agreement:
    """How alike two budgets rank the configurations that both have run, and the best of each."""

    spearman: RankCorrelation
    kendall: RankCorrelation
    configurations: int
    best_short: str
    best_long: str
    rank_of_short: int
    """Of the best at the short budget, among the losses of the long one, from 1."""

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            **vars(self),
            "spearman": self.spearman.to_json(),
            "kendall": self.kendall.to_json(),
        }


def rank_agreement(
    short: Mapping[str, float | None], long: Mapping[str, float | None]
) -> Agreement:
    """Agreement of the ranks at two budgets, of losses by configuration; one that diverged (None)
    is worse than all, and all that diverged are alike.

    Raises: UserError for fewer than 3 configurations in common, and where all of a budget are
    alike.
    """
    names = sorted(set(short) & set(long))
    if len(names) < 3:
        raise UserError(
            "ranks agree or not over configurations that both budgets have run",
            found=f"{len(names)} in common, of {len(short)} and {len(long)}",
            allowed=["at least 3"],
            fix="run the same configurations at both budgets",
        )
    columns = [_worst_for_none(names, budget) for budget in (short, long)]
    firsts = [min(range(len(names)), key=column.__getitem__) for column in columns]
    return Agreement(
        spearman(*columns),
        kendall(*columns),
        len(names),
        names[firsts[0]],
        names[firsts[1]],
        1 + sum(loss < columns[1][firsts[0]] for loss in columns[1]),
    )


def _worst_for_none(names: Sequence[str], losses: Mapping[str, float | None]) -> list[float]:
    known = [loss for name in names if (loss := losses[name]) is not None]
    worst = max(known, default=0.0)
    beyond = math.nextafter(worst, math.inf) if known else 0.0
    return [beyond if (loss := losses[name]) is None else loss for name in names]
