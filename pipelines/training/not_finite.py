"""How a run goes on after a step whose loss or gradient is not finite."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from artifacts.commands import Command

MORE = 20
"""Steps to skip where one was not enough."""


@contextlib.contextmanager
def advised(run: str) -> Iterator[None]:
    """Say of the training of ``run``, a folder, with which command its step is skipped.

    Another peak is no way to go on: it is part of what makes a training this one.
    """
    from trainer.loop.run import NotFiniteError

    try:
        yield
    except NotFiniteError as error:
        one, more = (_skipping(run, error.before, steps) for steps in (1, min(MORE, error.left)))
        raise error.changed(
            fix=(
                "`",
                one,
                "` leaves the step's windows out; then give this command again. `",
                more,
                "` leaves out more, where the steps after it are not finite either. "
                f"A lower train.schedule.peak (now {error.peak}) begins another training at its "
                "first step",
            )
        ) from None


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
