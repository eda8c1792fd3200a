"""Linear layers in 8-bit floats, one scale per tensor: y = (xq wq^T) / (sx sw), with xq = round(x
sx) and sx = max of the type / max |x|.

    forward     y  = xq wq^T    inputs and weights in e4m3 (largest 448), sums in the tensor cores'
                                own fast way
    backward    dx = gq wq      gradients in e5m2 (largest 57,344, two bits), sums in fp32
                dw = gq^T xq    from the 8-bit input kept by the forward pass, half the memory of
                                bf16

Scales are found anew each time, on the device, from the tensors themselves: no history, nothing to
store in checkpoints. Embedding, head, norms and attention stay as they are. Idea and choice of
scales: tensorwise scaling as in torchao and nanochat; per-row scales cost more than they gain at
these widths.

Bytes per bf16 value: 2 to find the largest, 3 to round, 2 more for the copy by columns that a
backward product wants (tensor cores take 8-bit operands in one order only). Products run at twice
the rate of bf16. So it pays for wide matrices and long micro-batches, and is off unless asked for:
16,384 rows of 2304 take 189 MB to round, 44 us on a device that copies 4.3 TB/s.

On a CPU the same arithmetic is done in the open: rounded to 8 bits, multiplied in fp32. Shapes: M
tokens, K inputs, N outputs; K and N multiples of 16 on a GPU (tensor cores), of anything on a CPU;
M is filled up with zeros where it is summed over.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainer.kernels.compiled import Variant, pointer
from trainer.kernels.language import jit, tl

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
MULTIPLE = 16  # what tensor cores ask of both sizes of a matrix
BLOCK, WARPS = 2048, 4
# a tensor whose largest value is smaller is scaled as if this were it: zeros stay zeros
SMALLEST = 1e-12


@jit
def round_kernel(x_ptr, scale_ptr, q_ptr, values, largest, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    scaled = tl.load(x_ptr + at, mask=at < values, other=0.0).to(tl.float32) * tl.load(scale_ptr)
    bounded = tl.minimum(tl.maximum(scaled, -largest), largest)
    tl.store(q_ptr + at, bounded.to(q_ptr.dtype.element_ty), mask=at < values)


def scale_of(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The fp32 scalar that brings the largest value of ``x`` to the largest of ``dtype``; not
    finite where a value is not.
    """
    reach = (
        torch.linalg.vector_norm(x, torch.inf).float()
        if x.numel()
        else x.new_zeros((), dtype=torch.float32)
    )
    return torch.finfo(dtype).max / reach.clamp(min=SMALLEST)


def launch_round(x: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """``x`` times ``scale`` in 8 bits, by the kernel."""
    q, x = torch.empty(x.shape, dtype=dtype, device=x.device), x.contiguous()
    round_kernel[(-(-x.numel() // BLOCK),)](
        x, scale, q, x.numel(), torch.finfo(dtype).max, BLOCK=BLOCK, num_warps=WARPS
    )
    return q


def torch_round(x: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """The same in torch."""
    largest = torch.finfo(dtype).max
    return (x.float() * scale).clamp(-largest, largest).to(dtype)


def quantised(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """``x`` in 8 bits, and the fp32 scalar that undoes its scale."""
    scale = scale_of(x, dtype)
    return (launch_round if x.is_cuda else torch_round)(x, scale, dtype), scale.reciprocal()


def emulated_product(
    a: Tensor, b: Tensor, a_scale: Tensor, b_scale: Tensor, dtype: torch.dtype, fast: bool
) -> Tensor:
    """``torch._scaled_mm`` in the open: products of 8-bit values (exact in fp32) summed in fp32,
    then scaled and rounded once.
    """
    return (a.float() @ b.float() * (a_scale * b_scale)).to(dtype)


def device_product(
    a: Tensor, b: Tensor, a_scale: Tensor, b_scale: Tensor, dtype: torch.dtype, fast: bool
) -> Tensor:
    """(M, K) by (K, N) on the tensor cores, which want the second operand by columns."""
    by_columns = b if b.stride(0) == 1 else b.t().contiguous().t()
    return torch._scaled_mm(
        a.contiguous(),
        by_columns,
        scale_a=a_scale,
        scale_b=b_scale,
        out_dtype=dtype,
        use_fast_accum=fast,
    )


def _forward(
    x: Tensor, weight: Tensor, product: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The product and what the backward needs, 8-bit values as plain bytes, which every part of
    torch can compare and copy.
    """
    rows = x.reshape(-1, x.shape[-1])
    xq, x_scale = quantised(rows, E4M3)
    wq, w_scale = quantised(weight, E4M3)
    y = (
        product(xq, wq.t(), x_scale, w_scale, x.dtype, True)
        if len(rows)
        else x.new_empty(0, len(weight))
    )
    return (
        y.view(*x.shape[:-1], len(weight)),
        xq.view(torch.uint8),
        x_scale,
        wq.view(torch.uint8),
        w_scale,
    )


def _backward(
    dy: Tensor,
    xq: Tensor,
    x_scale: Tensor,
    wq: Tensor,
    w_scale: Tensor,
    dtype: torch.dtype,
    product: Any,
) -> tuple[Tensor, Tensor]:
    rows, xq, wq = dy.reshape(-1, dy.shape[-1]), xq.view(E4M3), wq.view(E4M3)
    if not len(rows):
        return dy.new_empty(*dy.shape[:-1], wq.shape[1]), dy.new_zeros(wq.shape, dtype=dtype)
    gq, g_scale = quantised(rows, E5M2)
    dx = product(gq, wq, g_scale, w_scale, dy.dtype, False)
    dw = product(whole(gq).t(), whole(xq), g_scale, x_scale, dtype, False)
    return dx.view(*dy.shape[:-1], wq.shape[1]), dw


def whole(rows: Tensor) -> Tensor:
    """``rows`` of 8-bit values with zeros added to a multiple of 16 of them, which they are summed
    over: it changes nothing else.
    """
    lacking = -len(rows) % MULTIPLE
    if not lacking:
        return rows
    zeros = rows.new_zeros(lacking, rows.shape[1], dtype=torch.uint8).view(rows.dtype)
    return torch.cat([rows.view(torch.uint8), zeros.view(torch.uint8)]).view(rows.dtype)


@torch.library.custom_op("windtunnel::float8_linear", mutates_args=(), device_types="cuda")
def _float8_linear(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _forward(x, weight, device_product)


@torch.library.custom_op("windtunnel::float8_linear_backward", mutates_args=(), device_types="cuda")
def _float8_linear_backward(
    dy: Tensor, xq: Tensor, x_scale: Tensor, wq: Tensor, w_scale: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    return _backward(dy, xq, x_scale, wq, w_scale, dtype, device_product)


@_float8_linear.register_kernel("cpu")
def _(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _forward(x, weight, emulated_product)


@_float8_linear_backward.register_kernel("cpu")
def _(
    dy: Tensor, xq: Tensor, x_scale: Tensor, wq: Tensor, w_scale: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    return _backward(dy, xq, x_scale, wq, w_scale, dtype, emulated_product)


@_float8_linear.register_fake
def _(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    scale = x.new_empty((), dtype=torch.float32)
    rows = x.numel() // x.shape[-1]
    xq = x.new_empty(rows, x.shape[-1], dtype=torch.uint8)
    wq = weight.new_empty(weight.shape, dtype=torch.uint8)
    return x.new_empty(*x.shape[:-1], weight.shape[0]), xq, scale, wq, torch.empty_like(scale)


@_float8_linear_backward.register_fake
def _(
    dy: Tensor, xq: Tensor, x_scale: Tensor, wq: Tensor, w_scale: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    return dy.new_empty(*dy.shape[:-1], wq.shape[1]), dy.new_empty(wq.shape, dtype=dtype)


def _save(
    ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
) -> None:
    ctx.dtype = inputs[1].dtype
    ctx.save_for_backward(*output[1:])
    ctx.mark_non_differentiable(*output[1:])


def _gradient(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:
    dx, dw = _float8_linear_backward(dy, *ctx.saved_tensors, ctx.dtype)
    return dx, dw


_float8_linear.register_autograd(_gradient, setup_context=_save)


def float8_linear(x: Tensor, weight: Tensor) -> Tensor:
    """``x`` (..., K) times ``weight`` (N, K) transposed: (..., N) in the dtype of ``x``;
    differentiable once, in both.
    """
    y: Tensor = _float8_linear(x, weight)[0]
    return y


def variants(width: int) -> list[Variant]:
    """What is launched to round bf16 values to either type."""
    types = {
        "x_ptr": pointer(torch.bfloat16),
        "scale_ptr": pointer(torch.float32),
        "values": "i32",
        "largest": "fp32",
    }
    names = [{**types, "q_ptr": pointer(dtype)} for dtype in (E4M3, E5M2)]
    return [
        Variant(round_kernel, named, {"BLOCK": BLOCK}, WARPS, narrow=1, divisible=("values",))
        for named in names
    ]
