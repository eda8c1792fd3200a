"""One optimizer step's gradient: a global batch in micro-batches, normalised as a whole.

The loss of a step is the objective's sum over the whole global batch divided by its normaliser of
the whole global batch. Each micro-batch adds its share of that quotient to the gradients, so a
micro-batch with little to learn counts for little, and cutting the batch otherwise changes rounding
only. Auxiliary losses that the model has of its own are means over the tokens of a micro-batch;
each counts with its micro-batch's share of the rows.

Shapes: B windows of T tokens in the global batch, b of them in a micro-batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artifacts.errors import UserError
from mixtures.loader.loader import Batch
from trainer.kernels.transfer import to_device
from trainer.model import Model
from trainer.objectives.objective import Columns, Objective

COLUMNS = ("tokens", "positions", "targets", "weights")


@dataclass(frozen=True)
class StepLoss:
    """``loss`` per unit of the ``normaliser``; ``kept`` (B, ...) by name; ``auxiliary`` losses of
    the model by name, each its mean over the batch.
    """

    loss: float
    normaliser: float
    kept: Mapping[str, NDArray[np.generic]]
    auxiliary: Mapping[str, float]


@dataclass(frozen=True)
class PendingLoss:
    """A step's loss where it was computed, nobody having waited for it: ``summed`` () fp64 is what
    the normaliser divides.
    """

    summed: Tensor
    normaliser: float
    kept: Mapping[str, Tensor]
    auxiliary: Mapping[str, Tensor]

    def read(self) -> StepLoss:
        """The figures on the host. Waits for the device."""
        loss = float(self.summed) / self.normaliser if self.normaliser > 0 else 0.0
        kept = {name: values.cpu().numpy() for name, values in self.kept.items()}
        auxiliary = {name: float(value) for name, value in self.auxiliary.items()}
        return StepLoss(loss, self.normaliser, kept, auxiliary)


def micro_batches(batch: Batch, rows: int, together: int = 1) -> Iterator[slice]:
    """Consecutive slices of at most ``rows`` windows (one group where that is less), which keep
    groups of ``together`` rows whole.

    Raises: UserError when the batch does not consist of whole groups.
    """
    if len(batch.tokens) % together:
        raise UserError(
            f"rows are compared in groups of {together}, which do not fill a batch",
            field="train.batch_tokens",
            found=f"{len(batch.tokens)} windows",
            fix=f"choose batch_tokens as a multiple of {together} windows",
        )
    step = max(together, rows - rows % together)
    for first in range(0, len(batch.tokens), step):
        yield slice(first, min(first + step, len(batch.tokens)))


def pending_loss(
    objective: Objective, model: Model, batch: Batch, rows: int, *, backward: bool
) -> PendingLoss:
    """Loss of a global batch on the model's device, which is not waited for: the batch goes there
    at once, its figures stay there. With ``backward`` its gradient is added to the parameters'
    ``grad``.

    ``rows``: windows per micro-batch. A batch with normaliser 0 has loss 0 and no gradient.
    """
    total = objective.normaliser(batch)
    columns = _on_device(objective, model, batch)
    summed = torch.zeros((), dtype=torch.float64, device=model.embedding.device)
    kept: dict[str, list[Tensor]] = {}
    auxiliary: dict[str, Tensor] = {}
    for part in micro_batches(batch, rows, objective.rows_together):
        found = objective.loss(model, {name: column[part] for name, column in columns.items()})
        share = (part.stop - part.start) / len(batch.tokens)
        extra = {name: value * share for name, value in model.auxiliary_losses().items()}
        if backward and total > 0:
            sum(extra.values(), found.summed / total).backward()  # type: ignore[no-untyped-call]
        summed = summed + found.summed.detach().double()
        for name, values in found.kept.items():
            kept.setdefault(name, []).append(values.detach())
        for name, value in extra.items():
            auxiliary[name] = auxiliary.get(name, 0.0) + value.detach()
    whole = {name: torch.cat(parts) for name, parts in kept.items()}
    return PendingLoss(summed, total, whole, auxiliary)


def _on_device(objective: Objective, model: Model, batch: Batch) -> Columns:
    """The batch where the model is, with the objective's own columns beside the loader's."""
    device = model.embedding.device
    own = objective.columns(batch)
    arrays = {**{name: getattr(batch, name) for name in COLUMNS}, **own}
    columns = {name: to_device(torch.from_numpy(array), device) for name, array in arrays.items()}
    # stays here: where they begin is found without asking a GPU
    columns["documents"] = torch.from_numpy(batch.documents)
    return columns
