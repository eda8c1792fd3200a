"""``config.json``: the shape of a model for other programs, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from artifacts.errors import Address, Place, UserError
from artifacts.foreign_json import foreign_object
from tokenizer.encode import Tokenizer
from trainer.export import rope
from trainer.export.layouts import Layout, layout_of
from trainer.export.names import Factors
from trainer.export.values import count, number, refuse_set
from trainer.shapes.config import ModelConfig

CONFIG = "config.json"
GENERATION = "generation_config.json"
_LARGEST = 4 << 20

_PLAIN = {
    "attention_bias": False,
    "mlp_bias": False,
    "use_sliding_window": False,
    "sliding_window": None,
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
    "num_experts": 0,
    "num_local_experts": 0,
    "clip_qkv": None,
}
"""Settings of others that change what is computed, with the value that a model here has."""

_SILU = ("silu", "swish")
"""The names that transformers has for the activation of models here."""


@dataclass(frozen=True)
class ReadConfig:
    """What a folder's ``config.json`` says. Tensors are multiplied by ``factors``; ``context`` is
    the longest text it is meant for, in tokens; ``bos`` and ``eos`` the ids that begin and end a
    document, where it says one.
    """

    layout: Layout
    config: ModelConfig
    factors: Factors
    context: int
    bos: int | None = None
    eos: int | None = None


def config_json(
    config: ModelConfig,
    layout: Layout,
    tokenizer: Tokenizer,
    *,
    context: int,
    dtype: str,
    tied: bool,
) -> bytes:
    """The bytes of ``config.json``; ``dtype`` as torch names it."""
    values = {
        "architectures": [layout.architecture],
        "model_type": layout.model_type,
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.ff,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "initializer_range": config.init_std,
        "rms_norm_eps": config.norm_eps,
        "use_cache": True,
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        "tie_word_embeddings": tied,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        # transformers 5 reads the first, 4.57 the second
        "dtype": dtype,
        "torch_dtype": dtype,
        **rope.written(config, context),
        **layout.settings(config),
    }
    return json.dumps(values, indent=2).encode() + b"\n"


def generation_json(tokenizer: Tokenizer) -> bytes:
    """The bytes of ``generation_config.json``."""
    values = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id}
    return json.dumps(values, indent=2).encode() + b"\n"


def read_config(raw: bytes, file: str) -> ReadConfig:
    """Raises: UserError for a file that is not JSON, an architecture that is not known, and a
    setting that models here do not have.
    """
    values = foreign_object(raw, file, _LARGEST)
    layout = layout_of(values, file)
    refuse_set(values, _PLAIN, file)
    _check_activation(values, file)
    turned = rope.read(values, file)
    heads, width = count(values, "num_attention_heads", file), count(values, "hidden_size", file)
    shape = {
        "vocab_size": count(values, "vocab_size", file),
        "width": width,
        "layers": count(values, "num_hidden_layers", file),
        "heads": heads,
        "kv_heads": count(values, "num_key_value_heads", file, usual=heads),
        "ff": count(values, "intermediate_size", file),
        "head_dim": count(values, "head_dim", file, usual=max(1, width // heads)),
    }
    own, factors = layout.read(values, shape, file)
    settings = {
        **shape,
        **own,
        **turned.settings,
        "init_std": number(values, "initializer_range", file, usual=0.02),
        "norm_eps": number(values, "rms_norm_eps", file, usual=1e-6),
        "tied": _tied(values, layout, file),
    }
    try:
        config = ModelConfig.from_dict(settings)
    except UserError as error:
        raise error.relocated(lambda address: Place(_theirs(address), file=file)) from None
    _check_context(config, turned.context, file)
    marks = (_mark(values, f"{name}_token_id") for name in ("bos", "eos"))
    return ReadConfig(layout, config, factors, turned.context, *marks)


_THEIRS = {
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "ff": "intermediate_size",
    "init_std": "initializer_range",
    "norm_eps": "rms_norm_eps",
    "tied": "tie_word_embeddings",
    "factor": "rope_parameters.factor",
    "rope_factor": "rope_parameters.factor",
    "original_context": "rope_parameters.original_max_position_embeddings",
    "rope_original_context": "rope_parameters.original_max_position_embeddings",
    "scaling": "rope_parameters.rope_type",
    "rope_scaling": "rope_parameters.rope_type",
    "theta": "rope_parameters.rope_theta",
    "rope_theta": "rope_parameters.rope_theta",
}
"""What settings of ``config.json`` are called that models here call otherwise."""


def _theirs(address: Address) -> Address:
    """The name in ``config.json`` of what an address speaks of."""
    return tuple(
        _THEIRS.get(str(part), part) for part in address if part not in ("model", "rotary")
    )


def _mark(values: Mapping[str, Any], name: str) -> int | None:
    """An id of ``config.json``; of several, as newer files have them, the first."""
    value = values.get(name)
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _tied(values: Mapping[str, Any], layout: Layout, file: str) -> bool:
    """Whether head and embedding are one table; left out, as the layout's code takes it."""
    usual = layout.model_type == "minicpm"
    value = values.get("tie_word_embeddings", usual)
    if not isinstance(value, bool):
        raise UserError(
            "neither true nor false",
            file=file,
            field="tie_word_embeddings",
            found=value,
            allowed=["true", "false"],
            fix="restore config.json from where the model came from",
        )
    return value


def _check_activation(values: Mapping[str, Any], file: str) -> None:
    """Raises: UserError for another activation; left out, it is that of models here."""
    found = values.get("hidden_act")
    if found is not None and found not in _SILU:
        raise UserError(
            "an activation that models here do not have",
            file=file,
            field="hidden_act",
            found=found,
            allowed=_SILU,
            fix="take a model with one of these",
        )


def _check_context(config: ModelConfig, context: int, file: str) -> None:
    """Raises: UserError where YaRN shrinks the context that it is to grow."""
    before = config.rope_original_context
    if config.rope_scaling == "yarn" and before is not None and context < before:
        raise UserError(
            "YaRN starts from a longer context than it leads to",
            file=file,
            field="max_position_embeddings",
            found=context,
            fix=f"give at least {before * config.rope_factor:.0f}",
        )
