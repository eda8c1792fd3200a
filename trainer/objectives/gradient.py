"""One optimizer step's gradient: a global batch in micro-batches, summed and divided by one number.

Each micro-batch adds its share of the quotient to the gradients, so one with few targets counts for
few, and cutting the batch otherwise changes rounding only. What a model adds to the loss on its own
account (:meth:`~trainer.model.decoder.Model.auxiliary_losses`) counts what the objective says.

Who wants the gradient of each micro-batch by itself gives a :data:`PartWatch`. The sum keeps its
bits: autograd adds each to those before, in the same order.

Shapes: B rows in the global batch, b of them in a micro-batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artifacts.errors import UserError
from mixtures.loader.loader import Batch
from trainer.kernels.embedding import keeps_wide_gradient
from trainer.kernels.transfer import to_device
from trainer.model import Model
from trainer.objectives.contract import normaliser, rows_together
from trainer.objectives.objective import Columns, Objective, Place, Tensors

ON_HOST = ("documents",)
"""Columns that stay: where documents begin is found without asking a GPU."""


class PartedError(UserError):
    """A batch that parts rows which belong together; where its size is said, the run knows."""


@dataclass(frozen=True)
class StepLoss:
    """``loss`` is the sum over the global batch divided by ``normaliser``, without what the model
    added, None where there was nothing to learn; ``kept`` (B, ...) by name; ``auxiliary`` by name
    what it added.
    """

    loss: float | None
    normaliser: float
    kept: Columns
    auxiliary: Mapping[str, float]


@dataclass(frozen=True)
class PendingLoss:
    """A step's loss where it was computed, nobody having waited for it: ``summed`` () fp64 is what
    the normaliser divides.
    """

    summed: Tensor
    normaliser: float
    kept: Tensors
    auxiliary: Tensors

    @property
    def minimised(self) -> Tensor:
        """A scalar that is finite where everything that made the gradient is."""
        return sum(self.auxiliary.values(), self.summed)

    def read(self) -> StepLoss:
        """The figures on the host. Waits for the device. Without anything to divide by there is no
        loss, or one that is not a number where the sum is not finite.
        """
        summed = float(self.summed)
        nothing = None if math.isfinite(summed) else math.nan
        return StepLoss(
            summed / self.normaliser if self.normaliser > 0 else nothing,
            self.normaliser,
            {name: values.cpu().numpy() for name, values in self.kept.items()},
            {name: float(value) for name, value in self.auxiliary.items()},
        )


@dataclass(frozen=True)
class PartGradient:
    """A micro-batch of ``rows`` rows whose own gradient, and none but that, stands in the
    parameters' ``grad``: its sum over the ``whole`` normaliser of the global batch.

    ``normaliser`` is that of its rows alone; times ``whole / normaliser`` the gradient is the one
    of a batch that has no other rows.
    """

    rows: int
    normaliser: float
    whole: float


PartWatch: TypeAlias = Callable[[PartGradient], None]
"""Is called after the backward pass of each micro-batch; reads ``grad`` and leaves it as it is."""


def pending_loss(
    objective: Objective[Any],
    model: Model,
    batch: Batch,
    place: Place,
    rows: int,
    *,
    backward: bool,
    watch: PartWatch | None = None,
) -> PendingLoss:
    """Loss of a global batch on the model's device, which is not waited for: the batch goes there
    at once, its figures stay there. With ``backward`` its gradient is added to the parameters'
    ``grad``.

    ``rows``: at most so many in a micro-batch. ``watch``: who sees the gradient of each, which
    takes the memory of one more gradient. A batch whose normaliser is 0 has no loss and no
    gradient, and keeps nothing for one. Raises: PartedError when rows that belong together do not
    fill the batch; UserError when the normaliser is no number to divide by.
    """
    columns = objective.columns(batch, place)
    total = normaliser(objective, columns)
    with torch.set_grad_enabled(backward and total > 0):
        return _summed(objective, model, columns, total, rows, watch)


def _summed(
    objective: Objective[Any],
    model: Model,
    columns: Columns,
    total: float,
    rows: int,
    watch: PartWatch | None,
) -> PendingLoss:
    """The micro-batches of a batch, one after another; with their gradients where these are
    enabled.
    """
    device = model.embedding.device
    moved = {name: _moved(name, columns[name], device) for name in columns}
    summed = torch.zeros((), dtype=torch.float64, device=device)
    kept: dict[str, list[Tensor]] = {}
    auxiliary: dict[str, Tensor] = {}
    for part in micro_batches(row_count(columns), rows, rows_together(objective)):
        found = objective.loss(model, {name: column[part] for name, column in moved.items()})
        added = {
            name: objective.auxiliary_weight(name, columns, part) * value
            for name, value in model.auxiliary_losses().items()
        }
        if torch.is_grad_enabled():
            share = sum(added.values(), found.summed / total)
            if watch is None:
                share.backward()  # type: ignore[no-untyped-call]
            else:
                own = normaliser(objective, {name: columns[name][part] for name in columns})
                seen = PartGradient(part.stop - part.start, own, total)
                _apart(model, share, watch, seen)
        summed = summed + found.summed.detach().double()
        for name, value in added.items():
            auxiliary[name] = auxiliary.get(name, 0.0) + value.detach().double()
        for name, values in found.kept.items():
            kept.setdefault(name, []).append(values.detach())
    whole = {name: torch.cat(values) for name, values in kept.items()}
    return PendingLoss(summed, total, whole, auxiliary)


def _apart(model: Model, share: Tensor, watch: PartWatch, seen: PartGradient) -> None:
    """Add a micro-batch's gradient to those before it; between, ``watch`` sees it alone.

    Of bf16 parameters with fp32 gradients a backward pass may add to what is there, in several
    goes: there a micro-batch's own gradient is what the sum grew by, to the rounding of fp32.
    """
    parameters = list(model.parameters())
    grows = [keeps_wide_gradient(parameter) for parameter in parameters]
    before = [parameter.grad for parameter in parameters]
    for parameter, stays, summed in zip(parameters, grows, before, strict=True):
        parameter.grad = summed.clone() if stays and summed is not None else None
    share.backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        after = [parameter.grad for parameter in parameters]
        for parameter, stays, summed in zip(parameters, grows, before, strict=True):
            if stays and summed is not None and parameter.grad is not None:
                parameter.grad = torch.sub(parameter.grad, summed, out=summed)
        watch(seen)
        for parameter, stays, summed, own in zip(parameters, grows, before, after, strict=True):
            if not stays and summed is not None:
                own = summed if own is None else summed.add_(own)
            parameter.grad = own


def micro_batches(total: int, rows: int, together: int = 1) -> Iterator[slice]:
    """Consecutive slices of ``total`` rows, of at most ``rows`` each but at least ``together``,
    which they do not part.

    Raises: PartedError when the rows are not whole groups of ``together``.
    """
    if total % together:
        raise PartedError(
            f"a batch holds whole groups of {together} rows that belong together",
            found=f"{total} rows",
            fix=f"give a batch a multiple of {together} windows",
        )
    most = max(together, rows - rows % together)
    for first in range(0, total, most):
        yield slice(first, min(first + most, total))


def row_count(columns: Columns) -> int:
    """Rows of the columns. Raises: ValueError where they differ."""
    counts = {len(column) for column in columns.values()}
    if len(counts) != 1:
        raise ValueError(
            f"columns of one objective have {sorted(counts)} rows; a batch has one number of rows"
        )
    return counts.pop()


def _moved(name: str, column: NDArray[Any], device: torch.device) -> Tensor:
    # torch reads no array backwards
    tensor = torch.from_numpy(np.ascontiguousarray(column))
    return tensor if name in ON_HOST else to_device(tensor, device)
