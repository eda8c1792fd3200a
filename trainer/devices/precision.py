"""On which device and in which precision a run computes.

    fp32    weights, moments, activations and every sum of products in 32 bits; sums that decide a
            figure in 64
    bf16    weights as the model sees them, activations and what products take in in bf16; masters,
            moments, gradients summed over micro-batches, and every sum of products in fp32
    auto    what the device trains best in: bf16 on a GPU of compute capability 8 or more, fp32
            elsewhere

Checkpoints hold fp32 masters, whatever the precision. On a CPU bf16 is right but slower than fp32:
:func:`trainer.loop.training.train` does what it is told, so that the tests need no GPU; recipes and
commands ask :func:`check_possible` first, which refuses.

Torch has switches that would make a precision something else in silence: another default type, and
products that may be rounded to bf16 inside, or their sums. While a run lasts they stand where the
name says.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from artifacts.errors import UserError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
AMPERE = 8
"""Compute capability from which on products of bf16 are the GPU's own."""


def device_of(name: str) -> torch.device:
    """The device ``auto`` (a GPU where there is one), ``cpu`` or ``cuda`` comes to. Raises:
    UserError where there is no GPU.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(
            "torch finds no GPU here",
            field="train.device",
            found=name,
            allowed=["auto", "cpu"],
            fix="leave device out",
        )
    # read at the first product; deterministic algorithms need it
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return torch.device("cuda", torch.cuda.current_device())


def best_precision(device: torch.device) -> str:
    """What ``auto`` comes to."""
    return (
        "bf16"
        if device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= AMPERE
        else "fp32"
    )


def check_possible(precision: str, device: str, *, float8: bool = False) -> None:
    """Raises: UserError where the device is not here, or this machine cannot train in the precision
    at a speed worth having.
    """
    found = device_of(device)
    if float8:
        check_device(found)
    if precision == "bf16" and best_precision(found) != "bf16":
        raise UserError(
            f"bf16 needs a GPU of compute capability {AMPERE}.0 or more",
            field="train.precision",
            found=precision,
            allowed=["auto", "fp32"],
            fix="leave precision out: auto trains in fp32 on this machine",
        )


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[torch.dtype]:
    """Torch's switches as ``precision``, one of :data:`DTYPES`, has them, while the block runs;
    yields the type the model computes in.

    What is not said to be bf16 is fp32, and no sum of products is rounded on its way. The switches
    are put back afterwards.
    """
    before, products = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    sums = torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    torch.set_default_dtype(torch.float32)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    try:
        yield DTYPES[precision]
    finally:
        torch.set_default_dtype(before)
        torch.set_float32_matmul_precision(products)
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = sums


def check_device(device: torch.device) -> None:
    """Raises: UserError where tensor cores take no 8-bit floats."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 9):
        found = "a CPU" if device.type != "cuda" else torch.cuda.get_device_name(device)
        raise UserError(
            "products of 8-bit floats need a GPU of compute capability 8.9 or higher (Ada, Hopper, "
            "Blackwell)",
            field="train.float8",
            found=found,
            fix="leave float8 out on this machine",
        )
