"""Granite: the multipliers of MiniCPM under other names.

    embedding_multiplier   scale_emb
    residual_multiplier    scale_depth / layers^depth_alpha
    attention_multiplier   1 / sqrt(head_dim); its default of 1 is another model
    logits_scaling         m = width / dim_model_base, which divides

``scale_emb``, ``scale_depth`` and ``dim_model_base`` stand beside them, and ``depth_alpha`` where
it is not 1/2, so that an import finds them to the last bit. A model of another attention multiplier
is taken over by scaling its queries.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from artifacts.errors import UserError
from trainer.export.names import Factors
from trainer.export.qk_norm import check_no_qk_norm
from trainer.export.values import number
from trainer.shapes.config import SQUARE_ROOT, ModelConfig

_OWN = ("scale_emb", "scale_depth", "dim_model_base")
_ALPHA = "depth_alpha"


class Granite:
    """The layout ``granite``."""

    name = "granite"
    model_type = "granite"
    architecture = "GraniteForCausalLM"
    folded = False

    def check(self, config: ModelConfig) -> None:
        check_no_qk_norm(config)

    def settings(self, config: ModelConfig) -> dict[str, Any]:
        return {
            "embedding_multiplier": config.scale_emb,
            "residual_multiplier": config.residual_multiplier,
            "attention_multiplier": config.attention_multiplier,
            "logits_scaling": config.width_multiplier,
            **{name: getattr(config, name) for name in _OWN},
            **({} if config.depth_alpha == SQUARE_ROOT else {_ALPHA: config.depth_alpha}),
        }

    def factors(self, config: ModelConfig, tied: bool) -> Factors:
        return Factors()

    def read(
        self, values: Mapping[str, Any], shape: Mapping[str, Any], file: str
    ) -> tuple[dict[str, Any], Factors]:
        said = {
            name: number(values, name, file, usual=1.0)
            for name in (
                "embedding_multiplier",
                "residual_multiplier",
                "attention_multiplier",
                "logits_scaling",
            )
        }
        query = said["attention_multiplier"] * math.sqrt(shape["head_dim"])
        # the square root's own rounding apart, that is 1 of our exports
        factors = Factors(query=1.0 if math.isclose(query, 1.0, rel_tol=1e-12) else query)
        own = {name: values[name] for name in (*_OWN, _ALPHA) if name in values}
        if own.keys() >= set(_OWN) and _agree(own, said, shape):
            return own, factors
        return {
            "scale_emb": said["embedding_multiplier"],
            "scale_depth": said["residual_multiplier"] * math.sqrt(shape["layers"]),
            "dim_model_base": _base(said["logits_scaling"], shape["width"], file),
        }, factors


def _agree(own: Mapping[str, Any], said: Mapping[str, float], shape: Mapping[str, Any]) -> bool:
    """Whether MiniCPM's numbers give the multipliers."""
    try:
        made = {
            "embedding_multiplier": float(own["scale_emb"]),
            "residual_multiplier": float(own["scale_depth"])
            / shape["layers"] ** float(own.get(_ALPHA, SQUARE_ROOT)),
            "logits_scaling": shape["width"] / int(own["dim_model_base"]),
        }
    except (TypeError, ValueError, ArithmeticError):
        return False  # these keys are another program's
    return all(math.isclose(value, said[name], rel_tol=1e-12) for name, value in made.items())


def _base(scaling: float, width: int, file: str) -> int:
    """``dim_model_base`` of a divisor of logits. Raises: UserError where it is not whole."""
    base = width / scaling
    if not 1 <= base < math.inf or not math.isclose(base, round(base), rel_tol=1e-9):
        raise UserError(
            "logits are divided by a number that does not divide the width",
            file=file,
            field="logits_scaling",
            found=scaling,
            allowed=["width / dim_model_base, both whole numbers"],
            fix="restore config.json from where it came from; a model of such a number cannot be "
            "taken over",
        )
    return round(base)
