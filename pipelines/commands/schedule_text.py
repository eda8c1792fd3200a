"""A schedule and steps as the command line spells them."""

from __future__ import annotations

from ruamel.yaml.error import YAMLError

from artifacts.errors import UserError
from pipelines.recipe.bounded_yaml import TooManyValuesError, load_values
from pipelines.recipe.load import given_part
from trainer.optimizer.schedules import ScheduleSpec

EXAMPLE = "'{kind: wsd, peak: 0.01, warmup: 20, decay_start: 300, end: 375}'"


def schedule_of(text: str) -> ScheduleSpec:
    """The schedule of a YAML text. Raises: UserError naming its first field that is wrong."""
    try:
        values = load_values(text)
    except (YAMLError, ValueError, RecursionError, TooManyValuesError) as error:
        said = " ".join(str(error).split())
        raise UserError(f"not YAML: {said}", field="SPEC", found=text, fix=_write()) from None
    if not isinstance(values, dict):
        raise UserError("a schedule is a mapping", field="SPEC", found=text, fix=_write())
    return given_part(ScheduleSpec, values, _write())


def steps_of(text: str) -> list[int]:
    """Whole numbers, separated by commas. Raises: UserError."""
    steps = []
    for piece in text.split(","):
        number = piece.strip().replace("_", "")
        digits = number.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()):
            raise UserError(
                "not a step",
                field="--steps",
                found=piece,
                allowed=["whole numbers from 1"],
                fix="write --steps 1,100,1000",
            )
        steps.append(int(number))
    return steps


def _write() -> str:
    return f"write {EXAMPLE}"
