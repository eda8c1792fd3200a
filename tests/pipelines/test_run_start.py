"""Runs that start at a model: exported from one, imported, annealed with another's documents."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from artifacts.paths import Store
from pipelines.commands.app import app
from pipelines.recipe.load import LoadedRecipe, load_recipe
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.run.train_only import train_run
from tokenizer.train import TrainConfig, train_model
from trainer.checkpoints.checkpoint import load, save

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
    measured = (folder / "runs/annealed" / annealed["training"]["folder"]) / "metrics"
    lines = (measured / "validation.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 2]
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
    assert [entry["field"] for entry in made.record["training"]["differs"]] == ["start"]
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


@pytest.mark.parametrize("file", ["weights.safetensors", "tokenizer.model", "state.json"])
def test_a_damaged_start_is_found_before_the_corpus(
    trained: tuple[Path, RunOutcome], tmp_path: Path, file: str
) -> None:
    folder, outcome = trained
    shutil.copytree(outcome.store.full(last_of(outcome.record)), tmp_path / "start")
    raw = bytearray((tmp_path / "start" / file).read_bytes())
    raw[len(raw) // 2] ^= 1
    (tmp_path / "start" / file).write_bytes(raw)
    recipe = annealing(folder, str(tmp_path / "start"), "damaged")
    with pytest.raises(UserError) as caught:
        run_recipe(load_recipe(recipe), str(folder / "runs"))
    assert str(tmp_path / "start") in str(caught.value)
    assert not (folder / "runs/damaged/run.json").exists()


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("model", {"layers": 2}, "shape is not that of the weights"),
        ("tokenizer_hash", "0" * 32, "another tokenizer than"),
    ],
)
def test_a_start_that_is_not_what_it_says_is_found_before_the_corpus(
    trained: tuple[Path, RunOutcome], tmp_path: Path, field: str, change: Any, message: str
) -> None:
    folder, outcome = trained
    there = load(outcome.store.full(last_of(outcome.record)))
    value = {**there.state.model, **change} if isinstance(change, dict) else change
    state = there.state.model_copy(update={field: value, "step": 0, "files": {}})
    files = {name: there.read(name) for name in ("plan.json", "tokenizer.model")}
    made = save(Store(tmp_path), state, there.weights(), there.moments(), files)
    recipe = annealing(folder, made.folder, "claimed")
    with pytest.raises(UserError, match=message):
        run_recipe(load_recipe(recipe), str(folder / "runs"))
    assert not (folder / "runs/claimed/run.json").exists()


def test_a_given_tokenizer_is_known_by_its_content_not_by_its_place(
    trained: tuple[Path, RunOutcome],
) -> None:
    folder, outcome = trained
    model = Path(outcome.store.full(last_of(outcome.record))) / "tokenizer.model"
    moved = folder / "starter/moved.model"
    more = TRAINED + "tokenizer: {model: MODEL}\n"
    recipe = folder / "starter/content.yaml"

    def recipe_with(name: str) -> LoadedRecipe:
        recipe.write_text(f"name: content\n{corpus_of(folder)}{more.replace('MODEL', name)}")
        return load_recipe(recipe)

    run_recipe(recipe_with(str(model)), str(folder / "runs"), until="shards")
    shutil.copy(model, moved)
    first = train_run(recipe_with("moved.model"), str(folder / "runs"), until_step=1)
    again = train_run(recipe_with(str(model)), str(folder / "runs"), until_step=1)
    assert again.record["training"]["folder"] == first.record["training"]["folder"]
    texts = [pa.array([recipe.read_text()] * 20, pa.large_string())]
    moved.write_bytes(train_model(texts, TrainConfig(vocab_size=400))[0])
    with pytest.raises(UserError, match="made with another setting") as caught:
        train_run(recipe_with("moved.model"), str(folder / "runs"), until_step=1)
    assert caught.value.field == "tokenizer.model"
    run_recipe(recipe_with("moved.model"), str(folder / "runs"), until="shards")
    shutil.copy(model, moved)
    with pytest.raises(UserError, match="another tokenizer than lies there now") as caught:
        train_run(recipe_with("moved.model"), str(folder / "runs"), until_step=1)
    assert caught.value.field == "tokenizer.model"
    assert "windtunnel run" in str(caught.value)


def test_another_tokenizer_than_the_models_is_refused_before_the_corpus(
    trained: tuple[Path, RunOutcome],
) -> None:
    folder, outcome = trained
    checkpoint = outcome.store.full(last_of(outcome.record))
    texts = [pa.array([(folder / "starter/recipe.yaml").read_text()] * 20, pa.large_string())]
    model, _ = train_model(texts, TrainConfig(vocab_size=400))
    (folder / "another.model").write_bytes(model)
    more = ANNEALED + "tokenizer: {model: ../another.model}\n"
    recipe = annealing(folder, checkpoint, "another", more)
    with pytest.raises(UserError, match="of another tokenizer") as caught:
        run_recipe(load_recipe(recipe), str(folder / "runs"))
    assert caught.value.field == "start"
    assert not (folder / "runs/another/run.json").exists()


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
        ([str(folder / "starter"), *runs], "neither a checkpoint nor a run"),
        (["starter", *runs, "--branch", "x"], "no such branch"),
        ([checkpoint, "--branch", "web-alone"], "has no branches"),
        (["starter", *runs, "--to", "x"], "no such layout"),
        (["starter", *runs, "--part-gb", "0"], "not a size"),
        (["starter", *runs, "--part-gb", "inf"], "not a size"),
    ):
        call = ["export", arguments[0], str(tmp_path / "out"), *arguments[1:]]
        error = CliRunner().invoke(app, call).exception
        assert isinstance(error, UserError), (call, error)
        assert message in str(error)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_to_import_is_no_start_and_a_store_holds_what_was_imported(
    trained: tuple[Path, RunOutcome],
) -> None:
    folder, outcome = trained
    checkpoint = outcome.store.full(last_of(outcome.record))
    windtunnel("export", checkpoint, folder / "not-yet")
    recipe = annealing(folder, "../not-yet", "not-imported")
    with pytest.raises(UserError, match="is imported before") as caught:
        run_recipe(load_recipe(recipe), str(folder / "runs"))
    assert "windtunnel import" in str(caught.value)
    windtunnel("import", folder / "not-yet", "-o", "memory://imported-start")
    assert load("memory://imported-start/checkpoints/step-00000000").state.imported is not None


def test_an_export_that_is_terminated_leaves_nothing(
    trained: tuple[Path, RunOutcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.export import export as writing

    def terminated(place: Path, *_: Any) -> None:
        (place / "model.safetensors").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(writing, "write_tensors", terminated)
    checkpoint = trained[1].store.full(last_of(trained[1].record))
    result = CliRunner().invoke(app, ["export", checkpoint, str(tmp_path / "out")])
    assert result.exit_code == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
