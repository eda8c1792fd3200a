"""A branch joins the stream and the sum is normed: s = residual + scale * branch, y = s * r * w, r
= 1 / sqrt(mean(s^2) + eps).

The stream is rounded to its dtype once and normed as stored, so forward and backward speak of the
same numbers.

Backward, with g = dy * w and u = s * r:  d_residual = d_stream + r * (g - u * mean(g * u)),
d_branch = scale * d_residual, dw = sum over rows of dy * u.

Bytes per row of width d in bf16: forward 8 d (read branch and residual, write s and y), backward 10
d (read d_stream, dy and s, write d_residual and d_branch), plus 4 for r each way. At 16,384 rows of
2304: 302 and 378 MB, 70 and 88 us on a device that copies 4.3 TB/s. With scale 1 both gradients are
one tensor and the backward moves 302 MB. A caller gets there by taking the scale into the product
that makes the branch (``addmm(..., alpha=scale)``), whose two backward products then need it too;
that is for the one who writes that product. The op takes the scale itself, since it is exact for
any branch.

A row is cut in two blocks, so that no lane is idle at 2304 or 1536. Backward, a fixed number of
programs walk over the rows, each with its own sum for dw in registers; the sums are then added in
the order of the programs. Which row goes to which program depends on the device alone, so dw has
the same bits every time.

Shapes: N rows, d width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainer.kernels.compiled import Variant, pointer
from trainer.kernels.direct import is_direct
from trainer.kernels.grid import multiprocessors, two_blocks
from trainer.kernels.language import jit, tl
from trainer.kernels.rms_norm import torch_rms_norm, torch_rms_norm_backward

ROWS, WARPS = 4, 4  # forward: rows of a program
# rows of a program at a time, whose sums cross the warps together
BACKWARD_ROWS, BACKWARD_WARPS = 2, 4
PROGRAMS = 3  # backward: programs of a multiprocessor, as many as its registers hold


@jit
def residual_norm_kernel(
    branch_ptr,
    residual_ptr,
    w_ptr,
    s_ptr,
    y_ptr,
    r_ptr,
    rows,
    scale,
    eps,
    d: tl.constexpr,
    A: tl.constexpr,
    B: tl.constexpr,
    R: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)[:, None]
    a, b = row * d + tl.arange(0, A)[None, :], row * d + A + tl.arange(0, B)[None, :]
    live = row < rows
    mask_b = live & (A + tl.arange(0, B)[None, :] < d)
    branch_a = tl.load(branch_ptr + a, mask=live, other=0.0).to(tl.float32)
    branch_b = tl.load(branch_ptr + b, mask=mask_b, other=0.0).to(tl.float32)
    residual_a = tl.load(residual_ptr + a, mask=live, other=0.0).to(tl.float32)
    residual_b = tl.load(residual_ptr + b, mask=mask_b, other=0.0).to(tl.float32)
    stored_a = (residual_a + scale * branch_a).to(s_ptr.dtype.element_ty)
    stored_b = (residual_b + scale * branch_b).to(s_ptr.dtype.element_ty)
    tl.store(s_ptr + a, stored_a, mask=live)
    tl.store(s_ptr + b, stored_b, mask=mask_b)
    s_a, s_b = stored_a.to(tl.float32), stored_b.to(tl.float32)
    r = tl.rsqrt((tl.sum(s_a * s_a, 1) + tl.sum(s_b * s_b, 1)) / d + eps)[:, None]
    w_a = tl.load(w_ptr + tl.arange(0, A)[None, :]).to(tl.float32)
    w_b = tl.load(
        w_ptr + A + tl.arange(0, B)[None, :], mask=A + tl.arange(0, B)[None, :] < d, other=0.0
    ).to(tl.float32)
    tl.store(y_ptr + a, (s_a * r * w_a).to(y_ptr.dtype.element_ty), mask=live)
    tl.store(y_ptr + b, (s_b * r * w_b).to(y_ptr.dtype.element_ty), mask=mask_b)
    tl.store(r_ptr + row, r, mask=live)


@jit
def residual_norm_backward_kernel(
    ds_ptr, dy_ptr, s_ptr, w_ptr, r_ptr, dresidual_ptr, dbranch_ptr, dw_ptr, rows, scale,
    d: tl.constexpr, A: tl.constexpr, B: tl.constexpr, R: tl.constexpr, STREAM: tl.constexpr,
    BRANCH: tl.constexpr,
):  # fmt: skip
    column_a, column_b = tl.arange(0, A)[None, :], A + tl.arange(0, B)[None, :]
    inside_b = column_b < d
    dw_a, dw_b = tl.zeros((A,), tl.float32), tl.zeros((R, B), tl.float32)
    for turn in range(0, tl.cdiv(rows - tl.program_id(0) * R, tl.num_programs(0) * R)):
        first = (tl.program_id(0).to(tl.int64) + turn * tl.num_programs(0)) * R
        row = first + tl.arange(0, R)[:, None]
        live = row < rows
        mask_b = live & inside_b
        a, b = row * d + column_a, row * d + column_b
        r = tl.load(
            r_ptr + first + tl.arange(0, R), mask=first + tl.arange(0, R) < rows, other=0.0
        )[:, None]
        u_a = tl.load(s_ptr + a, mask=live, other=0.0).to(tl.float32) * r
        u_b = tl.load(s_ptr + b, mask=mask_b, other=0.0).to(tl.float32) * r
        dy_a = tl.load(dy_ptr + a, mask=live, other=0.0).to(tl.float32)
        dy_b = tl.load(dy_ptr + b, mask=mask_b, other=0.0).to(tl.float32)
        dw_a += tl.sum(dy_a * u_a, 0)
        dw_b += dy_b * u_b
        g_a = dy_a * tl.load(w_ptr + column_a).to(tl.float32)
        g_b = dy_b * tl.load(w_ptr + column_b, mask=inside_b, other=0.0).to(tl.float32)
        mean = ((tl.sum(g_a * u_a, 1) + tl.sum(g_b * u_b, 1)) / d)[:, None]
        out_a, out_b = r * (g_a - u_a * mean), r * (g_b - u_b * mean)
        if STREAM:
            out_a += tl.load(ds_ptr + a, mask=live, other=0.0).to(tl.float32)
            out_b += tl.load(ds_ptr + b, mask=mask_b, other=0.0).to(tl.float32)
        tl.store(dresidual_ptr + a, out_a.to(dresidual_ptr.dtype.element_ty), mask=live)
        tl.store(dresidual_ptr + b, out_b.to(dresidual_ptr.dtype.element_ty), mask=mask_b)
        if BRANCH:
            tl.store(dbranch_ptr + a, (scale * out_a).to(dbranch_ptr.dtype.element_ty), mask=live)
            tl.store(dbranch_ptr + b, (scale * out_b).to(dbranch_ptr.dtype.element_ty), mask=mask_b)
    part = dw_ptr + tl.program_id(0).to(tl.int64) * d
    tl.store(part + tl.arange(0, A), dw_a)
    tl.store(part + A + tl.arange(0, B), tl.sum(dw_b, 0), mask=A + tl.arange(0, B) < d)


def launch_residual_norm(
    branch: Tensor, residual: Tensor, weight: Tensor, scale: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The kernel on contiguous rows; see :func:`residual_norm`. Also the reciprocal roots (N,)
    fp32.
    """
    d, rows = residual.shape[-1], residual.numel() // residual.shape[-1]
    branch, residual = branch.contiguous(), residual.contiguous()
    stream, y = torch.empty_like(residual), torch.empty_like(residual)
    r = torch.empty(rows, dtype=torch.float32, device=residual.device)
    if rows:
        first, second = two_blocks(d)
        residual_norm_kernel[(-(-rows // ROWS),)](
            branch,
            residual,
            weight,
            stream,
            y,
            r,
            rows,
            scale,
            eps,
            d=d,
            A=first,
            B=second,
            R=ROWS,
            num_warps=WARPS,
        )
    return stream, y, r


def launch_residual_norm_backward(
    d_stream: Tensor | None, dy: Tensor, stream: Tensor, weight: Tensor, r: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The kernel and the sum of the programs' dw; see :func:`_residual_norm_backward`."""
    d, rows = stream.shape[-1], r.shape[0]
    dy, stream = dy.contiguous(), stream.contiguous()
    d_residual = torch.empty_like(stream)
    d_branch = torch.empty_like(stream) if scale != 1.0 else stream.new_empty(0)
    programs = max(1, min(-(-rows // BACKWARD_ROWS), PROGRAMS * multiprocessors(stream.device)))
    parts = torch.empty(programs, d, dtype=torch.float32, device=stream.device)
    first, second = two_blocks(d)
    residual_norm_backward_kernel[(programs,)](
        dy if d_stream is None else d_stream.contiguous(), dy, stream, weight, r, d_residual,
        d_branch, parts, rows, scale, d=d, A=first, B=second, R=BACKWARD_ROWS,
        STREAM=d_stream is not None, BRANCH=scale != 1.0, num_warps=BACKWARD_WARPS,
    )  # fmt: skip
    return d_residual, d_branch, parts.sum(0).to(weight.dtype)


def torch_residual_norm(
    branch: Tensor, residual: Tensor, weight: Tensor, scale: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in torch, in fp32 or better inside."""
    precision = torch.promote_types(residual.dtype, torch.float32)
    stream = (
        torch.add(residual.to(precision), branch.to(precision), alpha=scale)
        .to(residual.dtype)
        .contiguous()
    )
    return stream, *torch_rms_norm(stream, weight, eps)


def torch_residual_norm_backward(
    d_stream: Tensor | None, dy: Tensor, stream: Tensor, weight: Tensor, r: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in torch, in fp32 or better inside."""
    precision = torch.promote_types(stream.dtype, torch.float32)
    d_residual, dw = torch_rms_norm_backward(
        dy.to(precision), stream.to(precision), weight.to(precision), r
    )
    if d_stream is not None:
        d_residual.add_(d_stream)
    d_branch = d_residual * scale if scale != 1.0 else stream.new_empty(0)
    return d_residual.to(stream.dtype), d_branch.to(stream.dtype), dw.to(weight.dtype)


@torch.library.custom_op("windtunnel::residual_norm", mutates_args=(), device_types="cuda")
def _residual_norm(
    branch: Tensor, residual: Tensor, weight: Tensor, scale: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    return launch_residual_norm(branch, residual, weight, scale, eps)


@torch.library.custom_op("windtunnel::residual_norm_backward", mutates_args=(), device_types="cuda")
def _residual_norm_backward(
    d_stream: Tensor | None, dy: Tensor, stream: Tensor, weight: Tensor, r: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of residual, branch and weight; that of the branch is empty where ``scale`` is 1,
    as it equals the first.
    """
    return launch_residual_norm_backward(d_stream, dy, stream, weight, r, scale)


_residual_norm.register_kernel("cpu")(torch_residual_norm)
_residual_norm_backward.register_kernel("cpu")(torch_residual_norm_backward)


@_residual_norm.register_fake
def _(
    branch: Tensor, residual: Tensor, weight: Tensor, scale: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    stream, y = (
        torch.empty_like(residual, memory_format=torch.contiguous_format) for _ in range(2)
    )
    rows = residual.numel() // residual.shape[-1]
    return (
        stream,
        y,
        residual.new_empty(rows, dtype=torch.promote_types(residual.dtype, torch.float32)),
    )


@_residual_norm_backward.register_fake
def _(
    d_stream: Tensor | None, dy: Tensor, stream: Tensor, weight: Tensor, r: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    d_residual = torch.empty_like(stream, memory_format=torch.contiguous_format)
    return (
        d_residual,
        torch.empty_like(d_residual) if scale != 1.0 else stream.new_empty(0),
        torch.empty_like(weight),
    )


def _save(
    ctx: Any,
    inputs: tuple[Tensor, Tensor, Tensor, float, float],
    output: tuple[Tensor, Tensor, Tensor],
) -> None:
    ctx.save_for_backward(output[0], inputs[2], output[2])
    ctx.scale = inputs[3]
    ctx.mark_non_differentiable(output[2])
    ctx.set_materialize_grads(False)


def _gradient(
    ctx: Any, d_stream: Tensor | None, dy: Tensor | None, _: None
) -> tuple[Tensor | None, ...]:
    """Either gradient may be missing: the last layer's stream leads nowhere, and a norm may go
    unread.
    """
    if dy is None:
        return (None if d_stream is None else d_stream * ctx.scale), d_stream, None, None, None
    stream, weight, r = ctx.saved_tensors
    d_residual, d_branch, dw = _residual_norm_backward(d_stream, dy, stream, weight, r, ctx.scale)
    return d_residual if ctx.scale == 1.0 else d_branch, d_residual, dw, None, None


_residual_norm.register_autograd(_gradient, setup_context=_save)


def residual_norm(
    branch: Tensor, residual: Tensor, weight: Tensor, scale: float, eps: float
) -> tuple[Tensor, Tensor]:
    """``residual + scale * branch`` (both (..., d), of one dtype) as the new stream, and its
    RMSNorm with gain ``weight`` (d,).

    Sums are fp32 (fp64 for fp64); stream and norm are rounded to the dtype once each.
    Differentiable once, in the tensors; ``scale`` and ``eps`` are constants.
    """
    join = torch_residual_norm if is_direct(residual) else _residual_norm
    stream, y, _ = join(branch, residual, weight, scale, eps)
    return stream, y


def variants(width: int) -> list[Variant]:
    """What is launched for bf16 rows of ``width``: in the middle of a model, at its end, and with
    the scale taken elsewhere.
    """
    first, second = two_blocks(width)
    half, full = pointer(torch.bfloat16), pointer(torch.float32)
    sizes = {"d": width, "A": first, "B": second}
    forward = dict.fromkeys(("branch_ptr", "residual_ptr", "w_ptr", "s_ptr", "y_ptr"), half)
    backward = dict.fromkeys(
        ("ds_ptr", "dy_ptr", "s_ptr", "w_ptr", "dresidual_ptr", "dbranch_ptr"), half
    )
    forward |= {"r_ptr": full, "rows": "i32", "scale": "fp32", "eps": "fp32"}
    backward |= {"r_ptr": full, "dw_ptr": full, "rows": "i32", "scale": "fp32"}
    # narrow: r, once per row and block; and of 2304 the second block, 256 wide, by 8 bytes: five
    # tensors and the weight, and dw
    return [
        Variant(residual_norm_kernel, forward, {**sizes, "R": ROWS}, WARPS, narrow=2),
        *(
            Variant(
                residual_norm_backward_kernel,
                backward,
                {**sizes, "R": BACKWARD_ROWS, "STREAM": stream, "BRANCH": branch},
                BACKWARD_WARPS,
                narrow=12,
            )
            for stream, branch in ((True, True), (False, True), (True, False))
        ),
    ]
