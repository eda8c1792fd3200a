"""How a gradient changes along an update (arXiv 2404.06395, section 4.4).

With v the change of all weights, g the gradient before it and g' the one after,

    D1 = g' v / |v|     D2 = (g' - g) v / |v|^2     K = |D2| / (1 + D1^2)^(3/2)

D1 and D2 are the slope and the second derivative of the loss along v, K is the curvature of its
graph. With both gradients of one batch D2 is v'Hv / |v|^2, the Hessian averaged over the update.
With gradients of two batches, as in the paper, it is that and the noise: v is made of g, so the
noise of g alone makes D2 larger, by about 1 / |v|, and K grows as the learning rate falls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Bend:
    """``d1`` in nats per unit of weights, ``d2`` per unit squared."""

    d1: float
    d2: float

    @classmethod
    def along(
        cls,
        weights: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
        gradients: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
    ) -> Bend | None:
        """From weights and gradients before and after an update, tensors by name; a gradient that
        is missing is zero. None where no weight changed. Differences, products and sums are fp64.
        """
        length = slope = bend = 0.0
        for name, after in weights[1].items():
            change = _difference(after, weights[0][name])
            length += float(torch.dot(change, change))
            before, there = (gradient.get(name) for gradient in gradients)
            if there is not None:
                slope += float(torch.dot(there.flatten().double(), change))
            if there is not None or before is not None:
                bend += float(torch.dot(_difference(there, before), change))
        return cls(slope / length**0.5, bend / length) if length > 0 else None

    @property
    def curvature(self) -> float:
        """K."""
        return float(abs(self.d2) / (1.0 + self.d1**2) ** 1.5)

    def to_json(self) -> dict[str, float]:
        return {"d1": self.d1, "d2": self.d2, "curvature": self.curvature}


def _difference(left: Tensor | None, right: Tensor | None) -> Tensor:
    """``left`` - ``right`` (elements,) in fp64; None is zero, and one of them is none."""
    if left is None:
        assert right is not None  # the caller's word
        return -right.flatten().double()
    return left.flatten().double() - (0.0 if right is None else right.flatten().double())
