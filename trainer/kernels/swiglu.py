"""SwiGLU on a packed product: h = silu(gate) * up, silu(x) = x * sigmoid(x), and the whole branch h
W^T that keeps no h.

Backward, with s = sigmoid(gate):  d_up = dh * gate * s,  d_gate = dh * up * s * (1 + gate * (1 -
s)).

``swiglu_linear`` saves its two arguments alone. Its backward makes dh = dy W, then one pass over
gate_up and dh writes d_gate_up and, where dh stood, h anew, for dW = dy^T h. That spares N F values
per layer and costs one write of them.

Bytes per row in bf16: forward 6 F (read gate and up, write h), backward 10 F (read dh, gate, up,
write d_gate, d_up), with h 12 F. At 16,384 rows of 5760: 566, 944 and 1132 MB, 132, 219 and 263 us
on a device that copies 4.3 TB/s. The products are torch's.

The kernels see h as one long row and a program as a tile of it; the row a tile begins in is found
once per program.

Shapes: N rows, F inner width, d width; gate_up (N, 2F), gate first.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainer.kernels.compiled import Variant, pointer
from trainer.kernels.direct import is_direct
from trainer.kernels.language import jit, tl

BLOCK, WARPS = 2048, 4


@jit
def swiglu_kernel(gate_up_ptr, h_ptr, total, FF: tl.constexpr, BLOCK: tl.constexpr):
    first = tl.program_id(0).to(tl.int64) * BLOCK
    place = tl.arange(0, BLOCK)
    live = first + place < total
    start = (first % FF).to(tl.int32)
    if FF % 8 == 0:
        start = tl.multiple_of(start, 8)  # which the narrowing hides
    column = start + place
    # a tile may end in a later row, one F further than in h
    at = (first // FF) * (2 * FF) + (column + column // FF * FF)
    gate = tl.load(gate_up_ptr + at, mask=live, other=0.0).to(tl.float32)
    up = tl.load(gate_up_ptr + at + FF, mask=live, other=0.0).to(tl.float32)
    tl.store(
        h_ptr + first + place, (gate * tl.sigmoid(gate) * up).to(h_ptr.dtype.element_ty), mask=live
    )


@jit
def swiglu_backward_kernel(
    dh_ptr,
    gate_up_ptr,
    dgate_up_ptr,
    h_ptr,
    total,
    FF: tl.constexpr,
    BLOCK: tl.constexpr,
    H: tl.constexpr,
):
    first = tl.program_id(0).to(tl.int64) * BLOCK
    place = tl.arange(0, BLOCK)
    live = first + place < total
    start = (first % FF).to(tl.int32)
    if FF % 8 == 0:
        start = tl.multiple_of(start, 8)  # which the narrowing hides
    column = start + place
    at = (first // FF) * (2 * FF) + (column + column // FF * FF)
    gate = tl.load(gate_up_ptr + at, mask=live, other=0.0).to(tl.float32)
    up = tl.load(gate_up_ptr + at + FF, mask=live, other=0.0).to(tl.float32)
    dh = tl.load(dh_ptr + first + place, mask=live, other=0.0).to(tl.float32)
    s = tl.sigmoid(gate)
    silu = gate * s
    tl.store(
        dgate_up_ptr + at,
        (dh * up * s * (1.0 + gate * (1.0 - s))).to(dgate_up_ptr.dtype.element_ty),
        mask=live,
    )
    tl.store(dgate_up_ptr + at + FF, (dh * silu).to(dgate_up_ptr.dtype.element_ty), mask=live)
    if H:
        tl.store(h_ptr + first + place, (silu * up).to(h_ptr.dtype.element_ty), mask=live)


def launch_swiglu(gate_up: Tensor) -> Tensor:
    """The kernel on contiguous rows; see :func:`swiglu`."""
    gate_up = gate_up.contiguous()
    h = gate_up.new_empty(*gate_up.shape[:-1], gate_up.shape[-1] // 2)
    if h.numel():
        swiglu_kernel[(-(-h.numel() // BLOCK),)](
            gate_up, h, h.numel(), FF=h.shape[-1], BLOCK=BLOCK, num_warps=WARPS
        )
    return h


def launch_swiglu_backward(dh: Tensor, gate_up: Tensor, remake: bool = False) -> Tensor:
    """Gradient of ``gate_up``; with ``remake`` h is written over ``dh``, which then has to be
    contiguous.
    """
    gate_up, dh = gate_up.contiguous(), dh if remake else dh.contiguous()
    out = torch.empty_like(gate_up)
    if dh.numel():
        swiglu_backward_kernel[(-(-dh.numel() // BLOCK),)](
            dh,
            gate_up,
            out,
            dh,
            dh.numel(),
            FF=dh.shape[-1],
            BLOCK=BLOCK,
            H=remake,
            num_warps=WARPS,
        )
    return out


def launch_swiglu_linear(gate_up: Tensor, weight: Tensor) -> Tensor:
    """The kernel and torch's product; see :func:`swiglu_linear`."""
    return F.linear(launch_swiglu(gate_up), weight)


def launch_swiglu_linear_backward(
    dy: Tensor, gate_up: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Two products and the kernel between them; see :func:`swiglu_linear`."""
    dy = dy.flatten(0, -2)
    inner = torch.mm(dy, weight)  # dh, then h
    d_gate_up = launch_swiglu_backward(inner, gate_up, remake=True)
    return d_gate_up, torch.mm(dy.T, inner)


def torch_swiglu(gate_up: Tensor) -> Tensor:
    """The same in torch, in fp32 or better inside."""
    gate, up = gate_up.to(torch.promote_types(gate_up.dtype, torch.float32)).chunk(2, -1)
    return F.silu(gate).mul_(up).to(gate_up.dtype)


def torch_swiglu_backward(dh: Tensor, gate_up: Tensor, remake: bool = False) -> Tensor:
    """The same in torch, in fp32 or better inside."""
    precision = torch.promote_types(gate_up.dtype, torch.float32)
    gate, up = gate_up.to(precision).chunk(2, -1)
    wide, silu = dh.to(precision), F.silu(gate)
    out = torch.empty_like(gate_up, dtype=precision, memory_format=torch.contiguous_format)
    d_gate, d_up = out.chunk(2, -1)
    torch.mul(wide, silu, out=d_up)
    torch.ops.aten.silu_backward.grad_input(wide * up, gate, grad_input=d_gate)
    if remake:
        torch.mul(silu, up, out=dh)
    return out.to(gate_up.dtype)


def torch_swiglu_linear(gate_up: Tensor, weight: Tensor) -> Tensor:
    """The same in torch."""
    return F.linear(torch_swiglu(gate_up), weight)


def torch_swiglu_linear_backward(
    dy: Tensor, gate_up: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """The same in torch."""
    dy = dy.flatten(0, -2)
    inner = torch.mm(dy, weight)
    d_gate_up = torch_swiglu_backward(
        inner.view(*gate_up.shape[:-1], weight.shape[1]), gate_up, remake=True
    )
    return d_gate_up, torch.mm(dy.T, inner)


@torch.library.custom_op("windtunnel::swiglu", mutates_args=(), device_types="cuda")
def _swiglu(gate_up: Tensor) -> Tensor:
    return launch_swiglu(gate_up)


@torch.library.custom_op("windtunnel::swiglu_backward", mutates_args=(), device_types="cuda")
def _swiglu_backward(dh: Tensor, gate_up: Tensor) -> Tensor:
    return launch_swiglu_backward(dh, gate_up)


@torch.library.custom_op("windtunnel::swiglu_linear", mutates_args=(), device_types="cuda")
def _swiglu_linear(gate_up: Tensor, weight: Tensor) -> Tensor:
    return launch_swiglu_linear(gate_up, weight)


@torch.library.custom_op("windtunnel::swiglu_linear_backward", mutates_args=(), device_types="cuda")
def _swiglu_linear_backward(dy: Tensor, gate_up: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return launch_swiglu_linear_backward(dy, gate_up, weight)


_swiglu.register_kernel("cpu")(torch_swiglu)
_swiglu_linear.register_kernel("cpu")(torch_swiglu_linear)
_swiglu_linear_backward.register_kernel("cpu")(torch_swiglu_linear_backward)


@_swiglu_backward.register_kernel("cpu")
def _(dh: Tensor, gate_up: Tensor) -> Tensor:
    return torch_swiglu_backward(dh, gate_up)


@_swiglu.register_fake
def _(gate_up: Tensor) -> Tensor:
    return gate_up.new_empty(*gate_up.shape[:-1], gate_up.shape[-1] // 2)


@_swiglu_backward.register_fake
def _(dh: Tensor, gate_up: Tensor) -> Tensor:
    return torch.empty_like(gate_up, memory_format=torch.contiguous_format)


@_swiglu_linear.register_fake
def _(gate_up: Tensor, weight: Tensor) -> Tensor:
    return gate_up.new_empty(*gate_up.shape[:-1], weight.shape[0])


@_swiglu_linear_backward.register_fake
def _(dy: Tensor, gate_up: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(gate_up, memory_format=torch.contiguous_format), torch.empty_like(
        weight
    )


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradient(ctx: Any, dh: Tensor) -> Tensor:
    d_gate_up: Tensor = _swiglu_backward(dh, *ctx.saved_tensors)
    return d_gate_up


def _linear_gradient(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:
    d_gate_up, dw = _swiglu_linear_backward(dy, *ctx.saved_tensors)
    return d_gate_up, dw


_swiglu.register_autograd(_gradient, setup_context=_save)
_swiglu_linear.register_autograd(_linear_gradient, setup_context=_save)


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up (..., F) of ``gate_up`` (..., 2F), gate first; rounded to the dtype once.
    Differentiable once.
    """
    h: Tensor = torch_swiglu(gate_up) if is_direct(gate_up) else _swiglu(gate_up)
    return h


def swiglu_linear(gate_up: Tensor, weight: Tensor) -> Tensor:
    """``swiglu(gate_up) @ weight.T``: (..., d) of ``gate_up`` (..., 2F) and ``weight`` (d, F), of
    one dtype.

    Keeps its arguments for the backward pass and nothing else. Differentiable once.
    """
    product = torch_swiglu_linear if is_direct(gate_up) else _swiglu_linear
    out: Tensor = product(gate_up, weight)
    return out


def variants(ff: int) -> list[Variant]:
    """What is launched for bf16 rows of an inner width ``ff``."""
    half = pointer(torch.bfloat16)
    forward = {"gate_up_ptr": half, "h_ptr": half, "total": "i32"}
    backward = dict.fromkeys(("dh_ptr", "gate_up_ptr", "dgate_up_ptr", "h_ptr"), half) | {
        "total": "i32"
    }
    sizes = {"FF": ff, "BLOCK": BLOCK}
    return [
        Variant(swiglu_kernel, forward, sizes, WARPS, divisible=("total",)),
        *(
            Variant(
                swiglu_backward_kernel,
                backward,
                {**sizes, "H": remake},
                WARPS,
                divisible=("total",),
            )
            for remake in (False, True)
        ),
    ]
