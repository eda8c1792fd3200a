"""Mixtures that Optuna asks for, round by round, from the losses of the rounds before alone.

Shares are -ln u of one number u in (0, 1) for each source, normalised, which is a uniform draw when
u is, and brought within the bounds. Every round has a sampler of its own, seeded by the round and
told of all trials so far in their order: who asks again with the same losses gets the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from artifacts.extras import require
from trainer.experiments.designs.mixtures.space import Mixture, Space

if TYPE_CHECKING:
    import optuna

SMALLEST = 1e-6
Asked = tuple[tuple[float, ...], ...]


def trials(
    space: Space, losses: Sequence[float], size: int, rounds: int, random_seed: int
) -> list[Mixture]:
    """The mixtures of all rounds that can be asked for: the first, and each after a round whose
    ``losses`` are there (in the order of trials, a worst value for runs that diverged).

    Raises: UserError when Optuna is not installed.
    """
    require("experiments", "optuna")
    done = len(losses) // size
    asked: Asked = ()
    for number in range(min(done + 1, rounds)):
        told = tuple(float(loss) for loss in losses[: number * size])
        asked += _round(len(space.names), asked, told, size, random_seed + number)
    return [space.within([-math.log(u) for u in values]) for values in asked]


@lru_cache(maxsize=64)
def _round(
    sources: int, before: Asked, losses: tuple[float, ...], size: int, random_seed: int
) -> Asked:
    """The numbers of one round, from those before and their losses."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        distributions = _distributions(sources)
        study = optuna.create_study(sampler=_sampler(size, random_seed))
        for values, loss in zip(before, losses, strict=True):
            params = dict(zip(distributions, values, strict=True))
            study.add_trial(
                optuna.create_trial(params=params, distributions=distributions, value=loss)
            )
        found = []
        for _ in range(size):
            trial = study.ask(distributions)
            found.append(tuple(float(trial.params[name]) for name in distributions))
        return tuple(found)
    finally:
        optuna.logging.set_verbosity(verbosity)


def _sampler(size: int, random_seed: int) -> optuna.samplers.BaseSampler:
    import warnings

    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.GPSampler(seed=random_seed, n_startup_trials=size)


def _distributions(sources: int) -> dict[str, Any]:
    import optuna

    return {
        f"u{number}": optuna.distributions.FloatDistribution(SMALLEST, 1.0 - SMALLEST)
        for number in range(sources)
    }
