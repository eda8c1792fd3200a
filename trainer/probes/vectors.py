"""Products of vectors that are a model's tensors by name, summed in fp64 and in one order, however
a tensor lies in memory.

Of no tensor is more than one fp64 copy held at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def squares(tensors: Iterable[Tensor]) -> float:
    """The squared Euclidean norm of all tensors together."""
    return sum(
        float(torch.linalg.vector_norm(tensor.flatten(), dtype=torch.float64).square())
        for tensor in tensors
    )


def dot(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> float:
    """The inner product; a tensor that either lacks is zero there."""
    return sum(
        float(torch.dot(left[name].flatten().double(), right[name].flatten().double()))
        for name in left
        if name in right
    )
