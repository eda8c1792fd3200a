"""What a training step costs: floating-point operations per token, and bytes of memory.

One multiply-add is two operations; the backward pass costs twice the forward. Three conventions:

    paper    6 N, N the non-embedding parameters: what C = 6 N D of the scaling laws means
    exact    6 (matrices + V D) + 6 L H K (T + 1): every product of the forward and backward pass,
             the head's and those of attention included, the latter counted causally: a token
             attends to (T + 1)/2 tokens on average
    palm     6 (matrices + V D) + 12 L H K T: the same with attention counted as if every token
             attended to all T (Chowdhery et al., arXiv 2204.02311, appendix B), which most
             published shares of a peak use

with L layers, H heads of size K, T tokens of a window, V the vocabulary and D the width.
"""

from __future__ import annotations

import dataclasses

from trainer.shapes.config import ModelConfig
from trainer.shapes.parameter_counts import count_parameters, matrix_parameters

FP32 = 4


def flops_per_token(config: ModelConfig) -> int:
    """6 N, the convention of the paper."""
    return 6 * count_parameters(config).non_embedding


def exact_flops_per_token(config: ModelConfig, sequence_length: int) -> int:
    """Operations of all matrix products, causal attention over one document of ``sequence_length``
    tokens included.
    """
    products = 6 * (matrix_parameters(config) + config.vocab_size * config.width)
    return products + 6 * config.layers * config.heads * config.head_dim * (sequence_length + 1)


def palm_flops_per_token(config: ModelConfig, sequence_length: int) -> int:
    """Operations of all matrix products as PaLM counts them: attention whole."""
    products = 6 * (matrix_parameters(config) + config.vocab_size * config.width)
    return products + 12 * config.layers * config.heads * config.head_dim * sequence_length


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of fp32 training. Activations are those kept for the backward pass of one
    micro-batch.
    """

    weights: int
    gradients: int
    moments: int
    activations: int

    @property
    def total(self) -> int:
        """All of them; temporary buffers come on top."""
        return self.weights + self.gradients + self.moments + self.activations


def memory(config: ModelConfig, micro_batch_tokens: int) -> Memory:
    """Bytes to train ``config`` in fp32 with micro-batches of ``micro_batch_tokens``; masks of
    documents not counted.
    """
    weights = FP32 * count_parameters(config).allocated
    return Memory(
        weights, weights, 2 * weights, FP32 * micro_batch_tokens * activations_per_token(config)
    )


def activations_per_token(config: ModelConfig) -> int:
    """Values kept per token between forward and backward.

    A layer keeps, for its two norms, the stream, what comes out and one figure each; qkv, whose
    queries and keys were turned in place; the attention's output and one figure per head; gate and
    up. The head keeps logits of a slice only.
    """
    heads, kv_heads, size = config.heads, config.kv_heads, config.head_dim
    norms = 4 * config.width + 2
    attention = (heads + 2 * kv_heads) * size + heads * size + heads
    # final norm's stream, hidden, angles, token ids of eight bytes
    ends = 2 * config.width + 1 + size + 2
    return config.layers * (norms + attention + 2 * config.ff) + ends
