"""The Euclidean norm of many gradients, and what clipping makes of it: all figures stay on the
device.

    norm = sqrt(sum of all g^2),  coefficient = min(1, limit / norm),
    skip = 1 where the norm is not finite, else 0

Gradients are only read here; the coefficient goes into the pass that uses them
(:mod:`trainer.kernels.adamw`): clipping writes nothing. A chunk whose sum of squares leaves fp32,
values of 1e17 and more, counts as not finite.

Bytes per element: 4 (2 in bf16). 2.72 billion in fp32: 10.9 GB, 2.5 ms on a device that copies 4.3
TB/s.

In two stages. First a program sums a chunk of one tensor in fp32, each lane its own column and the
lanes then pairwise: at most 64 terms in a row. Then one program adds the sums of all chunks in
fp64. Chunks have a fixed length, whatever the device, and sums a fixed order: the same bits every
time.

Shapes: C chunks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.kernels.compiled import Variant, pointer
from trainer.kernels.language import jit, tl
from trainer.kernels.tensor_table import TensorTable

BLOCK, WARPS = 2048, 8
CHUNK = 32 * BLOCK
FINAL_BLOCK, FINAL_WARPS = 2048, 8


@jit
def sum_of_squares_kernel(
    addresses_ptr,
    chunks_ptr,
    sums_ptr,
    EVEN: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
):
    program = tl.program_id(0).to(tl.int64)
    entry = addresses_ptr + tl.load(chunks_ptr + 2 * program).to(tl.int64) * 8
    start = tl.load(chunks_ptr + 2 * program + 1).to(tl.int64) * CHUNK
    address, elements = tl.load(entry + 1), tl.load(entry + 5)
    if EVEN:
        elements = tl.multiple_of(elements, 16)
    end = tl.minimum(elements, start + CHUNK) * (address != 0)
    full = tl.multiple_of(address.to(tl.pointer_type(tl.float32)), 16)
    half = tl.multiple_of(address.to(tl.pointer_type(tl.bfloat16)), 16)
    column = tl.arange(0, BLOCK)
    squares = tl.zeros((BLOCK,), tl.float32)
    if tl.load(entry + 6) != 0:
        for first in range(0, CHUNK, BLOCK):
            at = start + first + column
            g = tl.load(half + at, mask=at < end, other=0.0).to(tl.float32)
            squares += g * g
    else:
        for first in range(0, CHUNK, BLOCK):
            at = start + first + column
            g = tl.load(full + at, mask=at < end, other=0.0)
            squares += g * g
    tl.store(sums_ptr + program, tl.sum(squares, 0))


@jit
def clipping_kernel(
    sums_ptr, norm_ptr, coefficient_ptr, skip_ptr, places, limit, BLOCK: tl.constexpr
):
    column = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float64)
    for first in range(0, places, BLOCK):
        total += tl.load(sums_ptr + first + column).to(tl.float64)
    norm = tl.sqrt(tl.sum(total, 0))
    finite = norm < float("inf")
    tl.store(norm_ptr, norm)
    tl.store(
        coefficient_ptr,
        tl.where(finite & (norm > limit), limit / tl.where(norm > limit, norm, 1.0), 1.0).to(
            tl.float32
        ),
    )
    tl.store(skip_ptr, tl.where(finite, 0, 1))


def launch_gradient_norm(
    gradients: Sequence[Tensor | None], addresses: Tensor, chunks: Tensor, even: bool, limit: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Both stages; the kernel finds the gradients through their ``addresses``. See
    :func:`gradient_norm`.
    """
    norm, coefficient, skip = _results(addresses)
    places = -(-len(chunks) // FINAL_BLOCK) * FINAL_BLOCK  # the second stage reads whole blocks
    sums = torch.zeros(places, dtype=torch.float32, device=addresses.device)
    if len(chunks):
        sum_of_squares_kernel[(len(chunks),)](
            addresses, chunks, sums, EVEN=even, CHUNK=CHUNK, BLOCK=BLOCK, num_warps=WARPS
        )
    clipping_kernel[(1,)](
        sums, norm, coefficient, skip, places, limit, BLOCK=FINAL_BLOCK, num_warps=FINAL_WARPS
    )
    return norm, coefficient, skip


def torch_gradient_norm(
    gradients: Sequence[Tensor | None], addresses: Tensor, chunks: Tensor, even: bool, limit: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in torch, in fp64."""
    norm = euclidean_norm(gradients)
    finite = torch.isfinite(norm)
    coefficient = torch.where(finite & (norm > limit), limit / norm, 1.0).float()
    return norm, coefficient, (~finite).int()


def euclidean_norm(gradients: Sequence[Tensor | None]) -> Tensor:
    """The norm alone (fp64 scalar), each tensor summed in fp64 and the tensors in the order given;
    absent ones count as 0.
    """
    squares = [
        torch.linalg.vector_norm(one, dtype=torch.float64).square()
        for one in gradients
        if one is not None
    ]
    return torch.stack(squares).sum().sqrt() if squares else torch.zeros((), dtype=torch.float64)


def _results(like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Room for norm, coefficient and skip flag."""
    norm, coefficient = (
        like.new_empty((), dtype=torch.float64),
        like.new_empty((), dtype=torch.float32),
    )
    return norm, coefficient, like.new_empty((), dtype=torch.int32)


@torch.library.custom_op("windtunnel::gradient_norm", mutates_args=(), device_types="cuda")
def _gradient_norm(
    gradients: Sequence[Tensor | None], addresses: Tensor, chunks: Tensor, even: bool, limit: float
) -> tuple[Tensor, Tensor, Tensor]:
    return launch_gradient_norm(gradients, addresses, chunks, even, limit)


_gradient_norm.register_kernel("cpu")(torch_gradient_norm)


@_gradient_norm.register_fake
def _(
    gradients: Sequence[Tensor | None], addresses: Tensor, chunks: Tensor, even: bool, limit: float
) -> tuple[Tensor, Tensor, Tensor]:
    return _results(addresses)


def gradient_norm(
    table: TensorTable, gradients: Sequence[Tensor | None], limit: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Norm () fp64, coefficient () fp32 that brings it down to ``limit`` (1 where it is not above,
    or None), and skip flag () int32.

    ``table``: of the tensors the ``gradients`` (fp32, bf16 or None) belong to. Nothing waits for
    the device.
    """
    found: tuple[Tensor, Tensor, Tensor] = _gradient_norm(
        gradients,
        table.addresses(gradients),
        table.blocks(CHUNK),
        table.even,
        float("inf") if limit is None else limit,
    )
    return found


def variants(width: int) -> list[Variant]:
    """What is launched for tensors of even sizes."""
    full, long = pointer(torch.float32), pointer(torch.int64)
    first = {"addresses_ptr": long, "chunks_ptr": pointer(torch.int32), "sums_ptr": full}
    last = {
        "sums_ptr": full,
        "norm_ptr": "*fp64",
        "coefficient_ptr": full,
        "skip_ptr": pointer(torch.int32),
    }
    last |= {"places": "i32", "limit": "fp32"}
    return [
        Variant(
            sum_of_squares_kernel,
            first,
            {"EVEN": True, "CHUNK": CHUNK, "BLOCK": BLOCK},
            WARPS,
            narrow=6,
        ),
        Variant(clipping_kernel, last, {"BLOCK": FINAL_BLOCK}, FINAL_WARPS, narrow=3),
    ]
