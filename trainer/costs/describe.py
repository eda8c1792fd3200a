"""A model on one page: shape, parameters, multipliers, compute and memory, as rows a table can
show.

    for row in describe(preset("2.4B"), sequence_length=4096, micro_batch_tokens=16384):
        print(row.section, row.name, row.shown)

Nothing is built: all figures follow from the shape.
"""

from __future__ import annotations

import dataclasses

from trainer.costs.compute_costs import exact_flops_per_token, flops_per_token
from trainer.costs.training_memory import training_memory
from trainer.shapes.config import SQUARE_ROOT, ModelConfig
from trainer.shapes.parameter_counts import count_parameters


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure: exact ``value`` with its unit, and where the rule comes from."""

    section: str
    name: str
    value: int | float | bool
    unit: str = ""
    rule: str = ""

    @property
    def shown(self) -> str:
        """The value as a person reads it: digits grouped, five significant ones for fractions."""
        if isinstance(self.value, bool):
            return "yes" if self.value else "no"
        text = f"{self.value:,}" if isinstance(self.value, int) else f"{self.value:.5g}"
        return f"{text} {self.unit}".rstrip()


def describe(
    config: ModelConfig,
    *,
    sequence_length: int = 4096,
    micro_batch_tokens: int | None = None,
    peak: float = 0.01,
) -> list[Row]:
    """All rows of ``config``. Compute and memory speak of windows of ``sequence_length`` tokens; a
    micro-batch is one window unless given in tokens; ``peak`` is the global learning rate.
    """
    tokens = sequence_length if micro_batch_tokens is None else micro_batch_tokens
    return [
        *_shape(config),
        *_parameters(config),
        *_multipliers(config, peak),
        *_costs(config, sequence_length, tokens),
    ]


def _shape(config: ModelConfig) -> list[Row]:
    return [
        Row("shape", "layers", config.layers),
        Row("shape", "width", config.width),
        Row("shape", "query heads", config.heads),
        Row("shape", "key-value heads", config.kv_heads),
        Row("shape", "head size", config.head_dim),
        Row("shape", "inner width", config.ff, rule="SwiGLU"),
        Row("shape", "vocabulary", config.vocab_size, "pieces"),
        Row("shape", "padded vocabulary", config.padded_vocab, "rows"),
        Row("shape", "tied embeddings", config.tied),
        Row("shape", "RoPE theta", config.rope_theta),
        *_scaling(config),
        Row("shape", "RMSNorm epsilon", config.norm_eps),
    ]


def _scaling(config: ModelConfig) -> list[Row]:
    """What differs from MiniCPM in how queries and keys are made; nothing where nothing does."""
    rows = []
    if config.rope_scaling != "none":
        rows.append(Row("shape", f"RoPE factor, {config.rope_scaling}", config.rope_factor))
    if config.rope_original_context is not None:
        rows.append(Row("shape", "RoPE original context", config.rope_original_context, "tokens"))
    if config.qk_norm:
        rows.append(Row("shape", "norm of queries and keys", True))
    return rows


def _parameters(config: ModelConfig) -> list[Row]:
    counts = count_parameters(config)
    return [
        Row("parameters", "non-embedding", counts.non_embedding, rule="Table 2's counting rule"),
        Row(
            "parameters",
            "embedding",
            counts.embedding,
            rule="vocabulary * width" if config.tied else "2 * vocabulary * width",
        ),
        Row("parameters", "total", counts.total),
        Row("parameters", "padding", counts.padding, rule="held in memory, always zero"),
    ]


def _multipliers(config: ModelConfig, peak: float) -> list[Row]:
    multiplier = config.width_multiplier
    return [
        Row(
            "multipliers",
            "width multiplier m",
            multiplier,
            rule=f"width / dim_model_base{'; below 1' if config.below_base else ''}",
        ),
        Row("multipliers", "embedding output", config.scale_emb, rule="scale_emb"),
        Row(
            "multipliers",
            "residual branch",
            config.residual_multiplier,
            rule=(
                "scale_depth / sqrt(layers)"
                if config.depth_alpha == SQUARE_ROOT
                else f"scale_depth / layers^{config.depth_alpha:g}"
            ),
        ),
        Row(
            "multipliers",
            "attention scores",
            config.attention_multiplier,
            rule="1 / sqrt(head size)",
        ),
        Row("multipliers", "logits", 1.0 / multiplier, rule="1 / m"),
        Row("multipliers", "embedding init std", config.init_std, rule="init_std"),
        Row("multipliers", "hidden init std", config.hidden_std, rule="init_std / sqrt(m)"),
        Row("multipliers", "embedding and norm learning rate", peak, rule="peak"),
        Row("multipliers", "hidden learning rate", peak / multiplier, rule="peak / m"),
    ]


def _costs(config: ModelConfig, sequence_length: int, micro_batch_tokens: int) -> list[Row]:
    needed = training_memory(config, micro_batch_tokens, "fp32", on_gpu=False)
    return [
        Row("compute", "per token, paper", flops_per_token(config), "FLOP", "6 N"),
        Row(
            "compute",
            "per token, exact",
            exact_flops_per_token(config, sequence_length),
            "FLOP",
            "head and causal attention included",
        ),
        Row("memory", "weights", needed.weights, "bytes", "fp32"),
        Row("memory", "gradients", needed.gradients, "bytes", "fp32"),
        Row("memory", "moments", needed.moments, "bytes", "fp32, two"),
        Row(
            "memory",
            "activations",
            needed.activations,
            "bytes",
            f"fp32, micro-batch of {micro_batch_tokens:,} tokens",
        ),
        Row("memory", "slice of logits", needed.logits, "bytes", "with the gradient of the head"),
        Row("memory", "total", needed.total, "bytes"),
    ]
