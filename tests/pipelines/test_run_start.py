"""Runs that start at a model: exported from one, imported, annealed with another's documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from pipelines.commands.app import app
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import RunOutcome, run_recipe
from trainer.checkpoints.checkpoint import load

TRAINED = """
shards: {part_mtokens: 0.1, hold_out: 0.1}
mixture:
  phases:
    - {name: stable, tokens: 2_048, weights: {web: 0.8, instructions: 0.2}}
    - {name: decay, decay: true, tokens: 1_024, weights: {web: 0.5, instructions: 0.5}}
branches:
  - {name: web-alone, phases: [{name: decay, decay: true, tokens: 1_024, weights: {web: 1.0}}]}
model: {preset: tiny, width: 64, layers: 1, heads: 1, kv_heads: 1, ff: 160}
train:
  sequence_length: 64
  batch_tokens: 512
  schedule: {kind: wsd, peak: 0.01, warmup: 2, decay: {shape: exponential}}
  checkpoint_every: 4
  tensorboard: false
"""
ANNEALED = """
shards: {part_mtokens: 0.1, hold_out: 0.1}
mixture:
  phases:
    - {name: decay, decay: true, tokens: 1_024, weights: {web: 0.5, instructions: 0.5}}
branches:
  - {name: web-alone, phases: [{name: decay, decay: true, tokens: 1_024, weights: {web: 1.0}}]}
train:
  sequence_length: 64
  batch_tokens: 512
  schedule: {kind: wsd, peak: 0.002, warmup: 0, decay: {shape: exponential}}
  tensorboard: false
"""


def windtunnel(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return result.output


@pytest.fixture(scope="module")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunOutcome]:
    """A folder with the starter's corpus, and its run."""
    from pipelines.starter.write import write_starter

    folder = tmp_path_factory.mktemp("trained")
    write_starter(folder / "starter")
    recipe = folder / "starter/recipe.yaml"
    recipe.write_text(recipe.read_text() + TRAINED)
    return folder, run_recipe(load_recipe(recipe), str(folder / "runs"))


def annealing(folder: Path, start: str, name: str, more: str = ANNEALED, **changes: str) -> Path:
    """The starter's corpus with a model to start at in place of a tokenizer to train."""
    for old, new in changes.items():
        more = more.replace(old, new)
    recipe = folder / "starter" / f"{name}.yaml"
    recipe.write_text(f"name: {name}\nstart: {start}\n{corpus_of(folder)}{more}")
    return recipe


def corpus_of(folder: Path) -> str:
    """What the starter's recipe says of its corpus."""
    text = (folder / "starter/recipe.yaml").read_text()
    return text[text.index("\ncorpus:") + 1 : text.index("\ntokenizer:") + 1]


@pytest.mark.slow
def test_a_run_is_exported_imported_and_annealed_by_commands(
    trained: tuple[Path, RunOutcome],
) -> None:
    folder, outcome = trained
    runs = ("--runs", folder / "runs")
    said = windtunnel("export", "starter", folder / "model", *runs)
    assert "logits" in said
    card = (folder / "model/README.md").read_text()
    for heading in ("## Data", "## Losses", "## Cost", "## Recipe", "## Checks"):
        assert heading in card
    assert "| web |" in card
    assert "documents kept" in card
    assert "batch_tokens: 512" in card
    windtunnel("export", outcome.store.root, folder / "branch", "--branch", "web-alone")
    assert "starter, web-alone" in (folder / "branch/README.md").read_text()
    facts = json.loads(
        windtunnel("export", "starter", folder / "llama", "--to", "llama", *runs, "--json")
    )
    assert facts["logits"]["largest_difference"] < 1e-4
    said = windtunnel("import", folder / "model", "--output", folder / "in")
    start = folder / "in/checkpoints/step-00000000"
    assert str(start) in said
    assert load(start).state.tokenizer_hash == outcome.record["tokenizer"]["hash"]
    recipe = annealing(folder, "../in/checkpoints/step-00000000", "annealed")
    windtunnel("run", recipe, *runs)
    annealed = load_run_record(folder / "runs/annealed")
    assert annealed["tokenizer"]["given"] is True
    assert annealed["tokenizer"]["hash"] == outcome.record["tokenizer"]["hash"]
    assert annealed["training"]["steps"] == 2
    parent = load(folder / "runs/annealed" / last_of(annealed)).state.parent
    assert parent is not None
    assert parent["weights"] == load(start).state.files["weights.safetensors"].checksum
    assert set(annealed["branches"]) == {"web-alone"}
    windtunnel("report", "annealed", *runs)
    report = (folder / "runs/annealed/report.html").read_text()
    assert "The recipe named it; nothing was trained." in report
    assert "imported from the layout granite" in report
    windtunnel("generate", start, "The", "--tokens", "2")
    windtunnel("model", "describe", start)
    again = run_recipe(load_recipe(recipe), str(folder / "runs"))
    assert again.computed == 0


def load_run_record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_bytes())
    return found


def last_of(record: dict[str, Any]) -> str:
    return f"{record['training']['folder']}/checkpoints/step-{record['training']['steps']:08d}"


@pytest.mark.slow
def test_another_start_is_another_training_and_a_folded_one_asks_for_its_rate(
    trained: tuple[Path, RunOutcome],
) -> None:
    folder, outcome = trained
    store, record = outcome.store, outcome.record
    folders = set()
    for name in ("training", "branch"):
        entry = record["training"] if name == "training" else record["branches"]["web-alone"]
        start = f"{store.root}/{entry['folder']}/checkpoints/step-00000006"
        recipe = annealing(folder, start, "either")
        made = run_recipe(load_recipe(recipe), str(folder / "runs"))
        folders.add(made.record["training"]["folder"])
    assert len(folders) == 2
    windtunnel("export", "starter", folder / "fold", "--to", "llama", "--runs", folder / "runs")
    windtunnel("import", folder / "fold", "-o", folder / "fold-in")
    folded = "../fold-in/checkpoints/step-00000000"
    bare = annealing(folder, folded, "folded", **{"peak: 0.002, ": ""})
    with pytest.raises(UserError) as caught:
        run_recipe(load_recipe(bare), str(folder / "runs"))
    assert caught.value.field == "train.schedule.peak"
    assert not (folder / "runs/folded/run.json").exists()
    rated = annealing(folder, folded, "folded")
    assert run_recipe(load_recipe(rated), str(folder / "runs")).record["training"]["steps"] == 2


@pytest.mark.parametrize(
    ("start", "more", "field"),
    [
        ("nowhere", ANNEALED, "start"),
        ("../starter", ANNEALED, "start"),
        ("CHECKPOINT", ANNEALED + "model: {layers: 7}\n", "model.layers"),
        ("CHECKPOINT", ANNEALED + "model: {preset: 9M}\n", "model.preset"),
        ("CHECKPOINT", ANNEALED + "tokenizer: {vocab_size: 600}\n", "tokenizer"),
        (
            "CHECKPOINT",
            ANNEALED + "tokenizer: {model: x, vocab_size: 600}\n",
            "tokenizer.vocab_size",
        ),
        ("MODEL", ANNEALED, "start"),
    ],
)
def test_a_start_that_does_not_go_with_its_recipe_is_refused_before_the_corpus(
    trained: tuple[Path, RunOutcome], start: str, more: str, field: str
) -> None:
    folder, outcome = trained
    checkpoint = Path(outcome.store.full(last_of(outcome.record)))
    place = {"CHECKPOINT": str(checkpoint), "MODEL": str(checkpoint / "tokenizer.model")}
    recipe = annealing(folder, place.get(start, start), "refused", more)
    with pytest.raises(UserError) as caught:
        run_recipe(load_recipe(recipe), str(folder / "runs"))
    assert caught.value.field == field
    assert caught.value.file == str(recipe)
    assert not (folder / "runs/refused/run.json").exists()


def test_a_tokenizer_that_is_there_encodes_the_corpus(
    trained: tuple[Path, RunOutcome],
) -> None:
    folder, outcome = trained
    model = outcome.store.full(last_of(outcome.record)) + "/tokenizer.model"
    recipe = folder / "starter/given.yaml"
    recipe.write_text(f"name: given\ntokenizer: {{model: {model}}}\n{corpus_of(folder)}")
    made = run_recipe(load_recipe(recipe), str(folder / "runs"), until="shards")
    assert made.record["tokenizer"]["hash"] == outcome.record["tokenizer"]["hash"]
    assert made.record["shards"]["web"]["tokens"] > 0
    again = run_recipe(load_recipe(recipe), str(folder / "runs"), until="shards")
    assert again.computed == 0


def test_a_tokenizer_json_alone_encodes_the_corpus_to_the_same_tokens(
    trained: tuple[Path, RunOutcome],
) -> None:
    folder, outcome = trained
    windtunnel("tokenizer", "export", "starter", folder / "json", "--runs", folder / "runs")
    (folder / "json/tokenizer.model").unlink()
    recipe = folder / "starter/foreign.yaml"
    recipe.write_text(f"name: foreign\ntokenizer: {{model: ../json}}\n{corpus_of(folder)}")
    made = run_recipe(load_recipe(recipe), str(folder / "runs"), until="shards")
    assert made.record["encoded"]["web"]["tokens"] == outcome.record["encoded"]["web"]["tokens"]
    windtunnel("report", "foreign", "--runs", folder / "runs")


def test_what_cannot_be_exported_is_said(trained: tuple[Path, RunOutcome], tmp_path: Path) -> None:
    folder, outcome = trained
    runs = ["--runs", str(folder / "runs")]
    checkpoint = outcome.store.full(last_of(outcome.record))
    for arguments, message in (
        (["no-such-run", *runs], "no such run"),
        (["starter", *runs, "--branch", "x"], "no such branch"),
        ([checkpoint, "--branch", "web-alone"], "has no branches"),
        (["starter", *runs, "--to", "x"], "no such layout"),
        (["starter", *runs, "--part-gb", "0"], "not a size"),
    ):
        call = ["export", arguments[0], str(tmp_path / "out"), *arguments[1:]]
        error = CliRunner().invoke(app, call).exception
        assert isinstance(error, UserError), (call, error)
        assert message in str(error)
    assert list(tmp_path.iterdir()) == []
