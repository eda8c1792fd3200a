"""MiniCPM's own layout: Llama's names of tensors, and its three numbers in ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from artifacts.errors import UserError
from trainer.export.names import Factors
from trainer.export.qk_norm import check_no_qk_norm
from trainer.export.values import number
from trainer.shapes.config import ModelConfig


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
                "this layout has heads that fill the width",
                field="model.head_dim",
                found=config.head_dim,
                fix=("export to granite or llama, which say the size of a head",),
            )
        if config.rope_scaling == "yarn":
            raise UserError(
                "this layout has no YaRN",
                field="model.rope_scaling",
                found=config.rope_scaling,
                fix="export to granite or llama",
            )

    def settings(self, config: ModelConfig) -> dict[str, Any]:
        return {
            "scale_emb": config.scale_emb,
            "scale_depth": config.scale_depth,
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
        own["dim_model_base"] = values.get("dim_model_base")
        return own, Factors()
