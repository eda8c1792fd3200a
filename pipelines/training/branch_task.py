"""Train one branch of a checkpoint: a task of an executor, in the main thread of its process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from artifacts.paths import Store
from mixtures.plan.format import Plan
from pipelines.executors.process_worker import tell
from trainer.loop.board import BoardRun
from trainer.loop.run import StepReport
from trainer.loop.settings import TrainSettings

Told = Callable[[int, StepReport], None]


@dataclass(frozen=True)
class BranchTask:
    """The branch ``place`` of a comparison: the folder of its checkpoint, its plan as JSON, its
    settings as plain values, and where it goes. ``shards`` and ``held_out``: folders by source.
    """

    place: int
    checkpoint: str
    folder: str
    plan: bytes
    train: dict[str, Any]
    threads: int
    shards: Mapping[str, str]
    held_out: Mapping[str, str]
    board: BoardRun | None = None


@dataclass(frozen=True)
class BranchEnd:
    """How a branch ended: its held-out losses by source, updates in all and ``made`` by this call,
    the last loss; a ``signal`` where one stopped it.
    """

    losses: Mapping[str, Any]
    steps: int
    made: int
    loss: float | None
    signal: str | None = None
    exit_code: int = 0


def make_branch(task: BranchTask, told: Told | None = None) -> BranchEnd:
    """Train a branch to its end, or go on with it, and measure it. ``told`` is given every update;
    default the process that asked. Raises: UserError as :func:`trainer.loop.branch.end`.
    """
    from trainer.checkpoints.checkpoint import load
    from trainer.devices.determinism import deterministic
    from trainer.loop.branch import end

    def seen(report: StepReport) -> None:
        if told is None:
            tell(report)
        else:
            told(task.place, report)

    with deterministic(task.threads):
        outcome, measured = end(
            load(task.checkpoint),
            Plan.model_validate_json(task.plan),
            task.shards,
            Store(task.folder),
            validation=task.held_out,
            settings=TrainSettings.model_validate(task.train),
            on_step=seen,
            board=task.board,
        )
    return BranchEnd(
        {source: found.to_json() for source, found in measured.items()},
        outcome.step,
        outcome.step - outcome.first_step,
        outcome.loss,
        outcome.stopped_by,
        outcome.exit_code,
    )
