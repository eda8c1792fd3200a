"""How a run goes on after a step whose loss or gradient is not finite."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator

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
        edit = f"windtunnel mixture edit {shlex.quote(run)} --at-tokens {error.before} --skip"
        more = min(MORE, error.left)
        raise error.changed(
            fix=(
                f"`{edit} 1` leaves the step's windows out; then give this command again. "
                f"`{edit} {more}` leaves out more, where the steps after it are not finite either. "
                f"A lower train.schedule.peak (now {error.peak}) begins another training at its "
                "first step"
            )
        ) from None


@contextlib.contextmanager
def advised_branch() -> Iterator[None]:
    """Say of a branch, whose plan is not the run's, what can be done."""
    from trainer.loop.run import NotFiniteError

    try:
        yield
    except NotFiniteError as error:
        raise error.changed(
            fix=(
                "give the branch other phases, or begin it at an earlier checkpoint: "
                "windtunnel branch CHECKPOINT"
            )
        ) from None
