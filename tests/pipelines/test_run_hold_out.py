"""A source that is held out whole: never shown, and measured with all its documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from artifacts.errors import UserError
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import run_recipe
from pipelines.starter.write import write_starter

MIXTURE = [
    "shards.hold_out=0.2",
    "tokenizer.vocab_size=1024",
    "mixture={phases: [{name: stable, tokens: 2048, weights: {web: 1}}], hold_out: [instructions]}",
    "model={preset: tiny, width: 64, layers: 1, heads: 1, kv_heads: 1, ff: 96}",
    "train={sequence_length: 128, batch_tokens: 512, schedule: {warmup: 1}, validate_every: 2, tensorboard: false, threads: 1}",
]


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    write_starter(tmp_path / "starter")
    return tmp_path / "starter" / "recipe.yaml"


def test_a_source_that_is_held_out_is_measured_and_never_shown(
    starter: Path, tmp_path: Path
) -> None:
    outcome = run_recipe(load_recipe(starter, MIXTURE), str(tmp_path / "runs"))
    folder = tmp_path / "runs" / "starter" / outcome.record["training"]["folder"] / "metrics"
    shown = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    measured = [json.loads(line) for line in (folder / "validation.jsonl").read_text().splitlines()]
    assert {name for line in shown for name in line["sources"]} == {"web"}
    assert all(set(line["sources"]) == {"instructions", "web"} for line in measured)
    assert measured[-1]["step"] == 4


def test_a_weight_on_a_source_that_is_held_out_is_refused(starter: Path) -> None:
    with pytest.raises(UserError, match="held out"):
        load_recipe(starter, [*MIXTURE, "mixture.phases.0.weights={web: 0.5, instructions: 0.5}"])
