"""The embedding: rows of a table by token, times a scale; and its gradient, added into one that is
there.

    y[n] = scale * table[tokens[n]],
    grad[t] += scale * (sum of dy[n] over the n with tokens[n] = t, in their order)

Bytes: forward 4 N d in bf16. Backward read dy, 2 N d, read and write each touched row of an fp32
gradient, 8 U d for U different tokens; at 16,384 tokens of 2304, all different, 151 and 378 MB: 35
and 88 us on a device that copies 4.3 TB/s. (A gradient made anew for the table and then added costs
4.9 GB.)

Backward, tokens are sorted, stable, so that those of a row of the table lie together in the order
of their positions, and cut into chunks of a fixed length. A warp sums a chunk, in order, for some
columns. A row whose tokens lie in one chunk is added to the gradient at once. Of a row that goes on
into other chunks each chunk leaves its part, and a second kernel adds these in the order of the
chunks: no atomics, the same bits every time, and no host that asks how many rows there are.

The longest row decides how long the second kernel takes: it reads 32 parts, of 256 tokens, at a
time. 1,600 tokens of one kind are 7 such rounds, 16,384 are 64, about 50 us where each waits 0.8 us
for memory.

Shapes: N tokens, P rows of the table, d width, C tokens of a chunk.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainer.kernels.compiled import Variant, pointer
from trainer.kernels.direct import is_direct
from trainer.kernels.grid import two_blocks
from trainer.kernels.language import jit, tl

CHUNK = 8
COLUMNS = 256  # of a warp: 16 bytes a lane in bf16
PARTS, PART_COLUMNS = 32, 128  # second stage: parts read at a time, columns of a warp


@jit
def embedding_kernel(
    tokens_ptr, table_ptr, y_ptr, scale, d: tl.constexpr, A: tl.constexpr, B: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    a, b = tl.arange(0, A), A + tl.arange(0, B)
    source = table_ptr + tl.load(tokens_ptr + row) * d
    x_a = tl.load(source + a).to(tl.float32)
    x_b = tl.load(source + b, mask=b < d, other=0.0).to(tl.float32)
    tl.store(y_ptr + row * d + a, (x_a * scale).to(y_ptr.dtype.element_ty))
    tl.store(y_ptr + row * d + b, (x_b * scale).to(y_ptr.dtype.element_ty), mask=b < d)


@jit
def chunk_sums_kernel(
    sorted_ptr,
    order_ptr,
    dy_ptr,
    grad_ptr,
    heads_ptr,
    tails_ptr,
    tokens,
    scale,
    d: tl.constexpr,
    C: tl.constexpr,
    W: tl.constexpr,
):
    chunk = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * W + tl.arange(0, W)[None, :]
    inside = column < d
    index = tl.arange(0, C)
    at = chunk * C + index
    live = at < tokens
    before = tl.load(sorted_ptr + chunk * C - 1, mask=chunk > 0, other=-1).to(tl.int64)
    token = tl.load(sorted_ptr + at, mask=live, other=-1).to(tl.int64)
    after = tl.load(sorted_ptr + at + 1, mask=at + 1 < tokens, other=-1).to(tl.int64)
    row = tl.load(order_ptr + at, mask=live, other=0)
    whole = (live & (token != after) & (token != before))[:, None] & inside
    dy = tl.load(dy_ptr + row[:, None] * d + column, mask=live[:, None] & inside, other=0.0).to(
        tl.float32
    )
    place = grad_ptr + token[:, None] * d + column
    grad = tl.load(place, mask=whole, other=0.0)

    running = tl.zeros((1, W), tl.float32)
    sums = tl.zeros((C, W), tl.float32)
    previous = before * 0 - 2  # no token
    for step in tl.static_range(C):
        now = tl.load(sorted_ptr + chunk * C + step, mask=chunk * C + step < tokens, other=-1).to(
            tl.int64
        )
        chosen = index[:, None] == step
        running = tl.where(now == previous, running, 0.0) + tl.sum(
            tl.where(chosen, dy, 0.0), 0, keep_dims=True
        )
        sums = tl.where(chosen, running, sums)
        previous = now
    sums = sums * scale
    tl.store(place, grad + sums, mask=whole)
    last = live & ((token != after) | (index == C - 1))
    part = chunk * d + column + index[:, None] * 0
    tl.store(heads_ptr + part, sums, mask=(last & (token == before))[:, None] & inside)
    tl.store(
        tails_ptr + part, sums, mask=(last & (token == after) & (token != before))[:, None] & inside
    )


@jit
def join_chunks_kernel(
    sorted_ptr,
    grad_ptr,
    heads_ptr,
    tails_ptr,
    tokens,
    chunks,
    d: tl.constexpr,
    C: tl.constexpr,
    K: tl.constexpr,
    W: tl.constexpr,
):
    chunk = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * W + tl.arange(0, W)[None, :]
    inside = column < d
    start = chunk * C
    before = tl.load(sorted_ptr + start - 1, mask=start > 0, other=-1).to(tl.int64)
    token = tl.load(sorted_ptr + start + C - 1, mask=start + C <= tokens, other=-2).to(tl.int64)
    after = tl.load(sorted_ptr + start + C, mask=start + C < tokens, other=-1).to(tl.int64)
    if (token == after) & (token != before):
        total = tl.load(tails_ptr + chunk * d + column, mask=inside, other=0.0)
        first = chunk + 1
        more = 1
        while more == 1:
            part = first + tl.arange(0, K)
            same = (
                tl.load(sorted_ptr + part * C, mask=part < chunks, other=-1).to(tl.int64) == token
            )
            parts = tl.load(
                heads_ptr + part[:, None] * d + column, mask=same[:, None] & inside, other=0.0
            )
            total += tl.sum(parts, 0, keep_dims=True)
            more = tl.min(same.to(tl.int32), 0)
            first += K
        place = grad_ptr + token * d + column
        tl.store(place, tl.load(place, mask=inside, other=0.0) + total, mask=inside)


def launch_embedding(tokens: Tensor, table: Tensor, scale: float) -> Tensor:
    """The kernel on contiguous tokens; see :func:`embedding`."""
    d, count = table.shape[1], tokens.numel()
    y = table.new_empty(*tokens.shape, d)
    if count:
        first, second = two_blocks(d)
        embedding_kernel[(count,)](
            tokens.contiguous(), table.contiguous(), y, scale, d=d, A=first, B=second, num_warps=1
        )
    return y


def launch_add_token_gradients(grad: Tensor, tokens: Tensor, dy: Tensor, scale: float) -> None:
    """Sort and both kernels; see :func:`add_token_gradients_`."""
    d, count = grad.shape[1], tokens.numel()
    if not count:
        return
    ordered, order = torch.sort(tokens.flatten().int(), stable=True)
    chunks = -(-count // CHUNK)
    heads, tails = (
        torch.empty(chunks, d, dtype=torch.float32, device=grad.device) for _ in range(2)
    )
    chunk_sums_kernel[(chunks, -(-d // COLUMNS))](
        ordered,
        order,
        dy.contiguous(),
        grad,
        heads,
        tails,
        count,
        scale,
        d=d,
        C=CHUNK,
        W=COLUMNS,
        num_warps=1,
    )
    join_chunks_kernel[(chunks, -(-d // PART_COLUMNS))](
        ordered,
        grad,
        heads,
        tails,
        count,
        chunks,
        d=d,
        C=CHUNK,
        K=PARTS,
        W=PART_COLUMNS,
        num_warps=1,
    )


def torch_embedding(tokens: Tensor, table: Tensor, scale: float) -> Tensor:
    """The same in torch."""
    return F.embedding(tokens, table) * scale


def torch_add_token_gradients(grad: Tensor, tokens: Tensor, dy: Tensor, scale: float) -> None:
    """The same in torch, in the type of ``grad``."""
    grad += torch.ops.aten.embedding_dense_backward(
        dy.to(grad.dtype) * scale, tokens, grad.shape[0], -1, False
    )


def launch_embedding_backward(dy: Tensor, tokens: Tensor, rows: int, scale: float) -> Tensor:
    """A gradient made anew, summed in fp32; see :func:`launch_add_token_gradients`."""
    grad = torch.zeros(rows, dy.shape[-1], dtype=torch.float32, device=dy.device)
    launch_add_token_gradients(grad, tokens, dy, scale)
    return grad.to(dy.dtype)


def torch_embedding_backward(dy: Tensor, tokens: Tensor, rows: int, scale: float) -> Tensor:
    """The same in torch."""
    wide = dy.to(torch.promote_types(dy.dtype, torch.float32)) * scale
    grad: Tensor = torch.ops.aten.embedding_dense_backward(wide, tokens, rows, -1, False)
    return grad.to(dy.dtype)


@torch.library.custom_op("windtunnel::embedding", mutates_args=(), device_types="cuda")
def _embedding(tokens: Tensor, table: Tensor, scale: float) -> Tensor:
    return launch_embedding(tokens, table, scale)


@torch.library.custom_op("windtunnel::embedding_backward", mutates_args=(), device_types="cuda")
def _embedding_backward(dy: Tensor, tokens: Tensor, rows: int, scale: float) -> Tensor:
    return launch_embedding_backward(dy, tokens, rows, scale)


@torch.library.custom_op(
    "windtunnel::add_token_gradients_", mutates_args=("grad",), device_types="cuda"
)
def _add_token_gradients(grad: Tensor, tokens: Tensor, dy: Tensor, scale: float) -> None:
    launch_add_token_gradients(grad, tokens, dy, scale)


_embedding.register_kernel("cpu")(torch_embedding)
_embedding_backward.register_kernel("cpu")(torch_embedding_backward)
_add_token_gradients.register_kernel("cpu")(torch_add_token_gradients)
_add_token_gradients.register_fake(lambda *_: None)


@_embedding.register_fake
def _(tokens: Tensor, table: Tensor, scale: float) -> Tensor:
    return table.new_empty(*tokens.shape, table.shape[1])


@_embedding_backward.register_fake
def _(dy: Tensor, tokens: Tensor, rows: int, scale: float) -> Tensor:
    return dy.new_empty(rows, dy.shape[-1])


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Tensor) -> None:
    tokens, table, ctx.scale = inputs
    ctx.rows = table.shape[0]
    ctx.save_for_backward(tokens)


def _gradient(ctx: Any, dy: Tensor) -> tuple[None, Tensor, None]:
    (tokens,) = ctx.saved_tensors
    return None, _embedding_backward(dy, tokens, ctx.rows, ctx.scale), None


_embedding.register_autograd(_gradient, setup_context=_save)


class _IntoGradient(torch.autograd.Function):
    """The lookup whose backward adds into the table's ``grad`` itself and hands nothing on."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, table: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(tokens)
        ctx.table, ctx.scale = table, scale
        found: Tensor = _embedding(tokens, table, scale)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, None]:
        (tokens,) = ctx.saved_tensors
        table = ctx.table
        if table.grad is None:
            table.grad = torch.zeros_like(table, dtype=torch.float32)
        add_token_gradients_(table.grad, tokens, gradients[0], ctx.scale)
        return None, None, None


def add_token_gradients_(grad: Tensor, tokens: Tensor, dy: Tensor, scale: float) -> None:
    """Add ``scale`` times the rows of ``dy`` (..., d) to the rows ``tokens`` (...) of ``grad`` (P,
    d), fp32 and contiguous.

    Rows of one token are summed in fp32 in the order of their positions first, then added.
    """
    _add_token_gradients(grad, tokens, dy, scale)


def embedding(tokens: Tensor, table: Tensor, scale: float) -> Tensor:
    """``scale`` times the rows of ``table`` (P, d) at ``tokens`` (...), int64 in [0, P): (..., d)
    in the table's type.

    Differentiable once, in ``table``. A leaf that keeps its gradient in fp32 beside bf16 values
    (``grad_dtype``) gets it added by the backward pass straight into ``grad``, neither rounded nor
    made for the whole table first. That works with ``backward()``, not with
    ``torch.autograd.grad``, and in one process; compiled, the gradient goes the usual way. A head
    tied to the table adds its own gradient through autograd, which waits for this one before it
    writes.
    """
    if not torch.compiler.is_compiling() and keeps_wide_gradient(table):
        into: Tensor = _IntoGradient.apply(tokens, table, scale)
        return into
    look_up = torch_embedding if is_direct(table) else _embedding
    found: Tensor = look_up(tokens, table, scale)
    return found


def keeps_wide_gradient(table: Tensor) -> bool:
    """Whether ``table`` is a bf16 leaf whose gradient, wanted now, is fp32."""
    wanted = torch.is_grad_enabled() and table.requires_grad and table.is_leaf
    return (
        wanted
        and table.dtype == torch.bfloat16
        and getattr(table, "grad_dtype", None) == torch.float32
    )


def variants(width: int) -> list[Variant]:
    """What is launched for a bf16 table of ``width`` and an fp32 gradient."""
    first, second = two_blocks(width)
    half, full, short, long = (
        pointer(torch.bfloat16),
        pointer(torch.float32),
        pointer(torch.int32),
        pointer(torch.int64),
    )
    forward = {"tokens_ptr": long, "table_ptr": half, "y_ptr": half, "scale": "fp32"}
    parts = {"grad_ptr": full, "heads_ptr": full, "tails_ptr": full, "tokens": "i32"}
    sums = {"sorted_ptr": short, "order_ptr": long, "dy_ptr": half, "scale": "fp32", **parts}
    joined = {"sorted_ptr": short, "chunks": "i32", **parts}
    chunked = {"d": width, "C": CHUNK}
    return [
        Variant(embedding_kernel, forward, {"d": width, "A": first, "B": second}, 1, narrow=1),
        Variant(chunk_sums_kernel, sums, {**chunked, "W": COLUMNS}, 1, narrow=49),
        Variant(
            join_chunks_kernel, joined, {**chunked, "K": PARTS, "W": PART_COLUMNS}, 1, narrow=4
        ),
    ]
