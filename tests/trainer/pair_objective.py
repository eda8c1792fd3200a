"""An objective over pairs of windows, and a model with a loss of its own: what the seam must carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from mixtures.loader.loader import Batch
from trainer.model import Model
from trainer.objectives.objective import (
    Columns,
    Figures,
    PartLoss,
    Place,
    Tensors,
    loader_columns,
)

BALANCE = 0.25


class BalancedModel(Model):
    """The decoder with a loss on the size of its hidden states, a mean over rows."""

    def forward(self, *columns: Tensor) -> Tensor:
        hidden: Tensor = super().forward(*columns)
        self.pending = [*getattr(self, "pending", []), hidden.float().square().mean()]
        return hidden

    def auxiliary_losses(self) -> Mapping[str, Tensor]:
        pending, self.pending = self.pending, []
        return {"balance": torch.stack(pending).sum()}


@dataclass(frozen=True)
class PairMeasure:
    """Sums over pairs."""

    nats: float
    right: int
    pairs: int

    def __add__(self, other: PairMeasure) -> PairMeasure:
        return PairMeasure(
            self.nats + other.nats, self.right + other.right, self.pairs + other.pairs
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "pairs": self.pairs,
            "loss": self.nats / self.pairs,
            "accuracy": self.right / self.pairs,
        }


@dataclass(frozen=True)
class Pairs:
    """Of windows 2k and 2k + 1 the first is to be the likelier, more than a reference finds it so:
    -log sigmoid(beta (logp_2k - logp_2k+1 - reference)), per pair.
    """

    beta: float = 0.1
    name: str = "pairs"
    rows_together: int = 2

    def settings(self) -> dict[str, Any]:
        return {"beta": self.beta}

    def columns(self, batch: Batch, place: Place) -> Columns:
        """The loader's and ``reference`` (B,), looked up by the windows' places."""
        first = place.step * len(batch.tokens) + (1000 if place.held_out else 0)
        reference = np.sin(np.arange(first, first + len(batch.tokens))).astype(np.float32)
        return {**loader_columns(batch), "reference": reference}

    def normaliser(self, columns: Columns) -> float:
        return len(columns["reference"]) / 2

    def loss(self, model: Model, columns: Tensors) -> PartLoss:
        tokens, positions, targets = (
            columns[name].long() for name in ("tokens", "positions", "targets")
        )
        scores = model.logits(model(tokens, positions, columns["documents"])).float()
        nats = F.cross_entropy(scores.flatten(0, 1), targets.flatten(), reduction="none")
        likely = -(nats.view(targets.shape) * columns["weights"]).sum(1) - columns["reference"]
        each = F.softplus(-self.beta * (likely[0::2] - likely[1::2]))
        return PartLoss(each.sum(), {"nats": each, "right": likely[0::2] > likely[1::2]})

    def auxiliary_weight(self, name: str, columns: Columns, part: slice) -> float:
        assert name == "balance"
        rows: int = part.stop - part.start
        return BALANCE * rows / len(columns["reference"])

    def measure(
        self, batch: Batch, kept: Columns, sources: Sequence[str]
    ) -> dict[str, PairMeasure]:
        found = {}
        for index in np.unique(batch.source[0::2]):
            own = batch.source[0::2] == index
            found[sources[index]] = PairMeasure(
                float(kept["nats"][own].sum(dtype=np.float64)),
                int(kept["right"][own].sum()),
                int(own.sum()),
            )
        return found

    def figures(self, measures: Mapping[str, PairMeasure]) -> Figures:
        pairs = sum(measure.pairs for measure in measures.values())
        right = sum(measure.right for measure in measures.values())
        return Figures(further={"pairs": pairs, "accuracy": right / pairs})
