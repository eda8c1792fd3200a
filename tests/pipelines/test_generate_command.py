"""`windtunnel generate` and `schedule show`: values that make no sense are errors of their option,
and what a model does not see is said.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from pipelines.commands.app import app
from pipelines.commands.training import _named
from pipelines.recipe.load import load_recipe
from pipelines.training.train import SAMPLE_TOKENS, _said
from tests.pipelines.test_train_command import COMMAND
from tests.trainer.loop_corpus import make_corpus
from tests.trainer.loop_runs import LENGTH, run
from trainer.checkpoints.checkpoint import load

SPEC = "{kind: wsd, peak: 0.01, warmup: 20, decay_start: 300, end: 375}"
LONG = "the river and the boat and the mill and the bridge and the grass by the water. " * 3


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a model trained on windows of 32 tokens."""
    folder = tmp_path_factory.mktemp("speaking")
    outcome = run(make_corpus(folder / "corpus"), folder / "run", until_step=2, validation=None)
    return Path(outcome.checkpoint.folder)


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(*arguments: object) -> UserError:
    result = call(*arguments)
    assert isinstance(result.exception, UserError), (result.output, result.exception)
    return result.exception


@pytest.mark.parametrize(
    ("options", "field", "found"),
    [
        (["--temperature", "inf"], "--temperature", "inf"),
        (["--temperature", "nan"], "--temperature", "nan"),
        (["--temperature", "-1"], "--temperature", "-1.0"),
        (["--seed", 1 << 63], "--seed", str(1 << 63)),
        (["--seed", -1], "--seed", "-1"),
        (["--tokens", 0], "--tokens", "0"),
        (["--context", 0], "--context", "0"),
    ],
)
def test_a_value_that_makes_no_sense_is_an_error_of_its_option(
    checkpoint: Path, options: list[object], field: str, found: str
) -> None:
    error = refused("generate", checkpoint, "the river", *options)
    assert (error.field, str(error.found)) == (field, found)
    assert error.allowed
    assert error.fix == f"give {field} another value, or leave it out"


@pytest.mark.parametrize("options", [["--temperature", "1e-310"], ["--seed", (1 << 63) - 1]])
def test_the_edges_of_what_makes_sense_are_said(checkpoint: Path, options: list[object]) -> None:
    result = call("generate", checkpoint, "the river", "--tokens", 3, *options)
    assert result.exit_code == 0, result.exception
    assert result.stderr == ""


@pytest.mark.parametrize("options", [[], ["--chat"]])
def test_a_prompt_that_is_not_utf8_is_an_error_of_the_prompt(
    checkpoint: Path, options: list[str]
) -> None:
    error = refused("generate", checkpoint, "caf\udce9", *options)
    assert (error.field, str(error.found)) == ("PROMPT", "'\\udce9'")


@pytest.mark.slow
def test_a_prompt_that_is_not_utf8_is_one_error_without_a_traceback(checkpoint: Path) -> None:
    command = [sys.executable, "-c", COMMAND, "generate", str(checkpoint), b"caf\xe9"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "not a text in UTF-8" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_out_of_sight_is_said_beside_the_text_with_an_option_that_mends_it(
    checkpoint: Path,
) -> None:
    cut = call("generate", checkpoint, LONG, "--tokens", 4)
    assert cut.exit_code == 0, cut.exception
    (window, unseen) = re.findall(r"looks back (\d+) tokens; (\d+) that came before", cut.stderr)[0]
    assert int(window) == LENGTH
    assert cut.stdout == call("generate", checkpoint, LONG, "--tokens", 4, "--context", 32).stdout
    whole = ["--context", LENGTH + int(unseen)]
    assert call("generate", checkpoint, LONG, "--tokens", 4, *whole).stderr == ""
    assert call("generate", checkpoint, "the river", "--tokens", 4).stderr == ""


def test_a_conversation_that_fills_the_window_says_the_option_that_makes_room(
    checkpoint: Path,
) -> None:
    chat = ["generate", checkpoint, LONG, "--tokens", 4, "--chat"]
    error = refused(*chat)
    assert error.field == "PROMPT"
    (room,) = re.findall(r"--context (\d+)", str(error.fix))
    assert call(*chat, "--context", room).exit_code == 0


def test_samples_look_back_the_window_and_count_what_they_do_not_see(
    checkpoint: Path, root: Path
) -> None:
    recipe = load_recipe(root / "recipes" / "tiny.yaml").recipe
    recipe = recipe.model_copy(update={"prompts": ("the", LONG)})
    short, cut = _said(recipe, load(checkpoint))
    assert short.unseen <= SAMPLE_TOKENS < cut.unseen + LENGTH
    assert cut.unseen > short.unseen


@pytest.mark.parametrize("steps", ["-1", "0", "5,-3"])
def test_a_schedule_has_no_step_before_the_first(steps: str) -> None:
    error = refused("schedule", "show", SPEC, "--steps", steps)
    assert (error.field, error.allowed) == ("--steps", ["1 to 375"])
    shown = call("schedule", "show", SPEC, "--steps", "1,20", "--json")
    assert json.loads(shown.output) == [[1, 0.0005], [20, 0.01]]


@pytest.mark.parametrize("folder", ["", ".", "..", "/", "nothing", "x/../.."])
def test_a_folder_without_a_checkpoint_is_told_however_it_is_written(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused("generate", folder, "x").message == "no checkpoint here"


def test_a_checkpoint_is_found_from_within_its_folder(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkpoint)
    for name in (".", f"../{checkpoint.name}", f"./../{checkpoint.name}/"):
        assert load(name).folder == str(checkpoint)


def test_two_branches_never_have_one_name(checkpoint: Path, tmp_path: Path) -> None:
    """The second would take the place of the first."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "decay.yaml").write_text("phases: []")
    with pytest.raises(UserError, match="two branches would have the name decay") as caught:
        _named([tmp_path / "a/decay.yaml", tmp_path / "b/decay.yaml"])
    assert str(caught.value.found).count("decay.yaml") == 2


def test_a_preset_that_there_is_not_is_an_error_of_the_argument() -> None:
    error = refused("model", "describe", "tinny")
    assert (error.field, error.nearest) == ("NAME", "tiny")
