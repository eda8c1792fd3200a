"""Rotary positions on the packed product of queries, keys and values, in place, and their gradient
packed on the way back.

The halves of a head are turned by the angles of its token:  first' = first * cos - second * sin,
second' = second * cos + first * sin. The gradient is the opposite turn: sin changes its sign.

Forward turns queries and keys where they lie and leaves values alone. Backward, attention hands
over dq, dk and dv apart, each with strides of its own, and the product before needs them packed:
one pass reads the three, turns back and writes the packed gradient.

Bytes per token of H query and G key heads of K in bf16: forward 4 (H + G) K, backward 4 (H + 2 G)
K, plus 4 K for the angles each way. At 16,384 tokens with 36 and 36 heads of 64: 306 and 457 MB, 71
and 106 us on a device that copies 4.3 TB/s.

A warp has one token and eight of its heads at a time, so it loads the token's angles once for all
of them. Angles come as tables per token: a table per position would cost the same bytes, and need a
largest position that is checked nowhere on a GPU.

Turning in place, inside a ``torch.autograd.Function`` around an op that says it mutates, is taken
by ``torch.compile(fullgraph=True)`` and stays in place there: torch 2.13 puts the op on the
product's own buffer, without a copy.

Shapes: B rows, T tokens, H query heads, G key-value heads, K head_dim.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainer.kernels.compiled import Variant, pointer
from trainer.kernels.direct import is_direct
from trainer.kernels.grid import next_power_of_two
from trainer.kernels.language import jit, tl

TOKENS, HEADS, WARPS = 4, 8, 4  # of a program: a warp for each token, heads at a time


@jit
def rotate_kernel(
    qkv_ptr,
    cos_ptr,
    sin_ptr,
    tokens,
    TURNED: tl.constexpr,
    ALL: tl.constexpr,
    K: tl.constexpr,
    HALF: tl.constexpr,
    R: tl.constexpr,
    S: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)[:, None, None]
    heads, lane = tl.arange(0, S)[None, :, None], tl.arange(0, HALF)[None, None, :]
    live = (token < tokens) & (lane < K // 2)
    # every head's lanes ask for the same bytes: one access of the warp
    angle = tl.broadcast_to(token * (K // 2) + lane, (R, S, HALF))
    cos, sin = (
        tl.load(cos_ptr + angle, mask=live, other=0.0),
        tl.load(sin_ptr + angle, mask=live, other=0.0),
    )
    for start in tl.static_range(0, TURNED, S):
        head = start + heads
        mask = live & (head < TURNED)
        at = qkv_ptr + (token * ALL + head) * K + lane
        first = tl.load(at, mask=mask, other=0.0).to(tl.float32)
        second = tl.load(at + K // 2, mask=mask, other=0.0).to(tl.float32)
        tl.store(at, (first * cos - second * sin).to(qkv_ptr.dtype.element_ty), mask=mask)
        tl.store(at + K // 2, (second * cos + first * sin).to(qkv_ptr.dtype.element_ty), mask=mask)


@jit
def pack_gradient_kernel(
    dq_ptr, dk_ptr, dv_ptr, cos_ptr, sin_ptr, out_ptr, tokens, length,
    q_row, q_token, q_head, k_row, k_token, k_head, v_row, v_token, v_head,
    H: tl.constexpr, G: tl.constexpr, K: tl.constexpr,
    HALF: tl.constexpr, R: tl.constexpr, S: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)[:, None, None]
    row, place = token // length, token % length
    heads, lane = tl.arange(0, S)[None, :, None], tl.arange(0, HALF)[None, None, :]
    live = (token < tokens) & (lane < K // 2)
    angle = tl.broadcast_to(token * (K // 2) + lane, (R, S, HALF))
    cos, sin = (
        tl.load(cos_ptr + angle, mask=live, other=0.0),
        tl.load(sin_ptr + angle, mask=live, other=0.0),
    )
    out = out_ptr + token * ((H + 2 * G) * K) + lane
    for start in tl.static_range(0, H, S):
        head = start + heads
        mask = live & (head < H)
        at = dq_ptr + row * q_row + place * q_token + head * q_head + lane
        first = tl.load(at, mask=mask, other=0.0).to(tl.float32)
        second = tl.load(at + K // 2, mask=mask, other=0.0).to(tl.float32)
        tl.store(
            out + head * K, (first * cos + second * sin).to(out_ptr.dtype.element_ty), mask=mask
        )
        tl.store(
            out + head * K + K // 2,
            (second * cos - first * sin).to(out_ptr.dtype.element_ty),
            mask=mask,
        )
    for start in tl.static_range(0, G, S):
        head = start + heads
        mask = live & (head < G)
        at = dk_ptr + row * k_row + place * k_token + head * k_head + lane
        from_v = dv_ptr + row * v_row + place * v_token + head * v_head + lane
        first = tl.load(at, mask=mask, other=0.0).to(tl.float32)
        second = tl.load(at + K // 2, mask=mask, other=0.0).to(tl.float32)
        v_first, v_second = (
            tl.load(from_v, mask=mask, other=0.0),
            tl.load(from_v + K // 2, mask=mask, other=0.0),
        )
        to_k, to_v = out + (H + head) * K, out + (H + G + head) * K
        tl.store(to_k, (first * cos + second * sin).to(out_ptr.dtype.element_ty), mask=mask)
        tl.store(
            to_k + K // 2, (second * cos - first * sin).to(out_ptr.dtype.element_ty), mask=mask
        )
        tl.store(to_v, v_first, mask=mask)
        tl.store(to_v + K // 2, v_second, mask=mask)


def launch_rotate(qkv: Tensor, cos: Tensor, sin: Tensor, turned: int) -> None:
    """The kernel on a contiguous (B, T, heads, K), whose first ``turned`` heads it turns; see
    :func:`rotated_qkv`.
    """
    rows, length, heads, size = qkv.shape
    if qkv.numel():
        rotate_kernel[(-(-rows * length // TOKENS),)](
            qkv,
            cos.contiguous(),
            sin.contiguous(),
            rows * length,
            TURNED=turned,
            ALL=heads,
            K=size,
            HALF=next_power_of_two(size // 2),
            R=TOKENS,
            S=HEADS,
            num_warps=WARPS,
        )


def launch_pack_gradient(dq: Tensor, dk: Tensor, dv: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The kernel on gradients (B, T, heads, K) of any strides; see :func:`_pack_gradient`."""
    dq, dk, dv = (part if part.stride(-1) == 1 else part.contiguous() for part in (dq, dk, dv))
    (rows, length, heads, size), kv_heads = dq.shape, dk.shape[2]
    out = dq.new_empty(rows, length, heads + 2 * kv_heads, size)
    if out.numel():
        strides = [stride for part in (dq, dk, dv) for stride in part.stride()[:3]]
        pack_gradient_kernel[(-(-rows * length // TOKENS),)](
            dq, dk, dv, cos.contiguous(), sin.contiguous(), out, rows * length, length, *strides,
            H=heads, G=kv_heads, K=size, HALF=next_power_of_two(size // 2),
            R=TOKENS, S=HEADS, num_warps=WARPS,
        )  # fmt: skip
    return out


def torch_rotate(qkv: Tensor, cos: Tensor, sin: Tensor, turned: int) -> None:
    """The same in torch, in fp32 or better inside."""
    _turn(qkv[:, :, :turned], qkv[:, :, :turned], cos, sin)


def torch_pack_gradient(dq: Tensor, dk: Tensor, dv: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The same in torch, in fp32 or better inside."""
    (rows, length, heads, size), kv_heads = dq.shape, dk.shape[2]
    out = dq.new_empty(rows, length, heads + 2 * kv_heads, size)
    _turn(dq, out[:, :, :heads], cos, -sin)
    _turn(dk, out[:, :, heads : heads + kv_heads], cos, -sin)
    out[:, :, heads + kv_heads :] = dv
    return out


def _turn(x: Tensor, out: Tensor, cos: Tensor, sin: Tensor) -> None:
    """``x`` turned into ``out``, which may be ``x`` itself."""
    precision = torch.promote_types(x.dtype, torch.float32)
    first, second = x.to(precision).chunk(2, -1)
    cos, sin = cos.to(precision), sin.to(precision)
    turned = (
        torch.mul(first, cos).addcmul_(second, sin, value=-1),
        torch.mul(second, cos).addcmul_(first, sin),
    )
    for half, part in zip(out.chunk(2, -1), turned, strict=True):
        half.copy_(part)


@torch.library.custom_op("windtunnel::rotate_", mutates_args={"qkv"}, device_types="cuda")
def _rotate(qkv: Tensor, cos: Tensor, sin: Tensor, turned: int) -> None:
    launch_rotate(qkv, cos, sin, turned)


@torch.library.custom_op("windtunnel::pack_gradient", mutates_args=(), device_types="cuda")
def _pack_gradient(dq: Tensor, dk: Tensor, dv: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The gradient (B, T, H + 2G, K) of what was turned, by those of queries, keys and values."""
    return launch_pack_gradient(dq, dk, dv, cos, sin)


_rotate.register_kernel("cpu")(torch_rotate)
_pack_gradient.register_kernel("cpu")(torch_pack_gradient)


@_rotate.register_fake
def _(qkv: Tensor, cos: Tensor, sin: Tensor, turned: int) -> None:
    return None


@_pack_gradient.register_fake
def _(dq: Tensor, dk: Tensor, dv: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return dq.new_empty(*dq.shape[:2], dq.shape[2] + 2 * dk.shape[2], dq.shape[3])


class _RotatedQkv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, cos: Tensor, sin: Tensor, heads: int, kv_heads: int
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(cos, sin)
        _rotate(qkv, cos, sin, heads + kv_heads)
        parts: tuple[Tensor, ...] = qkv.split([heads, kv_heads, kv_heads], 2)
        return parts

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return _pack_gradient(*gradients, *ctx.saved_tensors), None, None, None, None


def rotated_qkv(
    qkv: Tensor, cos: Tensor, sin: Tensor, heads: int, kv_heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (B, T, H, K), keys and values (B, T, G, K) of ``qkv`` (B, T, H + 2G, K), the first
    two turned by their tokens' angles.

    ``cos`` and ``sin`` (B, T, 1, K/2) come from :func:`trainer.model.rotary.rotation`.
    Differentiable once, in ``qkv``. A contiguous ``qkv`` is overwritten and the results are views
    of it, so it must be an intermediate that nobody else reads. One whose maker needs it for its
    own gradient is an error at the backward pass, and a leaf that takes a gradient is copied
    before.
    """
    if not qkv.is_contiguous():
        qkv = qkv.contiguous()
    elif qkv.requires_grad and qkv.is_leaf:
        qkv = qkv.clone()
    if is_direct(qkv):
        torch_rotate(qkv, cos, sin, heads + kv_heads)
        q, k, v = qkv.split([heads, kv_heads, kv_heads], 2)
    else:
        q, k, v = _RotatedQkv.apply(qkv, cos, sin, heads, kv_heads)
    return q, k, v


def variants(heads: int, kv_heads: int) -> list[Variant]:
    """What is launched for bf16 heads of 64; gradients come with their heads outermost, as
    attention has them.
    """
    half, full = pointer(torch.bfloat16), pointer(torch.float32)
    strides = {f"{part}_{axis}": "i32" for part in "qkv" for axis in ("row", "token", "head")}
    angles = {"cos_ptr": full, "sin_ptr": full, "tokens": "i32"}
    backward = (
        dict.fromkeys(("dq_ptr", "dk_ptr", "dv_ptr", "out_ptr"), half)
        | angles
        | {"length": "i32"}
        | strides
    )
    sizes = {"K": 64, "HALF": 32, "R": TOKENS, "S": HEADS}
    return [
        Variant(
            rotate_kernel,
            {"qkv_ptr": half} | angles,
            {"TURNED": heads + kv_heads, "ALL": heads + 2 * kv_heads, **sizes},
            WARPS,
        ),
        Variant(
            pack_gradient_kernel,
            backward,
            {"H": heads, "G": kv_heads, **sizes},
            WARPS,
            divisible=tuple(strides),
        ),
    ]
