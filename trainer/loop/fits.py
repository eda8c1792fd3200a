"""May a run go on from a checkpoint, and how.

A checkpoint fits a run when nothing it already did would be done otherwise: the same model,
tokenizer and fixed settings, the same learning rates and the same plan up to its step. What comes
later may differ: that is how a plan is edited, a run made longer, or a decay branched off.
"""

from __future__ import annotations

from typing import Any

from artifacts.commands import Command
from artifacts.errors import UserError
from mixtures.freeze.freeze import Plan
from trainer.checkpoints.checkpoint import Checkpoint
from trainer.checkpoints.recorded import model_config
from trainer.checkpoints.recorded import schedule as recorded_schedule
from trainer.loop.recorded import train_settings
from trainer.loop.settings import TrainSettings
from trainer.objectives.objective import NEXT_TOKEN
from trainer.optimizer.schedules import ScheduleSpec, rate
from trainer.shapes.config import ModelConfig


def check_fits(
    checkpoint: Checkpoint,
    *,
    plan: Plan,
    config: ModelConfig,
    settings: TrainSettings,
    schedule: ScheduleSpec,
    tokenizer_hash: str,
) -> None:
    """Raises: UserError naming the first thing in which the run differs from what the checkpoint
    already did, or that it records and this release does not know.
    """
    state = checkpoint.state
    if state.tokenizer_hash != tokenizer_hash:
        raise _differs(checkpoint, "tokenizer", state.tokenizer_hash, tokenizer_hash)
    _check_same(checkpoint, "model", model_config(checkpoint).as_dict(), config.as_dict())
    _check_same(checkpoint, "train", train_settings(checkpoint).fixed(), settings.fixed())
    before = recorded_schedule(checkpoint)
    if before != schedule:
        changed = next(
            (
                step
                for step in range(1, min(state.step, plan.steps) + 1)
                if rate(before, step) != rate(schedule, step)
            ),
            None,
        )
        if changed is not None:
            raise _differs(
                checkpoint,
                f"learning rate of step {changed}",
                rate(before, changed),
                rate(schedule, changed),
            )
    if not plan.agrees_with(state.plan_hash, state.step):
        raise UserError(
            f"the checkpoint at step {state.step} was trained with a plan that this one does not "
            "continue",
            file=checkpoint.folder,
            field="plan",
            found=plan.hash,
            allowed=[state.plan_hash],
            fix=(
                "append to the run's plan (",
                Command("mixture edit RUN --at STEP --mixture FILE"),
                "), or start a run under another name",
            ),
        )


def _check_same(
    checkpoint: Checkpoint, part: str, old: dict[str, Any], new: dict[str, Any]
) -> None:
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            raise _differs(checkpoint, f"{part}.{name}", old.get(name), new.get(name))


def _differs(checkpoint: Checkpoint, field: str, old: object, new: object) -> UserError:
    return UserError(
        f"the checkpoint at step {checkpoint.state.step} was trained otherwise",
        file=checkpoint.folder,
        field=field,
        found=new,
        allowed=[old],
        fix="set it back to go on with this run, or start another run under another name",
    )


def check_objective(checkpoint: Checkpoint, objective: dict[str, Any] | None) -> None:
    """Raises: UserError when the run minimises something else than the checkpoint did; None is
    next-token prediction.
    """
    old, new = (
        record or {"name": NEXT_TOKEN} for record in (checkpoint.state.objective, objective)
    )
    if old["name"] != new["name"]:
        raise _differs(checkpoint, "objective", old["name"], new["name"])
    _check_same(checkpoint, "objective", old.get("settings", {}), new.get("settings", {}))
