"""Llama: no multipliers, so each is folded into the weights that it follows.

    scale_emb                          into the embedding
    scale_depth / layers^depth_alpha   into the last matrix of each residual branch
    1 / m                              into the head

Where head and embedding are one table, scale_emb is in the head too: there the gain of the last
norm takes 1 / (m scale_emb). Gradients of folded weights are those of the others divided by the
factor, so learning rates are no longer those of the parameterisation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from trainer.export.names import Factors
from trainer.export.qk_norm import check_no_qk_norm
from trainer.shapes.config import ModelConfig


class Llama:
    """The layout ``llama``."""

    name = "llama"
    model_type = "llama"
    architecture = "LlamaForCausalLM"
    folded = True

    def check(self, config: ModelConfig) -> None:
        check_no_qk_norm(config)

    def settings(self, config: ModelConfig) -> dict[str, Any]:
        return {"pretraining_tp": 1}

    def factors(self, config: ModelConfig, tied: bool) -> Factors:
        m, scale = config.width_multiplier, config.scale_emb
        return Factors(
            embedding=scale,
            head=1.0 / m,
            final_norm=1.0 / (m * scale) if tied else 1.0,
            branch=config.residual_multiplier,
        )

    def read(
        self, values: Mapping[str, Any], shape: Mapping[str, Any], file: str
    ) -> tuple[dict[str, Any], Factors]:
        own = {
            "scale_emb": 1.0,
            "scale_depth": math.sqrt(shape["layers"]),
            "dim_model_base": shape["width"],
        }
        return own, Factors()
