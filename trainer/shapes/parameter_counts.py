"""How many parameters a shape has, by the counting rule of MiniCPM's tables.

    N = layers * (2 D H K + 2 D G K + 3 D F + 2 D) + D

with width D, H query and G key-value heads of size K, and inner width F: all matrices and norm
gains, no embedding and no head (arXiv 2404.06395, Table 2, reproduced to the last digit). Norms of
queries and keys, which MiniCPM has not, add 2 K a layer.
"""

from __future__ import annotations

import dataclasses

from trainer.shapes.config import ModelConfig


@dataclasses.dataclass(frozen=True)
class Counts:
    """Parameters of a model. ``embedding`` counts the real vocabulary, once where tied and twice
    where not.
    """

    non_embedding: int
    embedding: int
    padding: int
    """Rows that only round the vocabulary up, times the width; not part of ``total``."""

    @property
    def total(self) -> int:
        """Parameters of the model as published: non-embedding and embedding."""
        return self.non_embedding + self.embedding

    @property
    def allocated(self) -> int:
        """Values really held in memory, padding included."""
        return self.total + self.padding


def matrix_parameters(config: ModelConfig) -> int:
    """Parameters of the hidden matrices alone: those that multiply each token."""
    heads = 2 * config.width * (config.heads + config.kv_heads) * config.head_dim
    return config.layers * (heads + 3 * config.width * config.ff)


def count_parameters(config: ModelConfig) -> Counts:
    """The exact counts of ``config``."""
    heads = 2 * config.head_dim if config.qk_norm else 0
    gains = config.layers * (2 * config.width + heads) + config.width
    tables = 1 if config.tied else 2
    return Counts(
        non_embedding=matrix_parameters(config) + gains,
        embedding=tables * config.vocab_size * config.width,
        padding=tables * (config.padded_vocab - config.vocab_size) * config.width,
    )
