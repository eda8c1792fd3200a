"""What each training of a run cost: updates, tokens, seconds, operations, memory, disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.report.calls import TRAIN, recipe_of
from pipelines.report.training_metrics import Ending, Trainings
from trainer.costs.compute_costs import exact_flops_per_token, flops_per_token


@dataclass(frozen=True)
class TrainingCost:
    """One ending. ``seconds`` are those of its updates, whichever call made them.

    ``operations`` are the floating-point operations of all matrix products, attention over full
    windows included, ``paper_operations`` 6 N D; None where the model is not known.
    """

    ending: Ending
    steps: int
    tokens: int
    seconds: float
    operations: int | None
    paper_operations: int | None

    @property
    def tokens_per_second(self) -> float | None:
        return self.tokens / self.seconds if self.seconds else None

    @property
    def operations_per_second(self) -> float | None:
        return (
            self.operations / self.seconds if self.seconds and self.operations is not None else None
        )


def training_costs(record: dict[str, Any], trainings: Trainings | None) -> list[TrainingCost]:
    """A row per ending, the run's own first; empty where nothing was trained."""
    if trainings is None:
        return []
    length = recipe_of(record, TRAIN)["train"]["sequence_length"]
    exact = None if trainings.model is None else exact_flops_per_token(trainings.model, length)
    paper = None if trainings.model is None else flops_per_token(trainings.model)
    return [
        TrainingCost(
            ending=ending,
            steps=ending.last_step - ending.from_step,
            tokens=ending.tokens,
            seconds=ending.seconds,
            operations=None if exact is None else exact * ending.tokens,
            paper_operations=None if paper is None else paper * ending.tokens,
        )
        for ending in trainings.endings
    ]
