"""Checkpoints of models of several shapes, over one small tokenizer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from artifacts.paths import Store
from mixtures.freeze.freeze import freeze
from mixtures.spec.spec import MixtureSpec, Phase
from tests.trainer.loop_corpus import Corpus
from tokenizer.shards.reader import open_source
from trainer.checkpoints.checkpoint import PLAN, TOKENIZER, Checkpoint, save
from trainer.checkpoints.state import CheckpointState
from trainer.model import Model, ModelConfig, init

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported

SHAPES: dict[str, dict[str, Any]] = {
    "MHA": {"heads": 2, "kv_heads": 2},
    "GQA": {"heads": 4, "kv_heads": 2, "head_dim": 8},
    "untied": {"heads": 2, "kv_heads": 1, "tied": False},
    "yarn": {
        "heads": 2, "kv_heads": 2,
        "rope_scaling": "yarn", "rope_factor": 4.0, "rope_original_context": 16,
    },
    "dynamic": {
        "heads": 2, "kv_heads": 2,
        "rope_scaling": "dynamic", "rope_factor": 4.0, "rope_original_context": 16,
    },
    "ntk": {"heads": 2, "kv_heads": 2, "rope_scaling": "ntk", "rope_factor": 4.0},
    "steep": {"heads": 2, "kv_heads": 2, "layers": 3, "depth_alpha": 0.9},
}  # fmt: skip
"""Twice as wide as their base (m = 2)."""


def config_of(corpus: Corpus, name: str) -> ModelConfig:
    return ModelConfig(
        **{
            "vocab_size": corpus.tokenizer.vocab_size,
            "width": 32,
            "layers": 2,
            "ff": 48,
            "head_dim": 16,
            "dim_model_base": 16,
            "init_std": 0.2,
            **SHAPES[name],
        }
    )


@pytest.fixture(scope="session")
def made(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Checkpoint]:
    """The checkpoint of a model of a shape, drawn; gains and padding as a training could leave
    them.
    """
    known: dict[str, Checkpoint] = {}

    def make(name: str) -> Checkpoint:
        if name not in known:
            known[name] = _checkpoint(
                corpus, config_of(corpus, name), tmp_path_factory.mktemp(name)
            )
        return known[name]

    return make


def _checkpoint(corpus: Corpus, config: ModelConfig, folder: Path) -> Checkpoint:
    model = Model(config)
    init(model, config, seed=1)
    source = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.copy_(1 + 0.3 * torch.randn(parameter.shape, generator=source))
    weights = dict(model.named_parameters())
    moments = {
        f"{kind}.{name}": torch.rand(value.shape, generator=source) / 100
        for name, value in weights.items()
        for kind in ("mean", "square")
    }
    plan = freeze(
        MixtureSpec(phases=(Phase(name="only", tokens=512, weights={"web": 1.0}),)),
        {"web": open_source(corpus.folders["web"])},
        sequence_length=64,
        batch_tokens=256,
        seed=1,
        bos_id=corpus.tokenizer.bos_id,
    )
    state = CheckpointState(
        step=2,
        tokens=512,
        plan_hash=plan.hash,
        history=(),
        schedule={},
        model=config.recorded(),
        settings={},
        tokenizer_hash=corpus.tokenizer.hash,
        seeds={"init": 1},
    )
    files = {PLAN: plan.to_json(), TOKENIZER: corpus.tokenizer.model}
    return save(Store(folder), state, weights, moments, files)
