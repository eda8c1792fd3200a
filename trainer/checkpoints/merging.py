"""A weighted sum of checkpoints' weights, a tensor at a time.

    weights = merged([first, second, third], [0.25, 0.25, 0.5])

Memory holds the sum and one tensor more, however many checkpoints there are; sums are in fp64 and
rounded once to the stored type. Which sums mean something is said by
:mod:`trainer.loop.decay_merge`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch

from artifacts.errors import UserError
from trainer.checkpoints.checkpoint import Checkpoint, Tensors
from trainer.checkpoints.weights import check_finite


def merged(checkpoints: Sequence[Checkpoint], coefficients: Sequence[float]) -> Tensors:
    """The sum of ``coefficients`` times the weights of ``checkpoints``, by name.

    Raises: UserError when a file is damaged, when names, shapes or types differ, and when the sum
    is not finite.
    """
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(checkpoint.open_weights()) for checkpoint in checkpoints]
        names = set(files[0].keys())
        for checkpoint, file in zip(checkpoints, files, strict=True):
            if odd := sorted(names ^ set(file.keys())):
                raise _other_model(checkpoint, odd[0])
        weights = {name: _sum(name, checkpoints, files, coefficients) for name in sorted(names)}
    check_finite(weights, checkpoints[-1].folder, "merge checkpoints with finite weights")
    return weights


def _sum(
    name: str, checkpoints: Sequence[Checkpoint], files: Sequence[Any], by: Sequence[float]
) -> torch.Tensor:
    first = files[0].get_tensor(name)
    total = torch.zeros(first.shape, dtype=torch.float64)
    for checkpoint, file, coefficient in zip(checkpoints, files, by, strict=True):
        tensor = file.get_tensor(name)
        if (tensor.shape, tensor.dtype) != (first.shape, first.dtype):
            raise _other_model(checkpoint, name)
        total.add_(tensor.double(), alpha=coefficient)
    return total.to(first.dtype)


def _other_model(checkpoint: Checkpoint, name: str) -> UserError:
    return UserError(
        "the weights are of another model than those they are merged with",
        file=checkpoint.folder,
        field=name,
        fix="merge checkpoints of one training",
    )
