"""What a checkpoint records of its run: the model's shape, the settings, the schedule, the plan.

A setting that it does not record came later than the checkpoint, and had its default; a schedule
without a version had the first. A setting that this release does not know is of a later release,
and nothing here could go on as that did.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from artifacts.errors import Place, UserError
from mixtures.plan.format import Plan
from trainer.checkpoints.checkpoint import PLAN, Checkpoint
from trainer.optimizer.schedules import FIRST_VERSION, ScheduleSpec
from trainer.shapes.config import ModelConfig

Settings = TypeVar("Settings", bound=BaseModel)


def model_config(checkpoint: Checkpoint) -> ModelConfig:
    """The shape of the model. Raises: UserError for a setting that is not known or not valid."""
    recorded = checkpoint.state.model
    known = {field.name for field in dataclasses.fields(ModelConfig)}
    for name in sorted(recorded.keys() - known):
        raise _unknown(checkpoint, f"model.{name}", recorded[name])
    try:
        return ModelConfig.from_dict(recorded)
    except UserError as error:
        raise error.relocated(lambda address: Place(address, file=checkpoint.folder)) from None


def schedule(checkpoint: Checkpoint) -> ScheduleSpec:
    """The schedule with the ends that its plan fixed. Raises: UserError as :func:`model_config`."""
    recorded = with_version(checkpoint.state.schedule)
    return read_settings(checkpoint, "train.schedule", ScheduleSpec, recorded)


def with_version(recorded: Any) -> Any:
    """A schedule as it was recorded, with the version that it had."""
    return {"version": FIRST_VERSION, **recorded} if isinstance(recorded, dict) else recorded


def plan_of(checkpoint: Checkpoint) -> Plan:
    """The plan a checkpoint carries. Raises: UserError where it is an imported model, which has
    none.
    """
    if checkpoint.state.imported is not None:
        raise UserError(
            "an imported model has no plan: nothing here has trained it",
            file=checkpoint.folder,
            fix="train with it as the start of a recipe (train.start)",
        )
    return Plan.model_validate_json(checkpoint.read(PLAN))


def trained_window(checkpoint: Checkpoint) -> int:
    """Tokens of the longest windows that a checkpoint was trained on: how far its model can look
    back. Of an imported model what its files say.
    """
    if checkpoint.state.imported is not None:
        return checkpoint.state.imported.context
    begun = [
        context.sequence_length
        for context in plan_of(checkpoint).contexts
        if context.first_step < max(checkpoint.state.step, 1)
    ]
    return max(begun)


def read_settings(
    checkpoint: Checkpoint, part: str, kind: type[Settings], recorded: dict[str, Any]
) -> Settings:
    """Settings that a checkpoint records, ``part`` of the recipe. Raises: UserError for one that is
    not known or not valid.
    """
    try:
        return kind.model_validate(recorded)
    except ValidationError as error:
        found = error.errors()
        first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
        field = ".".join([part, *map(str, first["loc"])])
        if first["type"] == "extra_forbidden":
            raise _unknown(checkpoint, field, first["input"]) from None
        raise UserError(
            f"the checkpoint records a setting that is not valid: {first['msg']}",
            file=checkpoint.folder,
            field=field,
            found=first["input"],
            fix="use the release that wrote the checkpoint",
        ) from None


def _unknown(checkpoint: Checkpoint, field: str, value: object) -> UserError:
    return UserError(
        "the checkpoint records a setting that this release does not know",
        file=checkpoint.folder,
        field=field,
        found=value,
        fix="use the release that wrote the checkpoint, or a later one",
    )
