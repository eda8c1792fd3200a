"""Names of steps: they are folders, ledgers and columns of tables, so each belongs to one stage and
none to the run itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from artifacts.errors import UserError
from pipelines.stages.base import Step

RESERVED = frozenset(
    {
        "all",
        "bands",
        "conversations",
        "encode",
        "encoded",
        "evaluate",
        "export",
        "final",
        "read",
        "shards",
        "size",
        "split",
        "tokenizer",
        "train",
        "unique",
    }
)
"""Names of the run's own steps and folders."""

TRAIN, BRANCH = "train", "branch "
"""Steps of the training half: the run's own training, and each branch with its name behind."""


EVALUATE, EXPORT = "evaluate", "export"
"""Steps after the trainings: their endings scored, the model written for other programs."""


def is_training(step: str) -> bool:
    """Whether a ledger's step is a training, or of what comes after it."""
    return step in (TRAIN, EVALUATE, EXPORT) or step.startswith(BRANCH)


def check_step_names(made: Sequence[Step], before: Sequence[Step]) -> None:
    """Refuse a stage whose steps share a name with those of earlier stages or of the run. Raises:
    UserError.
    """
    taken = {step.name for step in before} | RESERVED
    for name in dict.fromkeys(step.name for step in made):
        if name in taken:
            raise UserError(
                "the run needs this name for a step of its own"
                if name in RESERVED
                else "another stage has a step of this name",
                found=name,
                fix="give the stage another name, as in name: my-stage",
            )


def signal_columns(steps: Iterable[Step]) -> dict[str, str]:
    """The signal columns these steps make: column -> the first measure that makes it."""
    columns: dict[str, str] = {}
    for step in steps:
        for field in step.signals():
            columns.setdefault(field.name, step.name)
    return columns
