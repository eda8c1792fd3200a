"""Where the memory of a training goes, by part, and the disk that its checkpoints take: from shapes
alone.

    fp32    weights 4 N, gradients 4 N, moments 8 N
    bf16    weights 2 N, masters 4 N, gradients 4 N, moments 8 N

with N the values held, padding of the vocabulary included. A checkpoint stores what a training
cannot make again: fp32 weights and both moments, 12 N. A tied table counts once everywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Literal

from trainer.costs.kernel_costs import BF16, FP32, LOGIT_ROWS
from trainer.shapes.config import ModelConfig
from trainer.shapes.parameter_counts import count_parameters

CACHED_LOGITS = 1 << 20
"""Logits that exist at once on a CPU, in at least :data:`LEAST_ROWS` rows."""

LEAST_ROWS = 16


@dataclasses.dataclass(frozen=True)
class TrainingMemory:
    """Bytes of one model in training. The first four are exact; ``activations`` are what the
    backward pass of a micro-batch needs, ``logits`` the slice of the head's loss and the gradient
    of its matrix. Buffers that come and go inside a layer are not counted.
    """

    weights: int
    masters: int
    gradients: int
    moments: int
    activations: int
    logits: int

    @property
    def exact(self) -> int:
        """Bytes that are there in every step, whatever the batch."""
        return self.weights + self.masters + self.gradients + self.moments

    @property
    def total(self) -> int:
        return self.exact + self.activations + self.logits


def training_memory(
    config: ModelConfig,
    micro_batch_tokens: int,
    precision: Literal["fp32", "bf16"],
    *,
    on_gpu: bool,
) -> TrainingMemory:
    """Bytes to train ``config`` with micro-batches of ``micro_batch_tokens``."""
    values = count_parameters(config).allocated
    half = precision == "bf16"
    size = BF16 if half else FP32
    rows = LOGIT_ROWS if on_gpu else max(LEAST_ROWS, CACHED_LOGITS // config.padded_vocab)
    logits = size * min(rows, micro_batch_tokens) * config.padded_vocab
    return TrainingMemory(
        weights=size * values,
        masters=FP32 * values if half else 0,
        gradients=FP32 * values,
        moments=2 * FP32 * values,
        activations=size * micro_batch_tokens * activations_per_token(config),
        logits=logits + FP32 * config.padded_vocab * config.width,
    )


def checkpoint_bytes(config: ModelConfig, beside: int = 0) -> int:
    """Bytes of a checkpoint: weights, two moments, and ``beside`` them plan and tokenizer. Headers
    and state, some tens of kilobytes, are not counted.
    """
    return 3 * FP32 * count_parameters(config).allocated + beside


def marked_steps(first: int, last: int, every: int, ends: Collection[int]) -> list[int]:
    """Of updates ``first`` + 1 to ``last`` those that are a multiple of ``every`` or among the
    ``ends`` of segments: after them a training measures, or writes a checkpoint that stays.
    """
    multiples = range(first - first % every + every, last + 1, every)
    return sorted({*multiples, *(end for end in ends if first < end <= last)})


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
