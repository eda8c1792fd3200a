"""Edit the plan of a run from a step on that no checkpoint has made. Steps count from 1.

    edit_run(store, record, step=21, change=Change(drop=("web-zh",)))
    windtunnel train RECIPE                # goes on from the newest checkpoint with the edited plan

What was trained before that step stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from artifacts.commands import Command
from artifacts.errors import Setting, UserError
from artifacts.lock import run_lock
from artifacts.paths import Store
from mixtures.freeze.edit import Change, append, changed
from mixtures.plan.format import Plan
from mixtures.spec.phase import PhaseSpec
from pipelines.training.checkpoints import RunCheckpoint, run_checkpoints, trained_with
from pipelines.training.materials import Materials
from pipelines.training.plan_file import FORMER, plan_of_run, write_plan


@dataclass(frozen=True)
class Edited:
    """An edit: the plan before and after, the first step in which they differ, from 1, and how many
    steps have been trained.
    """

    before: Plan
    plan: Plan
    step: int
    trained: int

    @property
    def former(self) -> str:
        """Where the plan before lies in the run."""
        return f"{FORMER}/{self.before.hash}.json"


def edit_run(
    store: Store,
    record: dict[str, Any],
    *,
    step: int | None = None,
    tokens: int | None = None,
    phases: Sequence[PhaseSpec] | None = None,
    change: Change | None = None,
) -> Edited:
    """Replace the run's plan by one that agrees with it before ``step``, from 1 (or the first step
    behind ``tokens`` tokens).

    From there on it shows ``phases``, or what the plan says anyway with a ``change``.
    Raises: UserError when the step lies before the newest checkpoint, when the plan that comes out
    cannot be met, when a rule of the plan is broken, and when a training that has begun could not
    go on with it. Nothing is written then.
    """
    materials = Materials.of(store, record)
    with run_lock(store):
        plan = plan_of_run(store)
        at = _step(plan, step, tokens)
        begun = trained_with(plan, run_checkpoints(store))
        _check_future(plan, at, begun)
        made = (
            changed(plan, at, change or Change(), materials.sources())
            if phases is None
            else append(plan, at, phases, materials.sources())
        )
        _check_beginning(plan, made)
        for one in begun:
            _check_goes_on(one, made, materials)
        write_plan(store, made)
    return Edited(plan, made, at + 1, begun[-1].step if begun else 0)


def _step(plan: Plan, step: int | None, tokens: int | None) -> int:
    """How many steps stay as they are. Raises: UserError."""
    if (step is None) == (tokens is None):
        raise UserError(
            "where the edit begins is said once",
            parameter="step, tokens",
            fix=("give ", Setting("step"), " or ", Setting("tokens")),
        )
    if tokens is not None:
        if not 0 <= tokens <= plan.tokens:
            raise UserError(
                "no such place in the plan",
                parameter="tokens",
                found=tokens,
                allowed=[f"0 to {plan.tokens}"],
            )
        return plan.step_at(tokens)
    assert step is not None
    if not 1 <= step <= plan.steps + 1:
        raise UserError(
            "no such step in the plan, nor the one after its end",
            parameter="step",
            found=step,
            allowed=[f"1 to {plan.steps + 1}"],
        )
    return step - 1


def _check_future(plan: Plan, kept: int, begun: Sequence[RunCheckpoint]) -> None:
    """Raises: UserError when fewer steps are to stay than the newest checkpoint has made."""
    if begun and kept < begun[-1].step:
        newest = begun[-1]
        raise UserError(
            "what was trained cannot be edited",
            file=newest.path,
            parameter="step",
            found=f"step {kept + 1}; the newest checkpoint is of step {newest.step}",
            allowed=[f"{newest.step + 1} to {plan.steps + 1}"],
            fix=(
                f"edit from step {newest.step + 1} on; to end an earlier checkpoint in another "
                "way: ",
                Command("branch CHECKPOINT --mixture FILE --run RUN"),
            ),
        )


def _check_beginning(before: Plan, plan: Plan) -> None:
    """Raises: UserError when a plan begins with other windows or batches than training does."""
    for name in ("sequence_length", "batch_tokens"):
        found, wanted = getattr(plan, name), getattr(before, name)
        if found != wanted:
            raise UserError(
                "a run begins with the windows and batches that its recipe's train says",
                field=("mixture", "phases", plan.segments[0].name, name),
                found=found,
                allowed=[wanted],
                fix=f"leave it out of the first phase, or run a recipe with train.{name}: {found}",
            )


def _check_goes_on(one: RunCheckpoint, plan: Plan, materials: Materials) -> None:
    """Raises: UserError when a training could not go on from its checkpoint with the plan, for its
    schedule above all.
    """
    from trainer.checkpoints.recorded import model_config
    from trainer.loop.fits import check_fits
    from trainer.loop.recorded import train_settings

    settings = train_settings(one.checkpoint)
    check_fits(
        one.checkpoint,
        plan=plan,
        config=model_config(one.checkpoint),
        settings=settings,
        schedule=settings.schedule_of(plan),
        tokenizer_hash=materials.tokenizer.hash,
    )
