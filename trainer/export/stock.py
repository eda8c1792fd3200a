"""The forward pass that readers of the layouts make, from ``config.json`` and tensors alone.

It shares nothing with :mod:`trainer.model`: every matrix apart, attention written out, positions by
the formulas of transformers. An export is compared with it before it is published.

Shapes: T tokens, D width, H query heads, G key-value heads, K head size, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from trainer.export.names import EMBEDDING, FINAL_NORM, HEAD


def stock_logits(
    values: Mapping[str, Any], tensors: Mapping[str, Tensor], tokens: Tensor
) -> Tensor:
    """Scores (T, V) fp32 of one text's tokens (T,) by a folder's settings and tensors."""
    scales = _multipliers(values)
    angles = _angles(values, len(tokens))
    x = tensors[EMBEDDING].float()[tokens] * scales["embedding"]
    for layer in range(values["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."

        def weight(name: str, prefix: str = prefix) -> Tensor:
            return tensors[f"{prefix}{name}.weight"].float()

        normed = _norm(x, weight("input_layernorm"), values)
        q, k, v = (normed @ weight(f"self_attn.{part}_proj").T for part in "qkv")
        mixed = _attention(values, q, k, v, angles, scales["attention"])
        x = x + mixed @ weight("self_attn.o_proj").T * scales["residual"]
        normed = _norm(x, weight("post_attention_layernorm"), values)
        inner = functional.silu(normed @ weight("mlp.gate_proj").T) * (
            normed @ weight("mlp.up_proj").T
        )
        x = x + inner @ weight("mlp.down_proj").T * scales["residual"]
    head = tensors[EMBEDDING if values["tie_word_embeddings"] else HEAD].float()
    return _norm(x, tensors[FINAL_NORM].float(), values) / scales["logits"] @ head.T


def _multipliers(values: Mapping[str, Any]) -> dict[str, float]:
    """Multipliers by the layout's own settings; ``logits`` divides."""
    plain = values["head_dim"] ** -0.5
    kind = values["model_type"]
    if kind == "granite":
        return {
            "embedding": values["embedding_multiplier"],
            "residual": values["residual_multiplier"],
            "attention": values["attention_multiplier"],
            "logits": values["logits_scaling"],
        }
    if kind == "minicpm":
        return {
            "embedding": values["scale_emb"],
            "residual": values["scale_depth"] / math.sqrt(values["num_hidden_layers"]),
            "attention": plain,
            "logits": values["hidden_size"] / values["dim_model_base"],
        }
    return {"embedding": 1.0, "residual": 1.0, "attention": plain, "logits": 1.0}


def _norm(x: Tensor, gain: Tensor, values: Mapping[str, Any]) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + values["rms_norm_eps"]) * gain


def _attention(
    values: Mapping[str, Any],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    angles: tuple[Tensor, Tensor],
    scale: float,
) -> Tensor:
    """Mixed values (T, H K); a group of query heads reads one key-value head."""
    size, length = values["head_dim"], len(q)
    shared = values["num_attention_heads"] // values["num_key_value_heads"]
    q, k, v = (part.view(length, -1, size).transpose(0, 1) for part in (q, k, v))
    q, k = (_turned(part, angles) for part in (q, k))
    k, v = (part.repeat_interleave(shared, 0) for part in (k, v))
    later = torch.full((length, length), -math.inf).triu(1)
    shares = torch.softmax(q @ k.transpose(1, 2) * scale + later, -1)
    return (shares @ v).transpose(0, 1).reshape(length, -1)


def _turned(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = angles
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def _angles(values: Mapping[str, Any], length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines (T, K/2) as ``rope_parameters`` ask."""
    rope = values["rope_parameters"]
    size, theta, kind = values["head_dim"], rope["rope_theta"], rope["rope_type"]
    sharpened = 1.0
    if kind == "dynamic":
        grown = max(length, values["max_position_embeddings"]) / values["max_position_embeddings"]
        theta *= (rope["factor"] * grown - (rope["factor"] - 1)) ** (size / (size - 2))
    frequency = [theta ** (-2 * channel / size) for channel in range(size // 2)]
    if kind == "yarn":
        frequency = _yarn(rope, size, frequency)
        sharpened = 0.1 * math.log(rope["factor"]) + 1.0
    turn = torch.outer(torch.arange(length).double(), torch.tensor(frequency).double())
    return (turn.cos() * sharpened).float(), (turn.sin() * sharpened).float()


def _yarn(rope: Mapping[str, Any], size: int, plain: list[float]) -> list[float]:
    """Frequencies by arXiv 2309.00071: slow channels are divided, those between by a ramp."""
    before = rope["original_max_position_embeddings"]

    def channel(turns: float) -> float:
        return size * math.log(before / (turns * 2 * math.pi)) / (2 * math.log(rope["rope_theta"]))

    low, high = max(math.floor(channel(32.0)), 0), min(math.ceil(channel(1.0)), size - 1)
    ramp = [min(max((place - low) / (high - low or 0.001), 0.0), 1.0) for place in range(size // 2)]
    return [
        own * (1 - share) + own / rope["factor"] * share
        for own, share in zip(plain, ramp, strict=True)
    ]
