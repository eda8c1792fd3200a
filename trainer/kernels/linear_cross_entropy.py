"""Cross-entropy of a linear head, in chunks of tokens: the logits of a whole batch never exist at
once.

For a chunk of C tokens: logits = h W^T (C, P); the row kernel of
:mod:`trainer.kernels.cross_entropy_rows` turns them in place into the gradient of the weighted sum,
which is known as soon as the weights are; two more products give the gradients of h and W, the
latter summed over chunks in fp32. The backward pass multiplies both by the gradient from above.

Operations: three products, 6 N d V; at N = 16,384 and d = 2304 27.8 TFLOP, 35.2 ms at 790 TFLOP/s,
and the rows 1.9 to 2.8 ms. Chunks of 4096 rows keep the products wide and move the fp32 gradient of
W (1.1 GB) four times only, 1.8 ms; recomputing the logits in the backward pass instead would be a
fourth product, 11.7 ms. Extra memory: C P logits (1 GB in bf16) and the two gradients.

On a CPU the chunk is as many tokens as 4 MiB of logits hold, at least 16, so that all passes over
them find the cache.

Nothing waits for the device. Chunks are summed in their order: the same bits every time.
Differentiable once.

Shapes: N tokens, d width, V vocabulary, P padded vocabulary, C tokens of a chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainer.kernels import rows_backend
from trainer.kernels.cross_entropy_rows import torch_cross_entropy_rows

CHUNK_TOKENS = 4096
CHUNK_TOKENS_MULTIPLE = 128
CACHED_LOGITS = 2**20
"""Logits of a chunk on a CPU (4 MiB in fp32)."""


def chunk_tokens(tokens: int) -> int:
    """Tokens of a chunk on a GPU: the fewest chunks of at most 4096, all but the last equal and a
    multiple of 128.
    """
    chunks = max(1, -(-tokens // CHUNK_TOKENS))
    each = -(-tokens // chunks)
    return max(1, -(-each // CHUNK_TOKENS_MULTIPLE) * CHUNK_TOKENS_MULTIPLE)


def launch_linear_cross_entropy(
    hidden: Tensor,
    head: Tensor,
    targets: Tensor,
    weights: Tensor,
    vocab_size: int,
    logit_scale: float,
    z_loss: float,
    wanted: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Chunks over cuBLAS products and the row kernel; see :func:`linear_cross_entropy`."""
    tokens = hidden.shape[0]
    hidden = hidden.contiguous()
    rows = chunk_tokens(tokens)
    logits = torch.empty(min(rows, tokens), head.shape[0], dtype=hidden.dtype, device=hidden.device)
    nll, lse = (torch.empty(tokens, dtype=torch.float32, device=hidden.device) for _ in range(2))
    hidden_gradient, head_gradient = _gradients(hidden, head, wanted)
    for start in range(0, tokens, rows):
        part = slice(start, min(start + rows, tokens))
        z = logits[: part.stop - start]
        torch.mm(hidden[part], head.T, out=z)
        nll[part], lse[part] = rows_backend.rows()(
            z, targets[part], weights[part], vocab_size, logit_scale, z_loss, wanted
        )
        if wanted:
            torch.mm(z, head, out=hidden_gradient[part])
            add_product_(head_gradient, z.T, hidden[part])
    return _summed(nll, lse, weights, z_loss), nll, hidden_gradient, head_gradient


def add_product_(into: Tensor, left: Tensor, right: Tensor) -> None:
    """``into`` (fp32) += left right, the product of half-precision matrices summed and added in
    fp32.
    """
    if left.dtype == into.dtype:
        into.addmm_(left, right)
    elif into.device.type == "cuda":
        torch.addmm(into, left, right, out_dtype=into.dtype, out=into)
    else:
        into.addmm_(left.to(into.dtype), right.to(into.dtype))


def torch_linear_cross_entropy(
    hidden: Tensor,
    head: Tensor,
    targets: Tensor,
    weights: Tensor,
    vocab_size: int,
    logit_scale: float,
    z_loss: float,
    wanted: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same in torch, with chunks for a CPU's cache; fp32 inside, fp64 for fp64."""
    precision = torch.promote_types(hidden.dtype, torch.float32)
    tokens = hidden.shape[0]
    nll, lse = (torch.empty(tokens, dtype=precision, device=hidden.device) for _ in range(2))
    weights = weights.to(precision)
    hidden_gradient, head_gradient = _gradients(hidden, head, wanted)
    rows = max(16, CACHED_LOGITS // head.shape[0])
    for start in range(0, tokens, rows):
        part = slice(start, start + rows)
        logits = (hidden[part] @ head.T).to(precision)  # (C, P)
        nll[part], lse[part] = torch_cross_entropy_rows(
            logits, targets[part], weights[part], vocab_size, logit_scale, z_loss, wanted
        )
        if wanted:
            error = logits.to(head.dtype)
            torch.mm(error, head, out=hidden_gradient[part])
            add_product_(head_gradient, error.T, hidden[part])
    return _summed(nll, lse, weights, z_loss), nll, hidden_gradient, head_gradient


def _gradients(hidden: Tensor, head: Tensor, wanted: bool) -> tuple[Tensor, Tensor]:
    """Room for both gradients; empty where nobody wants them."""
    precision = torch.promote_types(head.dtype, torch.float32)
    if not wanted:
        return hidden.new_empty(0), head.new_empty(0, dtype=precision)
    return torch.empty_like(hidden, memory_format=torch.contiguous_format), torch.zeros_like(
        head, dtype=precision
    )


def _summed(nll: Tensor, lse: Tensor, weights: Tensor, z_loss: float) -> Tensor:
    """The weighted sum over tokens, added in fp64."""
    each = nll.double() + z_loss * lse.double().square() if z_loss else nll.double()
    return torch.where(weights != 0, each * weights.double(), 0.0).sum().to(nll.dtype)


@torch.library.custom_op("windtunnel::linear_cross_entropy", mutates_args=(), device_types="cuda")
def _linear_cross_entropy(
    hidden: Tensor,
    head: Tensor,
    targets: Tensor,
    weights: Tensor,
    vocab_size: int,
    logit_scale: float,
    z_loss: float,
    wanted: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return launch_linear_cross_entropy(
        hidden, head, targets, weights, vocab_size, logit_scale, z_loss, wanted
    )


_linear_cross_entropy.register_kernel("cpu")(torch_linear_cross_entropy)


@_linear_cross_entropy.register_fake
def _(
    hidden: Tensor,
    head: Tensor,
    targets: Tensor,
    weights: Tensor,
    vocab_size: int,
    logit_scale: float,
    z_loss: float,
    wanted: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    precision = torch.promote_types(hidden.dtype, torch.float32)
    nll = hidden.new_empty(hidden.shape[0], dtype=precision)
    if not wanted:
        return (
            nll.new_empty(()),
            nll,
            hidden.new_empty(0),
            head.new_empty(0, dtype=torch.promote_types(head.dtype, torch.float32)),
        )
    full = torch.empty_like(head, dtype=torch.promote_types(head.dtype, torch.float32))
    return (
        nll.new_empty(()),
        nll,
        torch.empty_like(hidden, memory_format=torch.contiguous_format),
        full,
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(output[2], output[3])
    ctx.wanted = inputs[-1]
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)


def _gradient(ctx: Any, above: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    nothing = (None,) * 6
    if above is None:
        return None, None, *nothing
    if not ctx.wanted:
        raise RuntimeError("linear_cross_entropy was called without gradients: its loss has none")
    hidden_gradient, head_gradient = ctx.saved_tensors
    # ``above`` rounded to bf16 would scale every gradient below by 0.4 %
    wide = torch.promote_types(hidden_gradient.dtype, torch.float32)
    return (
        (above * hidden_gradient.to(wide)).to(hidden_gradient.dtype),
        above * head_gradient,
        *nothing,
    )


_linear_cross_entropy.register_autograd(_gradient, setup_context=_save)


def linear_cross_entropy(
    hidden: Tensor,
    head: Tensor,
    targets: Tensor,
    weights: Tensor,
    vocab_size: int,
    *,
    logit_scale: float = 1.0,
    z_loss: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """The weighted sum over tokens of nll + z_loss * logsumexp^2 in nats (scalar), and each token's
    own nll (N,).

    ``hidden`` (N, d), ``head`` (P, d) of the same dtype, P >= ``vocab_size``; ``targets`` (N,)
    int64, one outside [0, vocab_size) (-100, say) is ignored: nll 0, no gradient; ``weights`` (N,).
    Logits are multiplied by ``logit_scale`` > 0 in fp32. Both results are fp32 (fp64 for fp64).
    Only the sum carries a gradient, to ``hidden`` and ``head``; that of the head is handed on in
    fp32, and stays so where the tensor it belongs to has ``grad_dtype`` fp32. Raises: ValueError
    for a scale of 0 or less.
    """
    if logit_scale <= 0:
        raise ValueError(f"logit_scale is {logit_scale}, it must be above 0")
    wanted = torch.is_grad_enabled() and (hidden.requires_grad or head.requires_grad)
    loss, nll, _, _ = _linear_cross_entropy(
        hidden, head, targets, weights, vocab_size, logit_scale, z_loss, wanted
    )
    return loss, nll
