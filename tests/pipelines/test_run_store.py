"""A whole run on an S3 server: read from there, written to there, trained there, and looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from artifacts.paths import Store
from pipelines.commands.app import app
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import run_recipe
from pipelines.run.record import load_run

TRAINED = """
shards: {part_mtokens: 0.1, hold_out: 0.1}
mixture:
  phases:
    - {name: stable, tokens: 4_096, weights: {web: 0.8, instructions: 0.2}}
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


def windtunnel(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return result.output


def trained(folder: Path, paths: str) -> Path:
    """The starter's recipe with a training, its files at ``paths``."""
    text = (folder / "recipe.yaml").read_text().replace("[data/", f"[{paths}")
    recipe = folder / f"recipe-{'s3' if '://' in paths else 'local'}.yaml"
    recipe.write_text(text + TRAINED)
    return recipe


def training_bytes(store: Store) -> dict[str, bytes]:
    return {
        name: store.read(name)
        for name in store.names("training")
        if not name.endswith(("/time.jsonl", "/.lock", "/state.json")) and "outcome" not in name
    }


@pytest.mark.slow
def test_a_mixture_trains_over_shards_on_a_store_to_the_same_bytes_and_commands_go_on_with_them(
    starter: Path, tmp_path: Path, s3: str
) -> None:
    bucket = Store(f"{s3}/data")
    for path in sorted((starter.parent / "data").iterdir()):
        bucket.write(path.name, path.read_bytes())
    shown = ["train.tensorboard=true"]
    here = run_recipe(load_recipe(trained(starter.parent, "data/"), shown), str(tmp_path / "runs"))
    recipe, runs = trained(starter.parent, f"{s3}/data/"), f"{s3}/runs"
    recipe.write_text(recipe.read_text().replace("tensorboard: false", "tensorboard: true"))
    there = run_recipe(load_recipe(recipe), runs)
    assert there.store.root == f"{s3}/runs/starter"
    assert training_bytes(there.store) == training_bytes(here.store)
    assert len(training_bytes(there.store)) > 10
    again = run_recipe(load_recipe(recipe), runs)
    assert again.computed == 0
    run = there.store.root
    windtunnel("report", run)
    windtunnel("train", recipe, "--runs", runs)
    assert "sound" in windtunnel("shards", "verify", run)
    assert json.loads(windtunnel("shards", "inspect", run, "--json"))
    boards = {name.split("/")[1].rpartition("-")[0] for name in there.store.names("tensorboard")}
    assert boards == {"main", "web-alone"}
    assert "every byte" in windtunnel("mixture", "check", run, "--deep")
    damage_is_found(there.store, run, there.record["shards"]["web"]["folder"])
    folder = there.store.full(there.record["shards"]["web"]["folder"])
    assert "sound" in windtunnel("shards", "verify", folder)
    assert json.loads(windtunnel("shards", "inspect", folder, "--json"))
    windtunnel("mixture", "plan", recipe, "--runs", runs, "--output", f"{s3}/plans/plan.json")
    assert Store(f"{s3}/plans").exists("plan.json")
    windtunnel("mixture", "plan", recipe, "--runs", runs, "--output", tmp_path / "plan.json")
    windtunnel("mixture", "check", tmp_path / "plan.json", "--shards", f"{run}/shards")
    spans = json.loads(windtunnel("mixture", "trace", run, "--step", "1", "--json"))
    checkpoint = max(name for name in there.store.names("training") if name.endswith("state.json"))
    folder = there.store.full(checkpoint.rpartition("/")[0])
    windtunnel("generate", folder, "The", "--tokens", "2")
    take_down(runs, run, recipe, spans[0]["id"], tmp_path)


def damage_is_found(store: Store, run: str, folder: str) -> None:
    part = next(name for name in store.names(folder) if name.endswith(".arrow"))
    raw = store.read(part)
    store.write(part, raw[:1000] + bytes([raw[1000] ^ 1]) + raw[1001:])
    result = CliRunner().invoke(app, ["mixture", "check", run, "--deep", "--json"])
    assert result.exit_code == 1, result.output
    findings = {row["source"]: row["findings"] for row in json.loads(result.output)["sources"]}
    assert findings["web"]
    assert not findings["instructions"]
    store.write(part, raw)


def take_down(runs: str, run: str, recipe: Path, document: str, tmp_path: Path) -> None:
    (tmp_path / "ids").write_text(document + "\n")
    done = windtunnel("shards", "remove", run, "--ids", tmp_path / "ids", "--reason", "asked")
    assert "1 taken down" in done
    rows = json.loads(windtunnel("shards", "inspect", run, "--json"))
    assert sum(row["removed"] for row in rows) == 1
    assert "sound" in windtunnel("shards", "verify", run)
    store, record = load_run(runs, run)
    source = next(row["source"] for row in rows if row["removed"])
    for target in (run, store.full(record["shards"][source]["folder"])):
        again = windtunnel("shards", "remove", target, "--ids", tmp_path / "ids", "--reason", "x")
        assert "1 were before" in again


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:9", "127.0.0.1:9"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "recipe.yaml"),
        ("run", "recipe.yaml", "--runs", "s3://bucket/runs"),
        ("report", "s3://bucket/runs/starter"),
        ("shards", "verify", "starter", "--runs", "s3://bucket/runs"),
        ("dedup", "run", "s3://bucket/x/*.jsonl", "-o", "out"),
        ("generate", "s3://bucket/runs/x/checkpoints/step-00000001", "the"),
    ],
)
def test_a_store_without_credentials_or_answer_is_one_line(
    arguments: tuple[str, ...], endpoint: str | None, starter: Path, root: Path
) -> None:
    recipe = starter.parent / "recipe.yaml"
    if "--runs" not in arguments:
        recipe.write_text(recipe.read_text().replace("[data/web", "[s3://bucket/data/web"))
    keys = {} if endpoint is None else {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    said = subprocess.run(
        [sys.executable, "-c", "from pipelines.launch import main; main()", *arguments],
        cwd=starter.parent,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(starter.parent),
            "PYTHONPATH": str(root),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
            **({} if endpoint is None else {"AWS_ENDPOINT_URL": endpoint}),
            **keys,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 2, said.stderr
    errors = [line for line in said.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, said.stderr
    assert "Traceback" not in said.stderr
    assert len(said.stderr.splitlines()) <= 4, said.stderr
    assert "AWS_ACCESS_KEY_ID" in said.stderr


@pytest.mark.slow
def test_a_bucket_that_there_is_not_is_named(starter: Path, tmp_path: Path, s3: str) -> None:
    recipe, data = starter.parent / "recipe.yaml", starter.parent / "data/web.jsonl"
    there = f"{s3}-no"
    calls: list[tuple[object, ...]] = [
        ("run", recipe, "--runs", f"{there}/runs"),
        ("report", f"{there}/runs/starter"),
        ("dedup", "run", f"{there}/*.jsonl", "-o", tmp_path / "out"),
        ("dedup", "run", data, "-o", f"{there}/out"),
        ("dedup", "index", "add", f"{there}/index", data, "-o", tmp_path / "kept"),
    ]
    for call in calls:
        result = CliRunner().invoke(app, [str(argument) for argument in call])
        error = result.exception
        assert isinstance(error, UserError | OSError), (call, result.output, error)
        place = error.file if isinstance(error, UserError) else error.filename
        said = f"{place} {getattr(error, 'found', '')}"
        assert "windtunnel-no" in said, (call, error)


@pytest.mark.parametrize("runs", ["s3://", "s3:", "s3:/bucket/runs", "gs:bucket"])
def test_half_an_address_is_no_folder_on_this_disk(
    runs: str, starter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(starter.parent)
    before = sorted(starter.parent.rglob("*"))
    for call in (["run", "recipe.yaml", "--runs", runs], ["report", "starter", "--runs", runs]):
        result = CliRunner().invoke(app, call)
        assert isinstance(result.exception, UserError), (call, result.output, result.exception)
        assert result.exception.message == "not the address of a store"
    assert sorted(starter.parent.rglob("*")) == before
