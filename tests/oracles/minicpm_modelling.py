"""The forward pass of MiniCPM's public modelling file, written anew from its formulas: hidden states
times ``scale_emb``, branches times ``scale_depth / sqrt(num_hidden_layers)``, and the head on hidden
states divided by ``hidden_size / dim_model_base``.

Takes ``config.json`` and tensors as a folder in its layout holds them; nothing comes from the
package under test.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


def minicpm_logits(config: dict[str, Any], tensors: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """Scores (T, V) of one text (T,)."""
    width, layers, length = config["hidden_size"], config["num_hidden_layers"], len(tokens)
    hidden = tensors["model.embed_tokens.weight"][tokens] * config["scale_emb"]
    table = _rotary_table(config, length)
    scale = config["scale_depth"] / math.sqrt(layers)
    for layer in range(layers):
        own = {
            name.removeprefix(f"model.layers.{layer}."): value
            for name, value in tensors.items()
            if name.startswith(f"model.layers.{layer}.")
        }
        normed = _rms(hidden, own["input_layernorm.weight"], config["rms_norm_eps"])
        hidden = hidden + _attention(config, own, normed, table) * scale
        normed = _rms(hidden, own["post_attention_layernorm.weight"], config["rms_norm_eps"])
        gate = nn.functional.silu(normed @ own["mlp.gate_proj.weight"].T)
        inner = gate * (normed @ own["mlp.up_proj.weight"].T)
        hidden = hidden + inner @ own["mlp.down_proj.weight"].T * scale
    hidden = _rms(hidden, tensors["model.norm.weight"], config["rms_norm_eps"])
    tied = config["tie_word_embeddings"]
    head = tensors["model.embed_tokens.weight" if tied else "lm_head.weight"]
    return (hidden / (width / config["dim_model_base"])) @ head.T


def _rms(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * gain


def _rotary_table(config: dict[str, Any], length: int) -> tuple[Tensor, Tensor]:
    size = config["hidden_size"] // config["num_attention_heads"]
    base = config["rope_theta"]
    scaling = config["rope_scaling"]
    if scaling is not None:  # dynamic NTK
        longest = config["max_position_embeddings"]
        if length > longest:
            factor = scaling["factor"] * length / longest - (scaling["factor"] - 1)
            base = base * factor ** (size / (size - 2))
    inverse = 1.0 / base ** (torch.arange(0, size, 2).float() / size)
    angles = torch.outer(torch.arange(length).float(), inverse)
    doubled = torch.cat([angles, angles], -1)
    return doubled.cos(), doubled.sin()


def _attention(
    config: dict[str, Any], own: dict[str, Tensor], x: Tensor, table: tuple[Tensor, Tensor]
) -> Tensor:
    length, heads, shared = len(x), config["num_attention_heads"], config["num_key_value_heads"]
    size = config["hidden_size"] // heads
    q, k, v = (
        (x @ own[f"self_attn.{name}_proj.weight"].T).view(length, number, size).transpose(0, 1)
        for name, number in (("q", heads), ("k", shared), ("v", shared))
    )
    cos, sin = table

    def turned(part: Tensor) -> Tensor:
        first, second = part[..., : size // 2], part[..., size // 2 :]
        return part * cos + torch.cat([-second, first], -1) * sin

    k, v = (part.repeat_interleave(heads // shared, 0) for part in (turned(k), v))
    scores = turned(q) @ k.transpose(1, 2) / math.sqrt(size)
    scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -math.inf)
    mixed = torch.softmax(scores, -1) @ v
    return mixed.transpose(0, 1).reshape(length, heads * size) @ own["self_attn.o_proj.weight"].T
