"""May a run go on from a checkpoint, and how.

A checkpoint fits a run when nothing it already did would be done otherwise: the same model,
tokenizer and fixed settings, the same learning rates and the same plan up to its step. What comes
later may differ: that is how a plan is edited, a run made longer, or a decay branched off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from artifacts.errors import UserError
from mixtures.plan import Plan
from trainer.checkpoint import Checkpoint
from trainer.model import Model, ModelConfig
from trainer.optimizer import AdamW
from trainer.recorded import model_config, train_settings
from trainer.recorded import schedule as recorded_schedule
from trainer.schedules import ScheduleSpec, rate
from trainer.settings import TrainSettings

FIRST, SECOND = "mean.", "square."


def moment_tensors(optimizer: AdamW) -> dict[str, torch.Tensor]:
    """The optimizer's moments under the names of a checkpoint."""
    found = {}
    for name, (first, second) in optimizer.moments().items():
        found[FIRST + name] = first
        found[SECOND + name] = second
    return found


def restore(checkpoint: Checkpoint, optimizer: AdamW) -> None:
    """Put weights and moments back, into masters and model.

    Raises: UserError when any file is damaged, those not read here too, or belongs to another
    model.
    """
    checkpoint.check()
    optimizer.load(fitting_weights(checkpoint, optimizer.named))
    moments = checkpoint.moments()
    names = {name.removeprefix(FIRST) for name in moments if name.startswith(FIRST)}
    pairs = {
        name: (moments[FIRST + name], moments[SECOND + name])
        for name in names
        if SECOND + name in moments
    }
    optimizer.restore(pairs, checkpoint.state.step)


def fitting_weights(
    checkpoint: Checkpoint, own: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint. Raises: UserError when the file is damaged or their names or
    shapes are not those of ``own``.
    """
    weights = checkpoint.weights()
    odd = sorted(weights.keys() ^ own.keys()) or sorted(
        name for name, value in own.items() if weights[name].shape != value.shape
    )
    if odd:
        raise UserError(
            "the weights are of another model",
            file=checkpoint.folder,
            field=odd[0],
            fix="use the model settings of the run that wrote them",
        )
    return weights


def model_of(
    checkpoint: Checkpoint, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Model:
    """The model of a checkpoint, weights and all, computing in ``dtype`` on ``device``. Raises:
    UserError when a file is damaged.
    """
    model = Model(model_config(checkpoint))
    own = dict(model.named_parameters())
    weights = fitting_weights(checkpoint, own)
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])
    return model.to(device, dtype)


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
                for step in range(1, state.step + 1)
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
                "append to the run's plan (mixtures.plan.append_segment), or start a run under "
                "another name"
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
