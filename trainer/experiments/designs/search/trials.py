"""Trials of a search as Optuna knows them, and what it proposes next."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from trainer.experiments.design import Base, Measured
from trainer.experiments.designs.search.space import Space, Values
from trainer.experiments.outcomes import Outcome, Primary

TRIAL, CONFIRM, LONGER = "trial", "confirm", "longer"
"""Stages: trials of the search, configurations under further seeds, first points at more tokens."""

PAPERS = "paper"
"""What the paper's values are called among those that are confirmed."""

NO_TIME = datetime.fromtimestamp(0, UTC).replace(tzinfo=None)  # without a zone, as Optuna's are

if TYPE_CHECKING:
    from optuna.study import Study


@dataclass(frozen=True)
class Trial:
    """A trial that ended: the ``loss`` in nats that the search is told, at most ``ln V``, which is
    also that of one that diverged, for the reason ``diverged``.
    """

    number: int
    values: Values
    loss: float
    diverged: str | None = None
    key: str = ""

    @property
    def name(self) -> str:
        return f"trial {self.number}"

    @property
    def known(self) -> float | None:
        """Its loss, None where it diverged."""
        return None if self.diverged else self.loss


def censored(loss: float | None, vocab_size: int) -> float:
    """What a search is told: a loss, ln V where there is none, and never more."""
    most = math.log(vocab_size)
    return most if loss is None or not math.isfinite(loss) else min(loss, most)


def trial_of(base: Base, number: int, values: Values, outcome: Outcome) -> Trial:
    """A trial from what its run left."""
    loss = nats(base).of(outcome)
    gone = outcome.diverged
    reason = f"{gone.reason} at step {gone.step}" if gone is not None else None
    if reason is None and loss is None:
        reason = "no held-out loss"
    return Trial(number, values, censored(loss, base.vocab_size), reason, outcome.key)


def trials_in(base: Base, measured: Sequence[Measured]) -> list[Trial]:
    """The trials among points, in the order of their numbers."""
    ended = {int(one["trial"]): one for one in measured if one.point.at(stage=TRIAL)}
    return [
        trial_of(base, number, values_of(one), one.outcome) for number, one in sorted(ended.items())
    ]


def values_of(one: Measured) -> Values:
    """What the run of a point was set to."""
    return Values(*(float(one[name]) for name in Values._fields))


def nats(base: Base) -> Primary:
    """The number of an experiment in nats, whose worst is known: ln V."""
    return base.primary.model_copy(update={"unit": "nats"})


def proposals(space: Space, trials: Sequence[Trial], count: int, seed: int) -> tuple[Values, ...]:
    """The next ``count`` trials after these, from a Gaussian process (Optuna's GPSampler), the same
    for the same trials and seed.
    """
    told = tuple((trial.values, trial.loss) for trial in trials)
    return _proposals(space.model_dump_json(), told, count, seed)


@lru_cache(maxsize=64)  # a design is asked for its points several times a round
def _proposals(
    space_json: str, told: tuple[tuple[Values, float], ...], count: int, seed: int
) -> tuple[Values, ...]:
    space = Space.model_validate_json(space_json)
    trials = [Trial(number, values, loss) for number, (values, loss) in enumerate(told)]
    with alone():
        from optuna.samplers import GPSampler

        study = study_of(space, trials, sampler=GPSampler(seed=seed, n_startup_trials=1))
        asked = [study.ask(distributions(space)) for _ in range(count)]
    return tuple(space.within(Values(**one.params)) for one in asked)


def study_of(space: Space, trials: Sequence[Trial], **options: Any) -> Study:
    """A study that knows these trials, in the order of their numbers; of ``options`` of
    ``optuna.create_study``. Their times are not kept: the same trials make the same study.
    """
    import optuna

    study = optuna.create_study(direction="minimize", **options)
    for trial in sorted(trials, key=lambda trial: trial.number):
        study.add_trial(_frozen(space, trial))
    return study


def distributions(space: Space) -> dict[str, Any]:
    """The ranges in Optuna's words."""
    from optuna.distributions import FloatDistribution

    return {
        name: FloatDistribution(one.low, one.high, log=True) for name, one in space.ranges.items()
    }


@contextmanager
def alone() -> Iterator[None]:
    """On one thread, so that sums have one order, and without Optuna's notes on the way."""
    import optuna
    import torch
    from threadpoolctl import threadpool_limits

    threads, verbosity = torch.get_num_threads(), optuna.logging.get_verbosity()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        torch.set_num_threads(threads)
        optuna.logging.set_verbosity(verbosity)


def _frozen(space: Space, trial: Trial) -> Any:
    from optuna.trial import create_trial

    facts = {"run": trial.key, "diverged": trial.diverged}
    frozen = create_trial(
        value=trial.loss,
        params=trial.values._asdict(),
        distributions=distributions(space),
        user_attrs={name: value for name, value in facts.items() if value},
    )
    frozen.datetime_start = frozen.datetime_complete = NO_TIME
    return frozen
