"""What a training step costs: floating-point operations per token.

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

from trainer.shapes.config import ModelConfig
from trainer.shapes.parameter_counts import count_parameters, matrix_parameters


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
