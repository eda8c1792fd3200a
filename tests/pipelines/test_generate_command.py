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
from artifacts.visible_text import visible
from pipelines.commands.app import app
from pipelines.commands.training import _named
from pipelines.recipe.load import load_recipe
from pipelines.training.train import SAMPLE_TOKENS, _said
from tests.pipelines.terminals import Terminal
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
        (["--top-k", 0], "--top-k", "0"),
        (["--top-p", 0], "--top-p", "0.0"),
        (["--min-p", 1.5], "--min-p", "1.5"),
        (["--repetition-penalty", "inf"], "--repetition-penalty", "inf"),
        (["--stop", ""], "--stop", ""),
        (["--batch", 0], "--batch", "0"),
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


def test_several_prompts_have_their_numbers_and_one_has_its_text_alone(checkpoint: Path) -> None:
    options = ["--tokens", 6, "--temperature", 1.5]
    one = call("generate", checkpoint, "the river", *options)
    two = call("generate", checkpoint, "the river", "the river", *options)
    assert two.exit_code == 0, two.exception
    first, second = re.fullmatch(r"== 1\n(.*)\n== 2\n(.*)\n", two.stdout, flags=re.S).groups()
    assert one.stdout == f"{first}\n"
    assert first != second
    assert two.stdout == call("generate", checkpoint, *["the river"] * 2, *options).stdout
    cut = call("generate", checkpoint, "a", LONG, "--tokens", 4)
    assert cut.stderr.startswith("note: prompt 2: the model looks back 32 tokens")


def test_prompts_of_a_file_come_out_as_json_lines(checkpoint: Path, tmp_path: Path) -> None:
    lines = tmp_path / "prompts.jsonl"
    messages = [{"role": "user", "content": "add 1 and 2"}]
    asked = [{"prompt": "the river"}, {"messages": messages}, {"prompt": LONG}]
    lines.write_text("\n\n".join(json.dumps(one) for one in asked))
    options = ["--prompts", lines, "--tokens", 5, "--json"]
    done = call("generate", checkpoint, "mill", *options)
    assert done.exit_code == 0, done.exception
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one.get("prompt", one.get("messages")) for one in said] == [
        "mill", "the river", messages, LONG
    ]  # fmt: skip
    assert all(
        set(one) - {"prompt", "messages"} == {"text", "tokens", "ended", "unseen"} for one in said
    )
    assert said[3]["unseen"] > 0 == said[0]["unseen"]
    assert done.stderr == ""
    alone = call("generate", checkpoint, "the river", "--tokens", 5)
    assert alone.stdout == f"{said[1]['text']}\n"
    chat = call("generate", checkpoint, "add 1 and 2", "--tokens", 5, "--chat", "--json")
    assert json.loads(chat.stdout)["text"] == said[2]["text"]
    plain = tmp_path / "prompts.txt"
    plain.write_bytes(b"the river\r\n\nmill\n")
    done = call("generate", checkpoint, "--prompts", plain, "--tokens", 5, "--json")
    assert [json.loads(line)["prompt"] for line in done.stdout.splitlines()] == [
        "the river",
        "mill",
    ]


@pytest.mark.parametrize(
    ("name", "content", "message", "line"),
    [
        ("p.jsonl", b'{"prompt": "a"}\n{"prompt"\n', "not JSON", 2),
        ("p.jsonl", b'["a"]', "no prompt", 1),
        ("p.jsonl", b'{"prompt": "a", "more": 1}', "no prompt", 1),
        ("p.jsonl", b'{"prompt": 3}', "no prompt", 1),
        ("p.jsonl", b"{}", "give either prompt or messages", 1),
        (
            "p.jsonl",
            b'{"prompt": "a", "messages": [{"role": "user", "content": "b"}]}',
            "either",
            1,
        ),
        ("p.jsonl", b'{"messages": []}', "no prompt", 1),
        ("p.jsonl", b'{"messages": [{"role": "user"}]}', "no prompt", 1),
        ("p.jsonl", b'\n{"messages": [{"role": "king", "content": "b"}]}', "no such role", 2),
        ("p.jsonl", b'{"prompt": "\\ud800"}', "", 1),
        ("p.jsonl", b'{"prompt": "a\xff"}', "", 1),
        ("p.txt", b"a\n\ncaf\xe9\n", "not a text in UTF-8", 3),
        ("p.txt", b"\n \n", "nothing to go on from", None),
        ("p.txt", b"", "nothing to go on from", None),
    ],
)
def test_a_line_that_is_no_prompt_is_named_with_its_file(
    checkpoint: Path, tmp_path: Path, name: str, content: bytes, message: str, line: int | None
) -> None:
    (tmp_path / name).write_bytes(content)
    error = refused("generate", checkpoint, "--prompts", tmp_path / name)
    assert message in error.message
    assert (error.file, error.line) == (str(tmp_path / name), line)
    assert error.fix or error.allowed


def test_a_prompt_of_a_file_that_fills_the_window_is_named_with_its_line(
    checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "prompts.jsonl"
    messages = [{"role": "user", "content": LONG}]
    path.write_text(f"{json.dumps({'prompt': LONG})}\n{json.dumps({'messages': messages})}\n")
    error = refused("generate", checkpoint, "--prompts", path)
    assert "fills all that the model looks back" in error.message
    assert (error.file, error.line, error.field) == (str(path), 2, "messages")
    assert "--context " in str(error.fix)


def test_without_a_prompt_there_is_nothing_to_go_on_from(checkpoint: Path) -> None:
    error = refused("generate", checkpoint)
    assert (error.message, error.field) == ("nothing to go on from", "PROMPT")


def test_a_text_ends_before_a_stop_string_and_idle_filters_are_said(checkpoint: Path) -> None:
    whole = call("generate", checkpoint, "the river", "--tokens", 20, "--temperature", 1.2)
    stop = whole.stdout[4:7]
    options = ["--tokens", 20, "--temperature", 1.2, "--stop", "never\x07", "--stop", stop]
    cut = call("generate", checkpoint, "the river", *options)
    assert cut.stdout == f"{whole.stdout[: whole.stdout.index(stop)]}\n"
    idle = call("generate", checkpoint, "the", "--tokens", 2, "--top-k", 5, "--min-p", 0.1)
    assert "at temperature 0 the likeliest token is taken, and --top-k, --min-p" in idle.stderr
    assert (
        call("generate", checkpoint, "the", "--tokens", 2, "--repetition-penalty", 2).stderr == ""
    )


@pytest.mark.slow
def test_a_terminal_shows_a_text_as_it_is_written(checkpoint: Path) -> None:
    options = ["--tokens", 30, "--temperature", 1.5]
    piped = call("generate", checkpoint, "the river", *options).stdout
    with Terminal("generate", checkpoint, "the river", *options) as terminal:
        assert terminal.end() == 0
    assert terminal.output.replace("\r\n", "\n") == visible(piped)


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
