"""8-bit floats in a model: which matrices multiply in them, and what that asks of shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from artifacts.errors import UserError
from trainer.devices.precision import check_device
from trainer.kernels.float8 import MULTIPLE

if TYPE_CHECKING:
    from trainer.model.decoder import Model


def use_float8(model: Model, device: torch.device) -> None:
    """From here on the layers' matrices multiply in 8 bits. Raises: UserError where ``device`` or
    the shape cannot.
    """
    check_device(device)
    check_shapes(model)
    emulate_float8(model)


def check_shapes(model: Model) -> None:
    """Raises: UserError naming the first matrix with a size that is no multiple of 16."""
    for path, matrix in model.matrices():
        for size in matrix.weight.shape:
            if size % MULTIPLE:
                raise UserError(
                    "a matrix for products of 8-bit floats has sizes that are multiples of "
                    f"{MULTIPLE}",
                    field="train.float8",
                    found=f"{path}: {' x '.join(map(str, matrix.weight.shape))}",
                    fix="change model.width, model.ff or model.head_dim, or leave float8 out",
                )


def emulate_float8(model: Model) -> None:
    """The same without asking: on a CPU the arithmetic of 8 bits at the speed of fp32 and less, for
    tests and comparisons.
    """
    for _, matrix in model.matrices():
        matrix.float8 = True
