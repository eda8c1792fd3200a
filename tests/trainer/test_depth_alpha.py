"""The power of depth that residual branches are divided by; 1/2 is the paper's, to the bit."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from artifacts.errors import UserError
from artifacts.settings import key_settings
from trainer.costs.describe import describe
from trainer.loop.settings import ModelSettings
from trainer.model import Model, init
from trainer.shapes.config import ModelConfig
from trainer.shapes.presets import preset

SMALL = ModelConfig(
    vocab_size=70, width=16, layers=4, heads=2, kv_heads=1, head_dim=8, ff=24, dim_model_base=8
)


@given(st.integers(1, 200), st.floats(0.1, 10))
def test_the_default_is_the_square_root_to_the_bit(layers: int, scale: float) -> None:
    config = dataclasses.replace(SMALL, layers=layers, scale_depth=scale)
    assert config.residual_multiplier == scale / math.sqrt(layers)
    assert "depth_alpha" not in config.recorded()
    assert ModelConfig.from_dict(config.recorded()) == config


@given(st.integers(1, 200), st.floats(0, 2))
def test_branches_fall_by_the_power(layers: int, alpha: float) -> None:
    config = dataclasses.replace(SMALL, layers=layers, depth_alpha=alpha)
    assert config.residual_multiplier == pytest.approx(1.4 * math.exp(-alpha * math.log(layers)))
    assert ModelConfig.from_dict(config.recorded()) == config


def test_a_model_computes_with_it() -> None:
    tokens = torch.arange(12)[None]
    steep = dataclasses.replace(SMALL, depth_alpha=1.0)
    halved = dataclasses.replace(SMALL, scale_depth=SMALL.scale_depth / 2)
    assert steep.residual_multiplier == halved.residual_multiplier
    found = []
    for config in (SMALL, steep, halved):
        model = Model(config)
        init(model, config, 1)
        found.append(model(tokens, tokens))
    assert torch.equal(found[1], found[2])
    assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize("alpha", [-0.1, 2.1, math.nan, math.inf, "1", True, None])
def test_what_is_no_power_is_refused(alpha: Any) -> None:
    with pytest.raises(UserError) as error:
        dataclasses.replace(SMALL, depth_alpha=alpha)
    assert error.value.field == "model.depth_alpha"


def test_a_recipe_sets_it_and_keys_without_it_stay() -> None:
    assert ModelSettings(depth_alpha=1).config(300).depth_alpha == 1.0
    assert ModelSettings().config(300) == preset("tiny", vocab_size=300)
    assert "depth_alpha" not in key_settings(ModelSettings())
    assert key_settings(ModelSettings(depth_alpha=1.0))["depth_alpha"] == 1.0
    with pytest.raises(ValidationError):
        ModelSettings(depth_alpha=-1)


def test_the_description_says_which_power() -> None:
    def rule(config: ModelConfig) -> str:
        rows = describe(config, sequence_length=32, micro_batch_tokens=64)
        return next(row.rule for row in rows if row.name == "residual branch")

    assert rule(SMALL) == "scale_depth / sqrt(layers)"
    assert rule(dataclasses.replace(SMALL, depth_alpha=1.0)) == "scale_depth / layers^1"
