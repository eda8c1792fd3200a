"""One optimizer step's gradient: a global batch in micro-batches, normalised by its own target
tokens.

The loss of a step is the sum of weighted nats over the whole global batch divided by the sum of the
weights over the whole global batch. Each micro-batch adds its share of that quotient to the
gradients, so a micro-batch with few targets counts for few, and cutting the batch otherwise changes
rounding only.

Shapes: B windows of T tokens in the global batch, b of them in a micro-batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixtures.loader.loader import Batch
from trainer.kernels.transfer import to_device
from trainer.model.decoder import Model

COLUMNS = ("tokens", "positions", "targets", "weights")


@dataclass(frozen=True)
class StepLoss:
    """``loss`` nats per target token, ``targets`` the sum of the loss weights, ``nats`` (B, T) of
    each target, unweighted.
    """

    loss: float
    targets: float
    nats: NDArray[np.float32]


@dataclass(frozen=True)
class PendingLoss:
    """A step's loss where it was computed, nobody having waited for it: ``summed`` weighted nats ()
    fp64, ``nats`` (B, T) fp32.
    """

    summed: Tensor
    targets: float
    nats: Tensor

    def read(self) -> StepLoss:
        """The figures on the host. Waits for the device."""
        loss = float(self.summed) / self.targets if self.targets > 0 else 0.0
        return StepLoss(loss, self.targets, self.nats.cpu().numpy())


def micro_batches(batch: Batch, rows: int) -> Iterator[slice]:
    """Consecutive slices of at most ``rows`` windows."""
    for first in range(0, len(batch.tokens), rows):
        yield slice(first, min(first + rows, len(batch.tokens)))


def batch_loss(model: Model, batch: Batch, rows: int, *, backward: bool) -> StepLoss:
    """Loss of a global batch; with ``backward`` its gradient is added to the parameters' ``grad``.

    ``rows``: windows per micro-batch. A batch without any target has loss 0 and no gradient.
    """
    return pending_loss(model, batch, rows, backward=backward).read()


def pending_loss(model: Model, batch: Batch, rows: int, *, backward: bool) -> PendingLoss:
    """:func:`batch_loss` on the model's device, which is not waited for: the batch goes there at
    once, its figures stay there.
    """
    total = float(batch.weights.sum(dtype=np.float64))
    device = model.embedding.device
    columns = {name: to_device(torch.from_numpy(getattr(batch, name)), device) for name in COLUMNS}
    # stays here: where they begin is found without asking a GPU
    columns["documents"] = torch.from_numpy(batch.documents)
    summed = torch.zeros((), dtype=torch.float64, device=device)
    each = []
    for part in micro_batches(batch, rows):
        part_nats, part_each = forward(model, columns, part)
        if backward and total > 0:
            (part_nats / total).backward()  # type: ignore[no-untyped-call]
        summed = summed + part_nats.detach().double()
        each.append(part_each.detach().float())
    return PendingLoss(summed, total, torch.cat(each))


def forward(model: Model, columns: Mapping[str, Tensor], part: slice) -> tuple[Tensor, Tensor]:
    """Sum of weighted nats of some windows, a scalar, and nats of each target (b, T)."""
    tokens, positions, targets = (
        columns[name][part].long() for name in ("tokens", "positions", "targets")
    )
    hidden = model(tokens, positions, columns["documents"][part])  # (b, T, d)
    nats, _, each = model.loss(hidden, targets, columns["weights"][part])
    return nats, each
