"""Named model shapes: MiniCPM's wind-tunnel sizes (arXiv 2404.06395, Table 8), its two released
models, and a tiny one.

The paper's m, width / ``dim_model_base``, is 1.25 for its smallest shape and 9 for its largest.
``tiny`` is narrower than the base of 256, so it has one of its own, its width: below m = 1 logits
are multiplied, not divided, and its loss began far above ln(vocabulary).

All have heads of 64, an inner width of 2.5 times the width, and tied embeddings. Exact
non-embedding counts are those of ``trainer.shapes.parameter_counts``: 9M has 9,426,240, 1.2B
1,247,442,432 and 2.4B 2,442,057,984 as the paper prints them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from artifacts.errors import UserError
from trainer.shapes.config import ModelConfig

PAPER_VOCABULARY = 122_753
"""Vocabulary of MiniCPM-2.4B; also taken for the wind-tunnel sizes, whose own is not printed."""

TINY = "tiny"


def _shape(
    width: int,
    ff: int,
    heads: int,
    layers: int,
    *,
    kv_heads: int = 0,
    vocab_size: int = PAPER_VOCABULARY,
    dim_model_base: int = 256,
) -> ModelConfig:
    return ModelConfig(
        vocab_size=vocab_size,
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads or heads,
        ff=ff,
        dim_model_base=dim_model_base,
    )


PRESETS: dict[str, ModelConfig] = {
    TINY: _shape(128, 320, 2, 4, vocab_size=4096, dim_model_base=128),
    "9M": _shape(320, 800, 5, 8),
    "30M": _shape(512, 1280, 8, 12),
    "70M": _shape(640, 1600, 10, 14),
    "0.1B": _shape(768, 1920, 12, 16),
    "0.17B": _shape(896, 2240, 14, 18),
    "0.2B": _shape(1024, 2560, 16, 20),
    "0.5B": _shape(1344, 3360, 21, 24),
    "1.2B": _shape(1536, 3840, 24, 52, kv_heads=8, vocab_size=73_440),
    "2.4B": _shape(2304, 5760, 36, 40),
}


def preset(name: str, **overrides: Any) -> ModelConfig:
    """The config of ``name`` with any of its settings replaced: ``preset("9M", vocab_size=4096,
    layers=4)``.

    An override of None keeps the preset's value. UserError for an unknown preset or setting.
    """
    if name not in PRESETS:
        raise UserError("no such model preset", field="model.preset", found=name, allowed=PRESETS)
    given = {setting: value for setting, value in overrides.items() if value is not None}
    return ModelConfig.from_dict({**dataclasses.asdict(PRESETS[name]), **given})
