"""How a run goes on after a step whose loss or gradient is not finite."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from artifacts.commands import Command
from artifacts.errors import Setting, Text, UserError
from artifacts.paths import Store
from mixtures.plan.format import Plan
from pipelines.training.checkpoints import RunCheckpoint, run_checkpoints, trained_with

MORE = 20
"""Steps to skip where one was not enough."""


@contextlib.contextmanager
def advised(store: Store, plan: Plan) -> Iterator[None]:
    """Say of a run's training with a plan with which command its step is skipped.

    Another peak is no way to go on: it is part of what makes a training this one. Where another
    training of the run has gone further with the plan, no edit of it can skip the step.
    """
    from trainer.loop.run import NotFiniteError

    try:
        yield
    except NotFiniteError as error:
        one, more = (
            _skipping(store.root, error.before, steps) for steps in (1, min(MORE, error.left))
        )
        skipping: Text = (
            "`",
            one,
            "` leaves the step's windows out; then give this command again. `",
            more,
            "` leaves out more, where the steps after it are not finite either. ",
        )
        further = _further(store, plan, error.step)
        if further is not None:
            skipping = (
                f"the step cannot be skipped while {further.path}, of another training, has gone "
                "further with this plan: give this one a run of its own (",
                Setting("overrides", "name=OTHER"),
                "), or remove that training. ",
            )
        raise error.changed(
            fix=(
                *skipping,
                f"A lower train.schedule.peak (now {error.peak}) begins another training at its "
                "first step",
            )
        ) from None


def _further(store: Store, plan: Plan, step: int) -> RunCheckpoint | None:
    """The newest checkpoint with a plan, where it has made a step, from 1."""
    begun: list[RunCheckpoint] = []
    with contextlib.suppress(UserError):  # a damaged one is said by the edit
        begun = trained_with(plan, run_checkpoints(store))
    return begun[-1] if begun and begun[-1].step >= step else None


def _skipping(run: str, before: int, steps: int) -> Command:
    """The command that leaves steps out; ``before``: tokens shown before the first of them."""
    return Command(
        "mixture edit RUN --at-tokens TOKENS --skip STEPS", RUN=run, TOKENS=before, STEPS=steps
    )


@contextlib.contextmanager
def advised_branch() -> Iterator[None]:
    """Say of a branch, whose plan is not the run's, what can be done."""
    from trainer.loop.run import NotFiniteError

    try:
        yield
    except NotFiniteError as error:
        raise error.changed(
            fix=(
                "give the branch other phases, or begin it at an earlier checkpoint: ",
                Command("branch CHECKPOINT --mixture FILE --run RUN"),
            )
        ) from None
