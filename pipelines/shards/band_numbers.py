"""What a split goes by: the signal column, or the count, that its ``by`` names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from artifacts.errors import UserError
from pipelines.stages.base import CompareStep, MeasureStep, Step, applies

CLUSTER_SIZE = "cluster_size"


@dataclass(frozen=True)
class NumberOf:
    """The number documents are cut by: a column of a measure, or for ``measure`` None how many
    documents each stands for.
    """

    measure: str | None
    column: str


def number_of(steps: Sequence[Step], source: str, by: str) -> NumberOf:
    """What ``by`` names for the documents of a source: COLUMN (of the first measure that makes it),
    STEP.COLUMN, or ``cluster_size``.

    Raises: UserError with the columns there are and the nearest.
    """
    compared = any(isinstance(step, CompareStep) and applies(step, source) for step in steps)
    if by == CLUSTER_SIZE and compared:
        return NumberOf(None, CLUSTER_SIZE)
    numbers: dict[str, NumberOf] = {}
    others: dict[str, str] = {}
    for step in steps:
        for field in (
            step.rule.fields() if isinstance(step, MeasureStep) and applies(step, source) else ()
        ):
            numeric = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
            for name in (field.name, f"{step.name}.{field.name}"):
                if numeric:
                    numbers.setdefault(name, NumberOf(step.name, field.name))
                else:
                    others.setdefault(name, str(field.type))
    if by in numbers:
        return numbers[by]
    allowed = sorted(
        ({CLUSTER_SIZE} if compared else set())
        | {name for name in numbers if ("." in name) == ("." in by)}
    )
    message, fix = (
        "no column of this name is measured for the source",
        "use one of these columns, or add the stage that measures it",
    )
    if by == CLUSTER_SIZE:
        message, fix = (
            "no stage compares the documents of this source",
            "add exact_dedup or minhash_dedup, or cut by another column",
        )
    elif by in others:
        message, fix = (
            f"documents are cut by a number, and this column is {others[by]}",
            "use one of these columns",
        )
    raise UserError(message, found=by, allowed=allowed, fix=fix)
