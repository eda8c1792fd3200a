"""What each kernel costs: bytes that must cross memory, and operations of matrix products, from
shapes alone.

Each tensor is read once and written once; what a kernel keeps in registers or shared memory costs
nothing. One multiply-add is two operations; those outside products are left out, memory bounds
them. So time = max(bytes / copy bandwidth, operations / rate) is a floor.

    cost = swiglu(rows=16_384, ff=5760)          # Cost(bytes=566_231_040, flops=0)

Shapes: N rows (tokens), d width, F inner width, H query and G key-value heads of K, V vocabulary, P
padded vocabulary; ``size`` bytes per value. Figures kept for the backward pass (r of a norm) and
angles are fp32, token ids int64.
"""

from __future__ import annotations

from dataclasses import dataclass

FP32, INT64, BF16 = 4, 8, 2
LOGIT_ROWS = 4096
"""Tokens whose logits exist at once in the head's loss."""


@dataclass(frozen=True)
class Cost:
    """``bytes`` read and written; ``flops`` of matrix products."""

    bytes: int
    flops: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.bytes + other.bytes, self.flops + other.flops)


def rms_norm(rows: int, width: int, size: int = BF16) -> Cost:
    """Read x; write y and r."""
    return Cost(rows * (2 * width * size + FP32))


def rms_norm_backward(rows: int, width: int, size: int = BF16) -> Cost:
    """Read dy, x and r; write dx."""
    return Cost(rows * (3 * width * size + FP32))


def residual_norm(rows: int, width: int, size: int = BF16) -> Cost:
    """Read branch and stream; write stream, y and r."""
    return Cost(rows * (4 * width * size + FP32))


def residual_norm_backward(
    rows: int, width: int, size: int = BF16, *, folded: bool = False
) -> Cost:
    """Read dy, the stream and its gradient, r; write the gradients of stream and branch, one tensor
    where the scale is ``folded`` into the products around.
    """
    return Cost(rows * ((4 if folded else 5) * width * size + FP32))


def rope(rows: int, heads: int, kv_heads: int, head_dim: int, size: int = BF16) -> Cost:
    """Read and write queries and keys in place; read the angles."""
    return Cost(rows * head_dim * (2 * (heads + kv_heads) * size + FP32))


def rope_backward(rows: int, heads: int, kv_heads: int, head_dim: int, size: int = BF16) -> Cost:
    """Read the gradients of queries, keys and values and the angles; write them packed."""
    return Cost(rows * head_dim * (2 * (heads + 2 * kv_heads) * size + FP32))


def swiglu(rows: int, ff: int, size: int = BF16) -> Cost:
    """Read gate and up; write h."""
    return Cost(3 * rows * ff * size)


def swiglu_backward(rows: int, ff: int, size: int = BF16, *, recompute: bool = False) -> Cost:
    """Read dh, gate and up; write their gradients, and h anew where it was not kept."""
    return Cost((6 if recompute else 5) * rows * ff * size)


def product(
    rows: int, inputs: int, outputs: int, size: int = BF16, *, result: int | None = None
) -> Cost:
    """(rows, inputs) by (inputs, outputs), the result in ``result`` bytes per value where that is
    not ``size``.
    """
    moved = (rows * inputs + inputs * outputs) * size + rows * outputs * (
        size if result is None else result
    )
    return Cost(moved, 2 * rows * inputs * outputs)


def product_backward(
    rows: int, inputs: int, outputs: int, size: int = BF16, *, result: int | None = None
) -> Cost:
    """The gradients of both operands: two products of the same operations."""
    return product(rows, outputs, inputs, size, result=result) + product(
        inputs, rows, outputs, size, result=result
    )


def attention(
    rows: int, window: int, heads: int, kv_heads: int, head_dim: int, size: int = BF16
) -> Cost:
    """Two products over windows of ``window`` tokens, a token attending to (window + 1) / 2 on
    average; logsumexp kept per head.
    """
    moved = rows * (2 * (heads + kv_heads) * head_dim * size + heads * FP32)
    return Cost(moved, 2 * rows * heads * head_dim * (window + 1))


def attention_backward(
    rows: int, window: int, heads: int, kv_heads: int, head_dim: int, size: int = BF16
) -> Cost:
    """Five products: the scores again, and the gradients of values, weights, queries and keys."""
    forward = attention(rows, window, heads, kv_heads, head_dim, size)
    moved = rows * ((4 * heads + 4 * kv_heads) * head_dim * size + heads * FP32)
    return Cost(moved, forward.flops * 5 // 2)


def embedding(tokens: int, width: int, size: int = BF16) -> Cost:
    """Read a row of the table and an id per token; write it."""
    return Cost(tokens * (2 * width * size + INT64))


def embedding_backward(tokens: int, width: int, size: int = BF16) -> Cost:
    """Read dy; read and write the fp32 gradient of a row per token, all tokens different."""
    return Cost(tokens * (width * (size + 2 * FP32) + INT64))


def cross_entropy_rows(tokens: int, padded_vocab: int, size: int = BF16) -> Cost:
    """Read logits once and write their gradients in place."""
    return Cost(2 * tokens * padded_vocab * size)


def head_products(tokens: int, width: int, padded_vocab: int, size: int = BF16) -> Cost:
    """Logits, and from their gradients those of hidden states and head: three products, forward and
    backward together.
    """
    return product(tokens, width, padded_vocab, size) + product_backward(
        tokens, width, padded_vocab, size
    )


def head_gradient_sums(tokens: int, width: int, padded_vocab: int) -> Cost:
    """The head's fp32 gradient written by the first slice of tokens, read and written by each
    further one.
    """
    slices = -(-tokens // LOGIT_ROWS)
    return Cost((2 * slices - 1) * FP32 * padded_vocab * width)


def gradient_sums(parameters: int, micro_steps: int, size: int = BF16) -> Cost:
    """Gradients made in ``size`` bytes gathered in fp32 over the micro-batches of a step; none
    where the product itself writes fp32.
    """
    return Cost(
        parameters * ((size + FP32) + (micro_steps - 1) * (size + 2 * FP32)) if size != FP32 else 0
    )


def gradient_norm(parameters: int) -> Cost:
    """Read fp32 gradients."""
    return Cost(FP32 * parameters)


def adamw(parameters: int, *, copies: bool) -> Cost:
    """Read parameter, gradient and moments, write all but the gradient, in fp32; with bf16
    ``copies`` for the model to compute with.
    """
    return Cost((7 * FP32 + (BF16 if copies else 0)) * parameters)


def float8_rounding(rows: int, inputs: int, outputs: int) -> Cost:
    """A linear layer's operands in 8 bits, from bf16: x and w read twice and written, dy too; and
    each copied by columns once.
    """
    return Cost((5 + 2) * (rows * inputs + inputs * outputs + rows * outputs))
