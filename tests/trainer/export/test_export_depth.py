"""Models whose residual branches fall by another power of depth, in every layout."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trainer.checkpoints.checkpoint import Checkpoint
from trainer.checkpoints.recorded import model_config
from trainer.checkpoints.weights import model_of
from trainer.export.export import ExportSettings, export_model
from trainer.export.read import import_model

LAYERS, ALPHA = 3, 0.9  # of the shape "steep"


@pytest.mark.parametrize("layout", ["granite", "llama", "minicpm"])
def test_every_layout_holds_the_same_function(
    made: Callable[[str], Checkpoint], tmp_path: Path, layout: str
) -> None:
    steep = made("steep")
    multiplier = 1.4 / LAYERS**ALPHA
    assert model_config(steep).residual_multiplier == pytest.approx(multiplier)
    export_model(steep, tmp_path / "out", ExportSettings(layout=layout))
    imported = import_model(tmp_path / "out", tmp_path / "in")
    found = model_config(imported)
    if layout == "granite":
        assert found == model_config(steep)
    elif layout == "minicpm":
        assert found.depth_alpha == 0.5
        assert found.scale_depth == pytest.approx(multiplier * math.sqrt(LAYERS))
        assert found.residual_multiplier == pytest.approx(multiplier)
    else:
        assert (found.depth_alpha, found.residual_multiplier) == (0.5, 1.0)
    tokens = torch.arange(20)[None]
    own, other = (
        model.logits(model(tokens, tokens)) for model in (model_of(steep), model_of(imported))
    )
    torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)
