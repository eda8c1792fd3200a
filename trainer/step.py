"""One optimizer step's gradient: a global batch in micro-batches, normalised by its own target tokens.

The loss of a step is the sum of weighted nats over the whole global batch divided by the sum of the weights over
the whole global batch. Each micro-batch adds its share of that quotient to the gradients, so a micro-batch
with few targets counts for few, and cutting the batch otherwise changes rounding only.

Shapes: B windows of T tokens in the global batch, b of them in a micro-batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mixtures.loader import Batch
from trainer.model import Model


@dataclass(frozen=True)
class StepLoss:
    """``loss`` nats per target token, ``targets`` the sum of the loss weights, ``nats`` (B, T) of each target, unweighted."""

    loss: float
    targets: float
    nats: NDArray[np.float32]


def micro_batches(batch: Batch, rows: int) -> Iterator[slice]:
    """Consecutive slices of at most ``rows`` windows."""
    for first in range(0, len(batch.tokens), rows):
        yield slice(first, min(first + rows, len(batch.tokens)))


def batch_loss(model: Model, batch: Batch, rows: int, *, backward: bool, device: torch.device | str = "cpu") -> StepLoss:
    """Loss of a global batch; with ``backward`` its gradient is added to the parameters' ``grad``.

    ``rows``: windows per micro-batch. A batch without any target has loss 0 and no gradient.
    """
    total = float(batch.weights.sum(dtype=np.float64))
    nats = np.zeros(batch.tokens.shape, np.float32)
    summed = 0.0
    for part in micro_batches(batch, rows):
        part_nats, part_each = forward(model, batch, part, device)
        if backward and total > 0:
            (part_nats / total).backward()  # type: ignore[no-untyped-call]
        summed += float(part_nats.detach())
        nats[part] = part_each.detach().float().cpu().numpy().reshape(nats[part].shape)
    return StepLoss(summed / total if total > 0 else 0.0, total, nats)


def forward(model: Model, batch: Batch, part: slice, device: torch.device | str) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of weighted nats of some windows, a scalar, and nats of each target (b, T)."""
    tokens, positions, documents, targets = (
        torch.from_numpy(column[part]).to(device).long() for column in (batch.tokens, batch.positions, batch.documents, batch.targets)
    )
    weights = torch.from_numpy(batch.weights[part]).to(device)
    hidden = model(tokens, positions, documents)  # (b, T, d)
    nats, _, each = model.loss(hidden, targets, weights)
    return nats, each
