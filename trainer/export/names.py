"""Tensors under the names of Llama-format files, and back.

    own                                    Llama format
    embedding                              model.embed_tokens.weight
    layers.N.attention.qkv.weight          model.layers.N.self_attn.{q,k,v}_proj.weight
    layers.N.feed_forward.gate_up.weight   model.layers.N.mlp.{gate,up}_proj.weight
    …

Own matrices that are several of the paper stacked by rows are parted; the rows that pad the
vocabulary are left out, and put back as zeros. Channels of heads need no reordering: both turn
channel i with channel i + head_dim/2.

Shapes: V vocabulary, P padded vocabulary, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from artifacts.errors import UserError
from trainer.shapes.config import ModelConfig

EMBEDDING = "model.embed_tokens.weight"
FINAL_NORM = "model.norm.weight"
HEAD = "lm_head.weight"

_LAYER = {
    "attention_norm": ("input_layernorm",),
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.out": ("self_attn.o_proj",),
    "feed_forward_norm": ("post_attention_layernorm",),
    "feed_forward.gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "feed_forward.down": ("mlp.down_proj",),
}
"""What a layer's parameters are called there, in the order in which they are stacked."""


@dataclass(frozen=True)
class Factors:
    """What tensors are multiplied by on their way into a layout; 1 where it has the multiplier."""

    embedding: float = 1.0
    head: float = 1.0
    final_norm: float = 1.0
    branch: float = 1.0
    """The last matrix of each residual branch: ``o_proj`` and ``down_proj``."""

    query: float = 1.0

    def inverse(self) -> Factors:
        """What undoes them."""
        return Factors(**{name: 1.0 / value for name, value in vars(self).items()})

    def of(self, name: str) -> float:
        """The factor of a tensor by its name in the layout."""
        ends = {
            EMBEDDING: self.embedding,
            HEAD: self.head,
            FINAL_NORM: self.final_norm,
        }
        if name in ends:
            return ends[name]
        if name.endswith((".o_proj.weight", ".down_proj.weight")):
            return self.branch
        return self.query if name.endswith(".q_proj.weight") else 1.0


def shapes(config: ModelConfig, tied: bool) -> dict[str, tuple[int, ...]]:
    """Every tensor of a model in the layout, by name, with its shape; ``tied``: without a head."""
    found: dict[str, tuple[int, ...]] = {EMBEDDING: (config.vocab_size, config.width)}
    for layer in range(config.layers):
        for own, names in _LAYER.items():
            for name, shape in zip(names, _piece_shapes(config, own), strict=True):
                found[f"model.layers.{layer}.{name}.weight"] = shape
    found[FINAL_NORM] = (config.width,)
    if not tied:
        found[HEAD] = (config.vocab_size, config.width)
    return found


def outward(
    config: ModelConfig, weights: Mapping[str, Tensor], factors: Factors, tied: bool
) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a model in the layout, by name, in the order of :func:`shapes`.

    ``tied``: without a head of its own; a model whose head is its embedding gets one where it is
    not.
    """
    for name, tensor in _parted(config, weights, tied):
        factor = factors.of(name)
        yield name, tensor.clone() if factor == 1.0 else tensor * factor


def inward(
    config: ModelConfig, tensors: Mapping[str, Tensor], factors: Factors
) -> dict[str, Tensor]:
    """The parameters of a model from tensors in the layout, fp32; ``factors`` are multiplied."""

    def read(name: str) -> Tensor:
        tensor = tensors[name].float()
        factor = factors.of(name)
        return tensor if factor == 1.0 else tensor * factor

    found = {"embedding": _padded(config, read(EMBEDDING))}
    if not config.tied:
        found["head"] = _padded(config, read(HEAD))
    for layer in range(config.layers):
        for own, names in _LAYER.items():
            pieces = [read(f"model.layers.{layer}.{name}.weight") for name in names]
            found[f"layers.{layer}.{own}.weight"] = torch.cat(pieces)
    found["final_norm.weight"] = read(FINAL_NORM)
    return found


def check_tensors(
    config: ModelConfig, found: Mapping[str, tuple[int, ...]], tied: bool, where: str
) -> None:
    """Raises: UserError, which says ``where`` the tensors are, when one is missing, one too many,
    or of another shape than ``config`` asks for.
    """
    _check_layers(config, found, where)
    wanted = shapes(config, tied)
    missing, surplus = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or surplus:
        raise UserError(
            "the folder lacks a tensor of its model"
            if missing
            else "the folder holds a tensor that its model has no place for",
            file=where,
            field=(missing or surplus)[0],
            found=f"{len(missing)} missing, {len(surplus)} surplus",
            fix=_odd_tensor(missing, surplus),
        )
    for name, shape in wanted.items():
        if tuple(found[name]) != shape:
            raise UserError(
                "a tensor has another shape than config.json says",
                file=where,
                field=name,
                found=" x ".join(map(str, found[name])),
                allowed=[" x ".join(map(str, shape))],
                fix="restore the folder from where it came from",
            )


def _check_layers(config: ModelConfig, found: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Raises: UserError for more layers than there are tensors, before they are counted up."""
    if config.layers > len(found):
        layer = next(
            number
            for number in range(config.layers)
            if f"model.layers.{number}.input_layernorm.weight" not in found
        )
        raise UserError(
            "the folder lacks a tensor of its model",
            file=where,
            field=f"model.layers.{layer}.input_layernorm.weight",
            found=f"{len(found)} tensors for {config.layers} layers",
            fix=_odd_tensor([""], []),
        )


def _odd_tensor(missing: list[str], surplus: list[str]) -> str:
    if missing:
        return "restore the folder, all of its *.safetensors files, from where it came from"
    kinds = {"bias": "biases", "q_norm": "norms of queries", "k_norm": "norms of keys"}
    for mark, kind in kinds.items():
        if any(mark in name for name in surplus):
            return f"a model with {kind} cannot be taken over"
    return "check that config.json belongs to these tensors"


def _piece_shapes(config: ModelConfig, own: str) -> list[tuple[int, ...]]:
    """Shapes of the tensors that one own parameter is parted into."""
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    found: dict[str, list[tuple[int, ...]]] = {
        "attention_norm": [(config.width,)],
        "attention.qkv": [(rows, config.width) for rows in (queries, keys, keys)],
        "attention.out": [(config.width, queries)],
        "feed_forward_norm": [(config.width,)],
        "feed_forward.gate_up": [(config.ff, config.width)] * 2,
        "feed_forward.down": [(config.width, config.ff)],
    }
    return found[own]


def _parted(
    config: ModelConfig, weights: Mapping[str, Tensor], tied: bool
) -> Iterator[tuple[str, Tensor]]:
    yield EMBEDDING, weights["embedding"][: config.vocab_size]
    for layer in range(config.layers):
        for own, names in _LAYER.items():
            rows = [shape[0] for shape in _piece_shapes(config, own)]
            pieces = weights[f"layers.{layer}.{own}.weight"].split(rows)
            for name, piece in zip(names, pieces, strict=True):
                yield f"model.layers.{layer}.{name}.weight", piece
    yield FINAL_NORM, weights["final_norm.weight"]
    if not tied:
        yield HEAD, weights["embedding" if config.tied else "head"][: config.vocab_size]


def _padded(config: ModelConfig, table: Tensor) -> Tensor:
    """A table (V, D) with rows of zeros up to P."""
    return torch.nn.functional.pad(table, (0, 0, 0, config.padded_vocab - config.vocab_size))
