"""What a training minimises, as an object that a run is given.

    batch ─ columns ─▶ host (B, ...) ─ normaliser ─▶ a number, before anything is computed
                       device ─ loss of each micro-batch / normaliser ─▶ gradients
                                + what the model adds, auxiliary_weight each
                       what losses kept ─ measure ─▶ by source ─ figures ─▶ metrics/train.jsonl

The loss of a step is one sum over the global batch divided by one number, which comes from the
global batch alone. So cutting the batch into other micro-batches changes rounding only, as long as
rows that belong together stay together.

:class:`~trainer.objectives.next_token.NextToken` is the objective of pre-training. Another one is a
class with these members, given to :func:`trainer.loop.training.train`. It is a pure function of
weights and batch, and what it knows besides (a reference model's figures) is looked up by the
windows' places: a batch stays a function of plan and step, and a run stopped at any step goes on to
the same bits.

Shapes: W windows of T tokens in a global batch of the loader, B rows of the objective's columns
(W, unless it unfolds windows into several rows), b rows of a micro-batch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar

from numpy.typing import NDArray
from torch import Tensor

from artifacts.errors import UserError
from artifacts.fingerprints import canonical_json
from mixtures.loader.loader import Batch
from trainer.model import Model

Columns = Mapping[str, NDArray[Any]]
Tensors = Mapping[str, Tensor]

NEXT_TOKEN = "next_token"
"""The objective of every checkpoint and key that names none."""

LOADED = ("tokens", "positions", "targets", "weights", "documents")

STEP_FIELDS = ("step", "tokens", "loss", "lr", "grad_norm", "auxiliary")
"""What every line of ``metrics/train.jsonl`` says, whatever is minimised."""


@dataclass(frozen=True)
class Place:
    """Which windows a batch holds: those of ``step`` of the plan, from 0; or, where a source is
    named, batch number ``step`` of its ``held_out`` windows.
    """

    step: int
    held_out: str | None = None


@dataclass(frozen=True)
class PartLoss:
    """The loss of a micro-batch: ``summed`` () with its graph, and tensors (b, ...) to be ``kept``
    for :meth:`Objective.measure`.
    """

    summed: Tensor
    kept: Tensors


class Measure(Protocol):
    """What some rows came to; sums add up over rows."""

    def __add__(self, other: Self, /) -> Self: ...

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``metrics/validation.jsonl`` for a source; ``loss`` is in it."""
        ...


M = TypeVar("M", bound=Measure)


@dataclass(frozen=True)
class Figures:
    """An objective's own figures in a line of ``metrics/train.jsonl``: the loss in other ``units``,
    which stand beside it, and ``further`` ones, which end the line. Raises: UserError where one has
    the name of a figure that every line holds, or two have one name.
    """

    units: Mapping[str, Any] = field(default_factory=dict)
    further: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (*self.units, *self.further):
            if name in STEP_FIELDS or (name in self.units and name in self.further):
                raise UserError(
                    "an objective's figure has the name of another",
                    field="figures",
                    found=name,
                    fix=f"give it a name of its own; taken are {', '.join(STEP_FIELDS)}",
                )


class Objective(Protocol[M]):
    """What is minimised; ``M`` is how it measures."""

    @property
    def name(self) -> str:
        """What checkpoints and errors call it."""
        ...

    @property
    def rows_together(self) -> int:
        """Consecutive rows that no micro-batch parts: 1, or 2 for pairs; at least 1."""
        ...

    def settings(self) -> dict[str, Any]:
        """Everything besides the windows that decides its value, as plain JSON values. A run keeps
        to them.
        """
        ...

    def columns(self, batch: Batch, place: Place) -> Columns:
        """What its loss needs of a global batch, (B, ...) by name: :func:`loader_columns` and what
        it adds, or others in their place. A column ``documents`` stays on the host, where
        :class:`~trainer.model.decoder.Model` wants it; the others go where the model is.
        """
        ...

    def normaliser(self, columns: Columns) -> float:
        """What the sum over the global batch is divided by, finite and not negative; 0 where there
        is nothing to learn.
        """
        ...

    def loss(self, model: Model, columns: Tensors) -> PartLoss:
        """The loss of a micro-batch, summed, from its rows of the columns."""
        ...

    def auxiliary_weight(self, name: str, columns: Columns, part: slice) -> float:
        """What a loss ``name`` that the model reports of the rows ``part`` counts in the step's
        (:meth:`~trainer.model.decoder.Model.auxiliary_losses`).
        """
        ...

    def measure(self, batch: Batch, kept: Columns, sources: Sequence[str]) -> dict[str, M]:
        """What the rows of each source came to, from what the micro-batches kept, (B, ...);
        ``batch.source`` counts in ``sources``.
        """
        ...

    def figures(self, measures: Mapping[str, M]) -> Figures:
        """What a step's measures by source say in ``metrics/train.jsonl``."""
        ...


def loader_columns(batch: Batch) -> dict[str, NDArray[Any]]:
    """The loader's columns, (W, T) each, not copied."""
    return {name: getattr(batch, name) for name in LOADED}


def record_of(objective: Objective[Any]) -> dict[str, Any] | None:
    """Name and settings as checkpoints and keys hold them: None for next-token prediction, which
    they held before there were others. Raises: UserError when settings are not plain JSON values.
    """
    if objective.name == NEXT_TOKEN:
        return None
    record: dict[str, Any] = {"name": objective.name, "settings": objective.settings()}
    try:
        plain: dict[str, Any] = json.loads(canonical_json(record))
    except (TypeError, ValueError) as error:
        raise UserError(
            f"the settings of the objective {objective.name} are no plain JSON values: {error}",
            field="objective",
            found=record["settings"],
            fix="give strings, finite numbers, lists and dicts from settings()",
        ) from None
    return plain
