"""Rows of logits to the loss of each row, and in place to the gradient of the weighted sum.

With z = scale * logits[:V], t the target and w the weight of a row:

    nll  = logsumexp(z) - z[t]
    dlogits = w * scale * ((1 + 2 zeta lse) softmax(z) - onehot(t)),
              of the sum over rows of w * (nll + zeta * lse^2)

Columns V up to P are padding: no part of the sum, gradient zero. A row whose target lies outside
[0, V) is ignored: nll 0, gradient zero; so is the gradient where the weight is 0. All arithmetic is
fp32 with one rounding at the end. The target's own entry is not softmax - 1, which cancels when the
model is sure, but -(sum of the others) / (sum of all); and sums are taken relative to the maximum,
so an offset common to all logits costs nothing.

Bytes: a row is read twice and written once, 6 P in bf16; at 16,384 rows of 122,816 12.1 GB, 2.81 ms
at 4.3 TB/s. One program of 1024 threads on a multiprocessor keeps the rows in flight (32 MB) in the
L2 cache, so that the second reading need not come from memory: then 8.05 GB, 1.87 ms.
``cross_entropy_rows.cu`` reads once for certain, see :mod:`trainer.kernels.cuda_rows`.

Shapes: C rows, V vocabulary, P padded vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.kernels.compiled import VOCABULARY, Variant, padded, pointer
from trainer.kernels.language import jit, tl

BLOCK, WARPS = 8192, 32
LANE = 8  # elements of one 16-byte access in bf16: their maximum and sum need no other thread


@jit
def cross_entropy_rows_kernel(
    logits_ptr, targets_ptr, weights_ptr, nll_ptr, lse_ptr, stride, scale, zeta,
    V: tl.constexpr, P: tl.constexpr,
    BLOCK: tl.constexpr, LANE: tl.constexpr, GRADIENT: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    logits_ptr += row * stride
    target = tl.load(targets_ptr + row)
    counted = (target >= 0) & (target < V)
    z_t = tl.load(logits_ptr + tl.where(counted, target, 0)).to(tl.float32) * scale
    lane = tl.arange(0, BLOCK // LANE)[:, None] * LANE + tl.arange(0, LANE)[None, :]

    top = tl.full((BLOCK // LANE,), float("-inf"), tl.float32)
    others = tl.zeros((BLOCK // LANE,), tl.float32)
    for block in range(0, (V + BLOCK - 1) // BLOCK):
        column = block * BLOCK + lane
        z = tl.load(logits_ptr + column, mask=column < P, other=0.0).to(tl.float32) * scale
        # P is a multiple of 16 and V is not: a mask of V would split the accesses
        z = tl.where(column < V, z, float("-inf"))
        higher = tl.maximum(top, tl.max(z, 1))
        # lanes beyond a short row have seen nothing yet
        base = tl.where(higher == float("-inf"), 0.0, higher)
        others = others * tl.exp(top - base) + tl.sum(
            tl.where(column == target, 0.0, tl.exp(z - base[:, None])), 1
        )
        top = higher
    m = tl.max(top, 0)
    rest = tl.sum(others * tl.exp(top - m), 0)
    e_t = tl.where(counted, tl.exp(z_t - m), 0.0)
    total = rest + e_t
    lse = m + tl.log(total)
    one = 1.0 + rest  # log(1 + rest) without losing a small rest
    small = tl.where(one == 1.0, rest, tl.log(one) * (rest / tl.where(one == 1.0, 1.0, one - 1.0)))
    nll = tl.where(z_t == m, small, (m - z_t) + tl.log(total))
    tl.store(nll_ptr + row, tl.where(counted, nll, 0.0))
    tl.store(lse_ptr + row, tl.where(counted, lse, 0.0))

    if GRADIENT:
        weight = tl.where(counted, tl.load(weights_ptr + row).to(tl.float32), 0.0)
        more = 2.0 * zeta * lse
        factor = weight * scale / total * (1.0 + more)
        own = weight * scale / total * (more * e_t - rest)
        kept = tl.where(weight == 0.0, 0, V)  # columns with a gradient
        blocks = (P + BLOCK - 1) // BLOCK
        for back in range(0, blocks):  # what was read last is in the cache
            column = (blocks - 1 - back) * BLOCK + lane
            z = tl.load(logits_ptr + column, mask=column < P, other=0.0).to(tl.float32) * scale
            gradient = tl.where(column == target, own, factor * tl.exp(z - m))
            gradient = tl.where(column < kept, gradient, 0.0)
            tl.store(logits_ptr + column, gradient.to(logits_ptr.dtype.element_ty), mask=column < P)


def launch_cross_entropy_rows(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor,
    vocab_size: int,
    scale: float,
    zeta: float,
    gradient: bool,
) -> tuple[Tensor, Tensor]:
    """nll and logsumexp (C,) fp32 of ``logits`` (C, P); with ``gradient`` the logits become their
    gradient.

    ``logits`` has rows of stride 1, ``targets`` (C,) int64, ``weights`` (C,) fp32, ``scale`` > 0,
    ``zeta`` the weight of the z-loss.
    """
    rows, width = logits.shape
    nll, lse = (torch.empty(rows, dtype=torch.float32, device=logits.device) for _ in range(2))
    if rows:
        cross_entropy_rows_kernel[(rows,)](
            logits, targets, weights, nll, lse, logits.stride(0), scale, zeta,
            V=vocab_size, P=width, BLOCK=BLOCK, LANE=LANE, GRADIENT=gradient, num_warps=WARPS,
        )  # fmt: skip
    return nll, lse


def torch_cross_entropy_rows(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor,
    vocab_size: int,
    scale: float,
    zeta: float,
    gradient: bool,
) -> tuple[Tensor, Tensor]:
    """The same in torch, in place on logits of fp32 or better."""
    logits[:, vocab_size:] = -torch.inf
    if scale != 1.0:
        logits *= scale
    counted = (targets >= 0) & (targets < vocab_size)
    at = torch.where(counted, targets, 0)[:, None]
    m = logits.amax(1, keepdim=True)
    shifted = logits.sub_(m).gather(1, at)
    exponentials = logits.exp_()
    own = exponentials.gather(1, at)
    rest = exponentials.scatter_(1, at, 0.0).sum(1, keepdim=True)
    total = rest + own
    nll = torch.where(shifted == 0, rest.log1p(), total.log() - shifted)[:, 0]
    lse = (m + total.log())[:, 0]
    if gradient:
        weights = torch.where(counted, weights, 0.0)[:, None]
        step = weights * scale / total
        more = 2 * zeta * lse[:, None]
        exponentials *= step * (1 + more)
        exponentials.scatter_(1, at, step * (more * own - rest))
        exponentials.masked_fill_(weights == 0, 0.0)
    return torch.where(counted, nll, 0.0), torch.where(counted, lse, 0.0)


def variants(width: int) -> list[Variant]:
    """What is launched at the presets' vocabulary, whatever the ``width`` of the hidden state."""
    types = {"logits_ptr": pointer(torch.bfloat16), "targets_ptr": pointer(torch.int64)}
    types |= {name: pointer(torch.float32) for name in ("weights_ptr", "nll_ptr", "lse_ptr")}
    types |= {"stride": "i32", "scale": "fp32", "zeta": "fp32"}
    shape = {"V": VOCABULARY, "P": padded(VOCABULARY), "BLOCK": BLOCK, "LANE": LANE}
    return [
        Variant(
            cross_entropy_rows_kernel,
            types,
            {**shape, "GRADIENT": gradient},
            WARPS,
            narrow=5,
            divisible=("stride",),
            programs=1,
        )
        for gradient in (True, False)
    ]
