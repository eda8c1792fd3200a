"""The operations that have kernels: inputs of a shape, ours, the same in plain torch, and what it
costs.

``plain`` is what a model without kernels would run; in fp64 it is the truth that both are held
against.

Shapes: N tokens in B windows of T, d width, F inner width, H query and G key-value heads of K, V
vocabulary, P padded vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from benchmarks.gpu.shapes import Shape
from trainer.costs import kernel_costs as costs
from trainer.costs.kernel_costs import Cost
from trainer.kernels import rows_backend
from trainer.kernels.attention import attention, document_bounds
from trainer.kernels.cross_entropy_rows import launch_cross_entropy_rows
from trainer.kernels.embedding import embedding
from trainer.kernels.float8 import float8_linear
from trainer.kernels.linear_cross_entropy import linear_cross_entropy
from trainer.kernels.residual_norm import residual_norm
from trainer.kernels.rms_norm import rms_norm
from trainer.kernels.rope import rotated_qkv
from trainer.kernels.swiglu import swiglu, swiglu_linear

EPS, SCALE_EMB, UPWARD = 1e-5, 12.0, 0.37
Tensors = tuple[Any, ...]


@dataclass(frozen=True)
class Operation:
    """``inputs(shape, draw)`` are the arguments of ``ours`` and ``plain``, of which those at
    ``leaves`` take a gradient.

    ``timed()`` makes what is timed where that is not ours: a check spares its inputs. ``backward``
    is None where forward makes the gradients.
    """

    name: str
    inputs: Callable[[Shape, Draw], Tensors]
    ours: Callable[..., Any]
    plain: Callable[..., Any]
    leaves: tuple[int, ...]
    forward: Callable[[Shape], Cost]
    backward: Callable[[Shape], Cost] | None
    timed: Callable[[], Callable[..., Any]] | None = None


class Draw:
    """Normal values on a device in a dtype, the same for a seed."""

    def __init__(self, device: torch.device, dtype: torch.dtype, seed: int = 0) -> None:
        self.device, self.dtype = device, dtype
        self.source = torch.Generator(device).manual_seed(seed)

    def __call__(self, *shape: int, scale: float = 1.0) -> Tensor:
        values = torch.randn(*shape, generator=self.source, device=self.device, dtype=torch.float32)
        return (values * scale).to(self.dtype)

    def integers(self, below: int, *shape: int) -> Tensor:
        return torch.randint(below, shape, generator=self.source, device=self.device)

    def weights(self, count: int) -> Tensor:
        """fp32 loss weights, a quarter of them 0."""
        drawn = torch.rand(count, generator=self.source, device=self.device)
        return torch.where(drawn < 0.25, 0.0, drawn)


def outputs_of(result: Any) -> list[Tensor]:
    """The tensors of a result that can take a gradient, in order."""
    every = result if isinstance(result, tuple) else (result,)
    return [tensor for tensor in every if isinstance(tensor, Tensor) and tensor.is_floating_point()]


def plain_rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return F.rms_norm(x, weight.shape, weight, eps)


def plain_residual_norm(
    branch: Tensor, residual: Tensor, weight: Tensor, scale: float, eps: float
) -> tuple[Tensor, Tensor]:
    stream = torch.add(residual, branch, alpha=scale)
    return stream, F.rms_norm(stream, weight.shape, weight, eps)


def plain_rotated_qkv(
    qkv: Tensor, cos: Tensor, sin: Tensor, heads: int, kv_heads: int
) -> tuple[Tensor, ...]:
    qk, v = qkv.split((heads + kv_heads, kv_heads), 2)
    first, second = qk.chunk(2, -1)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), -1).to(qkv.dtype)
    return (*turned.split((heads, kv_heads), 2), v)


def plain_swiglu(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, -1)
    return F.silu(gate) * up


def plain_swiglu_linear(gate_up: Tensor, weight: Tensor) -> Tensor:
    return F.linear(plain_swiglu(gate_up), weight)


def plain_linear_cross_entropy(
    hidden: Tensor,
    head: Tensor,
    targets: Tensor,
    weights: Tensor,
    vocab_size: int,
    logit_scale: float,
    z_loss: float,
) -> tuple[Tensor, Tensor]:
    precision = torch.promote_types(hidden.dtype, torch.float32)
    logits = F.linear(hidden, head[:vocab_size]).to(precision) * logit_scale
    log_sum, told = logits.logsumexp(-1), targets >= 0
    nll = torch.where(told, log_sum - logits.gather(-1, targets.clamp(min=0)[:, None])[:, 0], 0)
    return ((nll + z_loss * log_sum.square()) * torch.where(told, weights, 0)).sum(), nll.detach()


def plain_embedding(tokens: Tensor, table: Tensor, scale: float) -> Tensor:
    return F.embedding(tokens, table) * scale


def plain_attention(
    q: Tensor, k: Tensor, v: Tensor, scale: float, documents: Tensor | None
) -> Tensor:
    mask = None
    if documents is not None:
        same = documents[:, :, None] == documents[:, None, :]
        mask = same.tril()[:, None].to(q.device)
    return F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )


def sparing_rotated_qkv(qkv: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    """The rotation on a copy: it turns its argument in place."""
    return rotated_qkv(qkv.clone(), *rest)


def our_attention(
    q: Tensor, k: Tensor, v: Tensor, scale: float, documents: Tensor | None
) -> Tensor:
    """Attention as the model calls it, where documents begin included."""
    return attention(q, k, v, scale, document_bounds(documents, q.device))


def our_loss(
    hidden: Tensor,
    head: Tensor,
    targets: Tensor,
    weights: Tensor,
    vocab_size: int,
    scale: float,
    z_loss: float,
) -> tuple[Tensor, Tensor]:
    return linear_cross_entropy(
        hidden, head, targets, weights, vocab_size, logit_scale=scale, z_loss=z_loss
    )


def our_loss_in_cuda(*arguments: Any) -> tuple[Tensor, Tensor]:
    """With the row kernel in CUDA C++. Raises: RuntimeError where Triton's ran in its place."""
    rows_backend.use("cuda")
    try:
        found = our_loss(*arguments)
        if arguments[0].is_cuda and rows_backend.rows() is launch_cross_entropy_rows:
            raise RuntimeError("the row kernel in CUDA C++ cannot be had here")
        return found
    finally:
        rows_backend.use("triton")


def attention_of_bounds() -> Callable[..., Any]:
    """The same with where documents begin found once, as once for all layers of a step."""
    known: list[Tensor | None] = []

    def run(q: Tensor, k: Tensor, v: Tensor, scale: float, documents: Tensor | None) -> Tensor:
        if not known:
            known.append(document_bounds(documents, q.device))
        return attention(q, k, v, scale, known[0])

    return run


def _qkv(shape: Shape, draw: Draw) -> Tensors:
    config = shape.config
    angle = (
        torch.rand(
            shape.rows,
            shape.window,
            1,
            config.head_dim // 2,
            generator=draw.source,
            device=draw.device,
        )
        * 6
    )
    qkv = draw(shape.rows, shape.window, config.heads + 2 * config.kv_heads, config.head_dim)
    return qkv, angle.cos(), angle.sin(), config.heads, config.kv_heads


def _streams(shape: Shape, draw: Draw) -> Tensors:
    config = shape.config
    branch, stream = (draw(shape.tokens, config.width) for _ in range(2))
    return branch, stream, draw(config.width), config.residual_multiplier, EPS


def _heads(shape: Shape, draw: Draw) -> Tensors:
    config = shape.config
    sizes = [
        (shape.rows, heads, shape.window, config.head_dim)
        for heads in (config.heads, config.kv_heads, config.kv_heads)
    ]
    return (*(draw(*size) for size in sizes), config.attention_multiplier)


def packed_documents(shape: Shape) -> Tensor:
    """Documents of many lengths in each window (B, T), on the CPU: a new one begins at each token
    with chance 16 / T.
    """
    begins = (
        torch.rand(shape.rows, shape.window, generator=torch.Generator().manual_seed(1))
        < 16 / shape.window
    )
    return begins.cumsum(1)


def _loss_inputs(shape: Shape, draw: Draw) -> Tensors:
    config, tokens = shape.config, shape.tokens
    head = draw(config.padded_vocab, config.width, scale=config.width**-0.5)
    weights, targets = draw.weights(tokens), draw.integers(config.vocab_size, tokens)
    return draw(tokens, config.width), head, targets, weights, config.vocab_size, 0.9, 1e-4


def _sizes(shape: Shape) -> tuple[int, int, int, int]:
    config = shape.config
    return shape.tokens, config.heads, config.kv_heads, config.head_dim


def _attention_sizes(shape: Shape) -> tuple[int, int, int, int, int]:
    return shape.tokens, shape.window, *_sizes(shape)[1:]


def _loss_cost(shape: Shape) -> Cost:
    tokens, width, padded = shape.tokens, shape.config.width, shape.config.padded_vocab
    rows = costs.cross_entropy_rows(tokens, padded)
    return (
        costs.head_products(tokens, width, padded)
        + rows
        + costs.head_gradient_sums(tokens, width, padded)
    )


def _packed(shape: Shape, whole: Cost) -> Cost:
    """Of the products only those inside documents."""
    places = torch.unique(
        packed_documents(shape) + 2 * shape.window * torch.arange(shape.rows)[:, None],
        return_counts=True,
    )[1]
    return Cost(
        whole.bytes,
        whole.flops
        * int((places * (places + 1)).sum())
        // (shape.rows * shape.window * (shape.window + 1)),
    )


OPERATIONS = [
    Operation(
        name="rms_norm",
        inputs=lambda s, draw: (draw(s.tokens, s.config.width), draw(s.config.width), EPS),
        ours=rms_norm,
        plain=plain_rms_norm,
        leaves=(0, 1),
        forward=lambda s: costs.rms_norm(s.tokens, s.config.width),
        backward=lambda s: costs.rms_norm_backward(s.tokens, s.config.width),
    ),
    Operation(
        name="residual_norm",
        inputs=_streams,
        ours=residual_norm,
        plain=plain_residual_norm,
        leaves=(0, 1, 2),
        forward=lambda s: costs.residual_norm(s.tokens, s.config.width),
        backward=lambda s: costs.residual_norm_backward(s.tokens, s.config.width),
    ),
    Operation(
        name="rotated_qkv",
        inputs=_qkv,
        ours=sparing_rotated_qkv,
        plain=plain_rotated_qkv,
        leaves=(0,),
        forward=lambda s: costs.rope(*_sizes(s)),
        backward=lambda s: costs.rope_backward(*_sizes(s)),
        timed=lambda: rotated_qkv,
    ),
    Operation(
        name="swiglu",
        inputs=lambda s, draw: (draw(s.tokens, 2 * s.config.ff),),
        ours=swiglu,
        plain=plain_swiglu,
        leaves=(0,),
        forward=lambda s: costs.swiglu(s.tokens, s.config.ff),
        backward=lambda s: costs.swiglu_backward(s.tokens, s.config.ff),
    ),
    Operation(
        name="swiglu_linear",
        inputs=lambda s, draw: (
            draw(s.tokens, 2 * s.config.ff),
            draw(s.config.width, s.config.ff, scale=s.config.ff**-0.5),
        ),
        ours=swiglu_linear,
        plain=plain_swiglu_linear,
        leaves=(0, 1),
        forward=lambda s: (
            costs.swiglu(s.tokens, s.config.ff)
            + costs.product(s.tokens, s.config.ff, s.config.width)
        ),
        backward=lambda s: (
            costs.swiglu_backward(s.tokens, s.config.ff, recompute=True)
            + costs.product_backward(s.tokens, s.config.ff, s.config.width)
        ),
    ),
    Operation(
        name="linear_cross_entropy",
        inputs=_loss_inputs,
        ours=our_loss,
        plain=plain_linear_cross_entropy,
        leaves=(0, 1),
        forward=_loss_cost,
        backward=None,
    ),
    Operation(
        name="linear_cross_entropy, CUDA C++ rows",
        inputs=_loss_inputs,
        ours=our_loss_in_cuda,
        plain=plain_linear_cross_entropy,
        leaves=(0, 1),
        forward=_loss_cost,
        backward=None,
    ),
    Operation(
        name="embedding",
        inputs=lambda s, draw: (
            draw.integers(s.config.vocab_size, s.tokens),
            draw(s.config.padded_vocab, s.config.width),
            SCALE_EMB,
        ),
        ours=embedding,
        plain=plain_embedding,
        leaves=(1,),
        forward=lambda s: costs.embedding(s.tokens, s.config.width),
        backward=lambda s: costs.embedding_backward(s.tokens, s.config.width),
    ),
    Operation(
        name="attention",
        inputs=lambda s, draw: (*_heads(s, draw), None),
        ours=our_attention,
        plain=plain_attention,
        leaves=(0, 1, 2),
        forward=lambda s: costs.attention(*_attention_sizes(s)),
        backward=lambda s: costs.attention_backward(*_attention_sizes(s)),
    ),
    Operation(
        name="attention, packed",
        inputs=lambda s, draw: (*_heads(s, draw), packed_documents(s)),
        ours=our_attention,
        plain=plain_attention,
        leaves=(0, 1, 2),
        forward=lambda s: _packed(s, costs.attention(*_attention_sizes(s))),
        backward=lambda s: _packed(s, costs.attention_backward(*_attention_sizes(s))),
        timed=attention_of_bounds,
    ),
    Operation(
        name="float8_linear",
        inputs=lambda s, draw: (
            draw(s.tokens, s.config.width),
            draw(2 * s.config.ff, s.config.width, scale=s.config.width**-0.5),
        ),
        ours=float8_linear,
        plain=F.linear,
        leaves=(0, 1),
        forward=lambda s: costs.product(s.tokens, s.config.width, 2 * s.config.ff, 1, result=2),
        backward=lambda s: costs.product_backward(
            s.tokens, s.config.width, 2 * s.config.ff, 1, result=2
        ),
    ),
]
