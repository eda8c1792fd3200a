"""What a decay would come to, without training: stable checkpoints of one training, merged.

    weights = decayed_by_merging(mergeable(start)[-4:], DecaySpec(shape="one_minus_sqrt"))

The merge stands for a training that began to decay at the first of the checkpoints and ended at the
last, on the windows that the stable training was shown: another mixture is not previewed
(:mod:`trainer.optimizer.merge_coefficients` says which sum).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from artifacts.errors import UserError
from artifacts.paths import Store
from trainer.checkpoints.checkpoint import Checkpoint, Tensors, at_step, saved
from trainer.checkpoints.merging import merged
from trainer.checkpoints.recorded import model_config, plan_of
from trainer.checkpoints.recorded import schedule as recorded_schedule
from trainer.loop.branch import check_stable
from trainer.loop.recorded import train_settings
from trainer.optimizer.merge_coefficients import merge_coefficients
from trainer.optimizer.schedules import DecaySpec


def mergeable(start: Checkpoint) -> list[Checkpoint]:
    """The stable checkpoints that lie beside one and lead to it, itself the last; those of the
    warm-up, and those that were only written because a call was stopped, are left out. Raises:
    UserError when the checkpoint is not stable.
    """
    check_stable(start)
    training = Store(start.folder.rstrip("/").rsplit("/", 2)[0])
    before = [at_step(training, step) for step in saved(training) if step < start.state.step]
    warm = recorded_schedule(start).warmup - 1
    return [*(one for one in before if one.state.asked and one.state.step >= warm), start]


def decayed_by_merging(checkpoints: Sequence[Checkpoint], decay: DecaySpec) -> Tensors:
    """The weights that the merge of a training's stable checkpoints, ascending, comes to. Raises:
    UserError as :func:`check_mergeable` and :func:`trainer.checkpoints.merging.merged`.
    """
    check_mergeable(checkpoints)
    steps = [checkpoint.state.step for checkpoint in checkpoints]
    return merged(checkpoints, merge_coefficients(decay, steps))


def check_mergeable(checkpoints: Sequence[Checkpoint]) -> None:
    """Raises: UserError when these are not stable checkpoints of one training in the order of their
    steps: of another model, plan or seed, in the warm-up or in the decay.
    """
    if len(checkpoints) < 2:
        raise UserError(
            "a decay is previewed by two checkpoints or more",
            field="checkpoints",
            found=len(checkpoints),
            fix="keep more of them: lower train.checkpoint_every",
        )
    for before, after in pairwise(checkpoints):
        if before.state.step >= after.state.step:
            raise _refusal(after, "step", after.state.step, f"above {before.state.step}")
    last = checkpoints[-1]
    plan, facts = plan_of(last), _training(last)
    for checkpoint in checkpoints:
        check_stable(checkpoint)
        _check_warm(checkpoint)
        for name, value in _training(checkpoint).items():
            if value != facts[name]:
                raise _refusal(checkpoint, name, value, facts[name])
        if not plan.agrees_with(checkpoint.state.plan_hash, checkpoint.state.step):
            raise _refusal(checkpoint, "plan", checkpoint.state.plan_hash, plan.hash)


def _check_warm(checkpoint: Checkpoint) -> None:
    """Raises: UserError when updates after the checkpoint are still of the warm-up."""
    warmup = recorded_schedule(checkpoint).warmup
    if checkpoint.state.step < warmup - 1:
        raise UserError(
            "this checkpoint is of the warm-up",
            file=checkpoint.folder,
            field="step",
            found=checkpoint.state.step,
            allowed=[f"from {warmup - 1}"],
            fix="merge checkpoints of the stable stage",
        )


def _training(checkpoint: Checkpoint) -> dict[str, object]:
    """What checkpoints of one training have in common, by name."""
    state, schedule = checkpoint.state, recorded_schedule(checkpoint)
    return {
        "model": model_config(checkpoint).as_dict(),
        "tokenizer": state.tokenizer_hash,
        "objective": state.objective,
        "seeds": state.seeds,
        "parent": state.parent,
        "train": train_settings(checkpoint).fixed(),
        "schedule": (schedule.peak, schedule.warmup),
    }


def _refusal(checkpoint: Checkpoint, field: str, found: object, allowed: object) -> UserError:
    return UserError(
        "these are not checkpoints of one training, each after the one before",
        file=checkpoint.folder,
        field=field,
        found=found,
        allowed=[allowed],
        fix="merge stable checkpoints of one training, ascending",
    )
