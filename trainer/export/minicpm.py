"""MiniCPM's own layout: Llama's names of tensors, and its three numbers in ``config.json``.

Its readers divide ``scale_depth`` by the square root of the number of layers. So that of a model
with another ``depth_alpha`` is written as the number which gives its multiplier that way: the
function is the same, and an import has it with ``depth_alpha`` 1/2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from artifacts.errors import UserError
from trainer.export.names import Factors
from trainer.export.qk_norm import check_no_qk_norm
from trainer.export.values import count, number
from trainer.shapes.config import SQUARE_ROOT, ModelConfig


class MiniCPM:
    """The layout ``minicpm``."""

    name = "minicpm"
    model_type = "minicpm"
    architecture = "MiniCPMForCausalLM"
    folded = False

    def check(self, config: ModelConfig) -> None:
        """Its code has heads of width / heads, and scales positions by dynamic NTK alone."""
        check_no_qk_norm(config)
        if config.heads * config.head_dim != config.width:
            raise UserError(
                "the layout minicpm does not say how wide a head is: its heads fill the width",
                field="model.head_dim",
                found=f"{config.heads} heads of {config.head_dim} in a width of {config.width}",
                fix="export to granite or llama, which say it",
            )
        if config.rope_scaling == "yarn":
            raise UserError(
                "the layout minicpm has no YaRN",
                field="model.rope_scaling",
                found=config.rope_scaling,
                fix="export to granite or llama",
            )

    def settings(self, config: ModelConfig) -> dict[str, Any]:
        return {
            "scale_emb": config.scale_emb,
            "scale_depth": _by_square_root(config),
            "dim_model_base": config.dim_model_base,
        }

    def factors(self, config: ModelConfig, tied: bool) -> Factors:
        return Factors()

    def read(
        self, values: Mapping[str, Any], shape: Mapping[str, Any], file: str
    ) -> tuple[dict[str, Any], Factors]:
        own: dict[str, Any] = {
            name: number(values, name, file) for name in ("scale_emb", "scale_depth")
        }
        own["dim_model_base"] = count(values, "dim_model_base", file)
        return own, Factors()


def _by_square_root(config: ModelConfig) -> float:
    """``scale_depth`` for readers that divide it by sqrt(layers)."""
    if config.depth_alpha == SQUARE_ROOT:
        return config.scale_depth
    return config.residual_multiplier * math.sqrt(config.layers)
