"""`windtunnel train`: the training of a run without its corpus, found by a later run and the other
way round.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from artifacts.errors import UserError
from pipelines.commands.app import app
from pipelines.recipe.load import load_branch, load_recipe
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.run.train_only import train_run
from pipelines.stages.step_names import is_training
from pipelines.training.watch import StoppedError, ended
from tests.pipelines.run_trees import record, trained, tree

COMMAND = "import sys; from pipelines.launch import main; sys.argv = ['windtunnel', *sys.argv[1:]]; main()"


@pytest.fixture
def runs(tiny: tuple[Path, RunOutcome], root: Path, tmp_path: Path) -> Path:
    """A folder of runs in which `tiny` has got as far as its shards."""
    shutil.copytree(
        tiny[0],
        tmp_path / "tiny",
        ignore=shutil.ignore_patterns("training", "plan.json", "report.html"),
    )
    run_recipe(load_recipe(root / "recipes" / "tiny.yaml"), str(tmp_path), until="shards")
    assert record(tmp_path / "tiny")["training"] is None
    return tmp_path


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_what_is_trained_alone_is_what_a_run_trains_and_a_run_finds_it(
    tiny: tuple[Path, RunOutcome], runs: Path, root: Path
) -> None:
    recipe = root / "recipes" / "tiny.yaml"
    stopped = call("train", recipe, "--runs", runs, "--until-step", 7)
    assert stopped.exit_code == 0, stopped.output
    assert "train: step 1 of 7, loss " in stopped.output
    assert "windtunnel train" in stopped.output.split("go on to the end of the training")[0]
    assert record(runs / "tiny")["reached"] == "shards"

    said = call("train", recipe, "--runs", runs, "--json")
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)
    assert (found["reached"], found["computed"], found["endings"]["main"]["step"]) == (
        "train",
        2,
        25,
    )
    assert trained(runs / "tiny") == trained(tiny[0])
    whole, ours = tiny[1].record, record(runs / "tiny")
    for part in ("plan", "training", "branches", "samples", "recipe", "reached", "units"):
        assert ours[part] == whole[part], part
    assert [ledger["step"] for ledger in ours["ledgers"]] == [
        ledger["step"] for ledger in whole["ledgers"]
    ]
    files = sorted(path.name for path in (runs / "tiny" / "ledgers").iterdir())
    assert files == sorted(path.name for path in (tiny[0] / "ledgers").iterdir())

    assert run_recipe(load_recipe(recipe), str(runs)).computed == 0
    assert tree(runs / "tiny") == tree(tiny[0])
    assert train_run(load_recipe(recipe), str(runs)).computed == 0
    assert [
        ledger["step"] for ledger in record(runs / "tiny")["ledgers"] if is_training(ledger["step"])
    ] == [
        "train",
        "branch without-instructions",
    ]


def test_no_resume_refuses_a_training_that_has_a_checkpoint_and_begins_one_that_has_none(
    runs: Path, root: Path
) -> None:
    loaded = load_recipe(root / "recipes" / "tiny.yaml")
    train_run(loaded, str(runs), resume=False, until_step=3)
    before = trained(runs / "tiny")
    with pytest.raises(UserError, match="begun already") as error:
        train_run(loaded, str(runs), resume=False)
    assert error.value.found == "a checkpoint of step 3"
    assert "overrides=train.seed=N" in str(error.value.fix)
    assert trained(runs / "tiny") == before
    other = load_recipe(root / "recipes" / "tiny.yaml", ["train.seed=2"])
    assert train_run(other, str(runs), resume=False, until_step=1).computed == 1


def test_without_a_run_or_without_shards_the_command_that_makes_them_is_named(
    root: Path, tmp_path: Path
) -> None:
    recipe = root / "recipes" / "tiny.yaml"
    with pytest.raises(UserError, match="no such run") as error:
        train_run(load_recipe(recipe), str(tmp_path))
    assert "windtunnel run" in str(error.value.fix)
    run_recipe(load_recipe(recipe), str(tmp_path), until="read")
    with pytest.raises(UserError, match="no shards yet") as error:
        train_run(load_recipe(recipe), str(tmp_path))
    assert (error.value.found, error.value.fix) == ("it reached read", f"windtunnel run {recipe}")


@pytest.mark.parametrize(
    ("override", "field", "now", "then"),
    [
        (
            "corpus.stages.4.minhash_dedup.verify=0.8",
            "corpus.stages[4].minhash_dedup.verify",
            "0.8",
            "0.7",
        ),
        ("tokenizer.vocab_size=1024", "tokenizer.vocab_size", "1024", "2048"),
        ("seed=2", "seed", "2", "1"),
    ],
)
def test_shards_made_with_other_settings_are_not_taken(
    runs: Path, root: Path, override: str, field: str, now: str, then: str
) -> None:
    with pytest.raises(UserError, match="made with another setting") as error:
        train_run(load_recipe(root / "recipes" / "tiny.yaml", [override]), str(runs))
    assert (error.value.field, str(error.value.found), error.value.allowed) == (field, now, [then])
    assert not (runs / "tiny" / "training").exists()


def test_another_count_of_cores_by_torch_is_no_other_training(
    tiny: tuple[Path, RunOutcome], runs: Path, root: Path
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        train_run(load_recipe(root / "recipes" / "tiny.yaml"), str(runs))
    finally:
        torch.set_num_threads(threads)
    assert trained(runs / "tiny") == trained(tiny[0])


@pytest.mark.kill
def test_sigterm_ends_with_143_after_a_checkpoint_and_the_next_call_goes_on_to_the_same_bits(
    tiny: tuple[Path, RunOutcome], runs: Path, root: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", COMMAND, "train", "recipes/tiny.yaml", "--runs", str(runs)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("train: step 1 of 25"):
            process.send_signal(signal.SIGTERM)
            break
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 143, errors
    assert "stopped by SIGTERM after a whole step" in errors
    (checkpoint,) = (runs / "tiny" / "training").glob("*/checkpoints/step-*/state.json")
    assert 1 <= json.loads(checkpoint.read_text())["step"] < 25
    assert (
        train_run(load_recipe(root / "recipes" / "tiny.yaml"), str(runs)).record["reached"]
        == "train"
    )
    assert trained(runs / "tiny") == trained(tiny[0])


def test_a_branchs_file_that_is_no_mixture_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text("# an ending\nphases: 3\n")
    with pytest.raises(UserError) as error:
        load_branch(file)
    assert (error.value.file, error.value.line, error.value.field) == (str(file), 2, "phases")


def test_a_signal_in_any_of_several_trainings_ends_the_command_with_its_code() -> None:
    outcomes = [
        SimpleNamespace(stopped_by=None, exit_code=0),
        SimpleNamespace(stopped_by="SIGINT", exit_code=130),
    ]
    ended(*outcomes[:1])  # type: ignore[arg-type]
    with pytest.raises(StoppedError) as stopped:
        ended(*outcomes)  # type: ignore[arg-type]
    assert stopped.value.exit_code == 130
