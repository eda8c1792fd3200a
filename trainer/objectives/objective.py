"""What a training minimises, as an object that :class:`trainer.loop.run.Run` is given.

    batch ─ columns ─▶ device ─ loss of a micro-batch / normaliser ─▶ gradients
                                   + auxiliary losses of the model
          ─ measure ─▶ a step's own figures in metrics/train.jsonl

An objective says which rows of a batch belong together, which columns it needs besides the
loader's, what its sum is divided by, and what a step reports. Cutting a batch into other
micro-batches changes rounding only: the sum of all parts is divided by one number, which comes from
the whole global batch before anything is computed.
:class:`~trainer.objectives.next_token.NextToken` is the objective of pre-training; a new one is a
class with these members, given to ``train``.

Shapes: B windows of T tokens in the global batch, b of them in a micro-batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mixtures.loader.loader import Batch
from trainer.model import Model
from trainer.objectives.losses import Loss

Columns = Mapping[str, Tensor]


@dataclass(frozen=True)
class PartLoss:
    """The loss of a micro-batch: ``summed`` () with its graph, and ``kept`` tensors (b, ...) that
    :meth:`Objective.measure` gets of the whole batch, detached.
    """

    summed: Tensor
    kept: Mapping[str, Tensor]


@dataclass(frozen=True)
class Measured:
    """What a step reports: next-token losses by source where it has them, and figures by name."""

    sources: Mapping[str, Loss]
    figures: Mapping[str, float] = field(default_factory=dict)


class Objective(Protocol):
    """What is minimised: a pure function of batch and weights, without state or chance."""

    @property
    def name(self) -> str:
        """What it is called in checkpoints and errors."""
        ...

    @property
    def rows_together(self) -> int:
        """Consecutive rows that a micro-batch keeps together: 1, or 2 where pairs are compared."""
        ...

    def settings(self) -> dict[str, Any]:
        """Everything that decides its value, as plain JSON values. A run keeps to them."""
        ...

    def columns(self, batch: Batch) -> Mapping[str, NDArray[np.generic]]:
        """Columns (B, ...) that its loss needs besides those of the loader."""
        ...

    def normaliser(self, batch: Batch) -> float:
        """What the sum over the global batch is divided by; 0 where it has nothing to learn."""
        ...

    def loss(self, model: Model, columns: Columns) -> PartLoss:
        """The loss of a micro-batch from its columns: those of the loader (``tokens``,
        ``positions``, ``targets``, ``weights``, ``documents``) and its own.
        """
        ...

    def measure(
        self, batch: Batch, kept: Mapping[str, NDArray[Any]], sources: tuple[str, ...]
    ) -> Measured:
        """A step's figures, from what its parts kept, (B, ...); ``sources`` are the plan's."""
        ...


def identity(objective: Objective) -> dict[str, Any]:
    """What a checkpoint records of an objective."""
    return {"name": objective.name, **objective.settings()}
