"""The objective of pre-training: weighted nats of each target token, per target of the step.

The loss of a step is the sum of weighted nats over the global batch divided by the sum of the
weights over the global batch. What a model adds is taken for a mean over rows.

Shapes: B windows of T tokens in the global batch, b of them in a micro-batch, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixtures.loader.loader import Batch
from tokenizer.encode import Tokenizer
from trainer.model import Model
from trainer.objectives.gradient import pending_loss, row_count
from trainer.objectives.losses import NOTHING, Loss, Spaces, by_source, token_bytes
from trainer.objectives.objective import (
    NEXT_TOKEN,
    Columns,
    Figures,
    PartLoss,
    Place,
    Tensors,
    loader_columns,
)

NATS = "nats"


@dataclass(frozen=True)
class NextToken:
    """Nats per target token. ``sizes`` (V,): bytes that each id decodes to, for bits per byte;
    ``spaces``: which are not of the text.
    """

    sizes: NDArray[np.int64]
    spaces: Spaces | None = None

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> NextToken:
        """Over the ids of a tokenizer."""
        return cls(token_bytes(tokenizer), Spaces.of(tokenizer))

    @property
    def name(self) -> str:
        return NEXT_TOKEN

    @property
    def rows_together(self) -> int:
        return 1

    def settings(self) -> dict[str, Any]:
        return {}

    def columns(self, batch: Batch, place: Place) -> Columns:
        """The loader's."""
        return loader_columns(batch)

    def normaliser(self, columns: Columns) -> float:
        """The sum of the loss weights."""
        return float(columns["weights"].sum(dtype=np.float64))

    def loss(self, model: Model, columns: Tensors) -> PartLoss:
        """The sum of weighted nats, and ``nats`` (b, T) fp32 of each target, unweighted."""
        tokens, positions, targets = (
            columns[name].long() for name in ("tokens", "positions", "targets")
        )
        hidden = model(tokens, positions, columns["documents"])  # (b, T, D)
        summed, _, nats = model.loss(hidden, targets, columns["weights"])
        return PartLoss(summed, {NATS: nats.detach().float()})

    def auxiliary_weight(self, name: str, columns: Columns, part: slice) -> float:
        """The micro-batch's share of the rows."""
        rows: int = part.stop - part.start
        return rows / row_count(columns)

    def measure(self, batch: Batch, kept: Columns, sources: Sequence[str]) -> dict[str, Loss]:
        """The loss of each source that has windows in the batch."""
        losses = by_source(
            kept[NATS], batch.targets, batch.weights, batch.source, sources, self.sizes
        )
        if self.spaces is None:
            return losses
        spaces = self.spaces.among(batch.tokens, batch.targets) * batch.weights
        counts = np.bincount(batch.source, spaces.sum(1), minlength=len(sources))
        return {
            source: losses[source] + Loss(0.0, 0.0, -float(count))
            for source, count in zip(sources, counts, strict=True)
            if source in losses
        }

    def figures(self, measures: Mapping[str, Loss]) -> Figures:
        """Bits per byte, the targets, and the losses by source."""
        whole = sum(measures.values(), NOTHING)
        return Figures(
            units={"bits_per_byte": whole.to_json()["bits_per_byte"]},
            further={
                "targets": whole.tokens,
                "sources": {name: loss.to_json() for name, loss in measures.items()},
            },
        )


@dataclass(frozen=True)
class TokenLoss:
    """``loss`` nats per target token, not a number without any; ``targets`` the sum of the loss
    weights, ``nats`` (B, T) of each target, unweighted.
    """

    loss: float
    targets: float
    nats: NDArray[np.float32]


def batch_loss(model: Model, batch: Batch, rows: int, *, backward: bool) -> TokenLoss:
    """Next-token loss of a global batch; with ``backward`` its gradient is added to the parameters'
    ``grad``.

    ``rows``: windows per micro-batch. A batch without any target has no gradient.
    """
    objective = NextToken(np.zeros(0, np.int64))  # nobody asks for bits per byte
    found = pending_loss(objective, model, batch, Place(0), rows, backward=backward).read()
    loss = math.nan if found.loss is None else found.loss
    return TokenLoss(loss, found.normaliser, found.kept[NATS])
