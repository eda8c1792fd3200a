"""Cross-entropy of a linear head, in slices of tokens: the logits of a whole batch never exist at once.

For a slice of C tokens: z = h W^T (C, P), nll = logsumexp(z[:V]) - z[target], and since the weights of the sum are known,
the gradient weight * (softmax(z) - onehot) is made in the same pass while the slice is in the cache, along with
its products with W and h. The backward pass only multiplies by the gradient from above. Columns V and up are padding:
they take no part in the sum and get no gradient.

Memory besides the two gradients: C * P * 4 bytes. Products: three matrix products, as with kept logits.

Shapes: N tokens, d width, V vocabulary, P padded vocabulary, C tokens of a slice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SLICE_LOGITS = 2**20
"""Logits of one slice (4 MiB in fp32): as many tokens as fit, at least 16."""


def linear_cross_entropy(hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor, vocab_size: int) -> tuple[Tensor, Tensor]:
    """The weighted sum of negative log-likelihoods in nats (scalar), and each token's own (N,); fp32, or fp64 for fp64 ``hidden``.

    ``hidden`` (N, d), ``head`` (P, d), ``targets`` (N,) int64 in [0, vocab_size), ``weights`` (N,) fp32. Only the sum
    carries a gradient, to ``hidden`` and ``head``. Slices are summed in their order: the same bits every time.
    """
    wanted = torch.is_grad_enabled() and (hidden.requires_grad or head.requires_grad)
    loss, nll = _LinearCrossEntropy.apply(hidden, head, targets, weights, vocab_size, wanted)
    return loss, nll


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor, vocab_size: int, wanted: bool
    ) -> tuple[Tensor, Tensor]:
        precision = torch.promote_types(hidden.dtype, torch.float32)
        nll = torch.empty(hidden.shape[0], dtype=precision, device=hidden.device)
        hidden_gradient = torch.empty_like(hidden) if wanted else None
        head_gradient = torch.zeros_like(head, dtype=precision) if wanted else None
        tokens = max(16, SLICE_LOGITS // head.shape[0])
        for start in range(0, hidden.shape[0], tokens):
            part = slice(start, start + tokens)
            logits = (hidden[part] @ head.T).to(precision)  # (C, P)
            logits[:, vocab_size:] = -torch.inf
            nll[part], error = _softmax_error(logits, targets[part], weights[part].to(precision), wanted)
            if hidden_gradient is not None and head_gradient is not None:
                error = error.to(head.dtype)
                torch.mm(error, head, out=hidden_gradient[part])
                head_gradient.addmm_(error.T.to(precision), hidden[part].to(precision))
        loss = (nll.double() * weights.double()).sum().to(precision)
        if hidden_gradient is not None and head_gradient is not None:
            ctx.save_for_backward(hidden_gradient, head_gradient.to(head.dtype))
        ctx.mark_non_differentiable(nll)
        return loss, nll

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden_gradient, head_gradient = ctx.saved_tensors
        return gradients[0] * hidden_gradient, gradients[0] * head_gradient, None, None, None, None


def _softmax_error(logits: Tensor, targets: Tensor, weights: Tensor, wanted: bool) -> tuple[Tensor, Tensor]:
    """The nll of each row, and weight * (softmax - onehot) written over ``logits`` where ``wanted``."""
    row = targets[:, None]
    logits -= logits.amax(1, keepdim=True)
    shifted = logits.gather(1, row)
    exponentials = logits.exp_()
    total = exponentials.sum(1, keepdim=True)
    nll = (total.log() - shifted)[:, 0]
    if not wanted:
        return nll, logits
    exponentials *= weights[:, None] / total
    exponentials.scatter_add_(1, row, -weights[:, None])
    return nll, exponentials
