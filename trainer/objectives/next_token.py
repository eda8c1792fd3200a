"""The objective of pre-training: nats of each target token, averaged over the targets of a step.

The loss of a step is the sum of weighted nats over the whole global batch divided by the sum of the
weights over the whole global batch: a micro-batch with few targets counts for few.

Shapes: B windows of T tokens in the global batch, b of them in a micro-batch, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixtures.loader.loader import Batch
from trainer.model import Model
from trainer.objectives.gradient import pending_loss
from trainer.objectives.losses import by_source
from trainer.objectives.objective import Columns, Measured, PartLoss

NATS = "nats"


@dataclass(frozen=True)
class NextToken:
    """Weighted nats per target token. ``sizes`` (V,): bytes that each id decodes to, for bits per
    byte.
    """

    sizes: NDArray[np.int64]
    name: str = "next_token"
    rows_together: int = 1

    def settings(self) -> dict[str, Any]:
        return {}

    def columns(self, batch: Batch) -> Mapping[str, NDArray[np.generic]]:
        return {}

    def normaliser(self, batch: Batch) -> float:
        """The sum of the batch's weights."""
        return float(batch.weights.sum(dtype=np.float64))

    def loss(self, model: Model, columns: Columns) -> PartLoss:
        """Sum of weighted nats, and the nats of each target (b, T), unweighted."""
        tokens, positions, targets = (
            columns[name].long() for name in ("tokens", "positions", "targets")
        )
        hidden = model(tokens, positions, columns["documents"])  # (b, T, D)
        nats, _, each = model.loss(hidden, targets, columns["weights"])
        return PartLoss(nats, {NATS: each.float()})

    def measure(
        self, batch: Batch, kept: Mapping[str, NDArray[Any]], sources: tuple[str, ...]
    ) -> Measured:
        """The loss of each source that has windows in the batch."""
        losses = by_source(
            kept[NATS], batch.targets, batch.weights, batch.source, sources, self.sizes
        )
        return Measured(losses)


@dataclass(frozen=True)
class TokenLoss:
    """``loss`` nats per target token, ``targets`` the sum of the loss weights, ``nats`` (B, T) of
    each target, unweighted.
    """

    loss: float
    targets: float
    nats: NDArray[np.float32]


def batch_loss(model: Model, batch: Batch, rows: int, *, backward: bool) -> TokenLoss:
    """Next-token loss of a global batch; with ``backward`` its gradient is added to the parameters'
    ``grad``.

    ``rows``: windows per micro-batch. A batch without any target has loss 0 and no gradient.
    """
    objective = NextToken(np.zeros(0, np.int64))  # nothing is asked in bits per byte
    step = pending_loss(objective, model, batch, rows, backward=backward).read()
    return TokenLoss(step.loss, step.normaliser, step.kept[NATS].astype(np.float32, copy=False))
