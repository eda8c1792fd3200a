"""`windtunnel chat`: turns over a pipe and in a terminal, a window that says what leaves it, Ctrl-C
and Ctrl-D.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from pipelines.commands.app import app
from tests.pipelines.terminals import Terminal
from tests.trainer.loop_corpus import make_corpus
from tests.trainer.loop_runs import run
from trainer.checkpoints.checkpoint import load
from trainer.evaluation.generate import chat_prompt, continuation, speaker
from trainer.generation.settings import GenerateSettings

WINDOW = 256


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talking")
    outcome = run(make_corpus(folder / "corpus"), folder / "run", validation=None)
    return Path(outcome.checkpoint.folder)


def talk(checkpoint: Path, lines: str | bytes, *options: object) -> Any:
    arguments = ["chat", checkpoint, "--tokens", 12, *options]
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=lines)


def test_every_line_of_a_pipe_is_a_turn_and_its_answer_stands_alone(checkpoint: Path) -> None:
    done = talk(checkpoint, "add 1 and 2\n\n   \nadd 3 and 4", "--context", WINDOW)
    assert (done.exit_code, done.stderr.count("error")) == (0, 0), done.stderr
    model, tokenizer = speaker(load(checkpoint))
    first = chat_prompt(tokenizer, [{"role": "user", "content": "add 1 and 2"}])
    settings = GenerateSettings(tokens=12)
    marks = [tokenizer.control_id(mark) for mark in ("<User>", "<AI>", "<System>", "<Tool>")]
    said = continuation(model, first, tokenizer.eos_id, settings)
    said = said[: min((said.index(mark) for mark in marks if mark in said), default=12)]
    expected = tokenizer.decode_tokens(said, controls=False)
    assert done.stdout.startswith(f"{expected}\n")
    assert done.stdout.count("\n") - expected.count("\n") >= 2


def test_the_same_lines_and_seed_give_the_same_conversation(checkpoint: Path) -> None:
    lines = "add 1 and 2\nadd 1 and 2\n"
    options = ("--temperature", 1.3, "--top-k", 40, "--context", WINDOW)
    first = talk(checkpoint, lines, *options, "--seed", 4)
    assert first.stdout == talk(checkpoint, lines, *options, "--seed", 4).stdout
    assert first.stdout != talk(checkpoint, lines, *options, "--seed", 5).stdout
    reset = talk(checkpoint, "add 1 and 2\n/reset\nadd 1 and 2\n", *options, "--seed", 4)
    half = reset.stdout[: len(reset.stdout) // 2]
    assert reset.stdout == half * 2, "after a reset nothing is remembered"


def test_turns_that_leave_are_named_with_their_tokens(checkpoint: Path) -> None:
    done = talk(checkpoint, "add 1 and 2\n" * 30, "--context", WINDOW, "--system", "be brief")
    assert done.exit_code == 0, done.exception
    left = re.findall(r"note: turn (\d+) \((\d+) tokens\) is out of the model's sight", done.stderr)
    assert [int(number) for number, _ in left] == list(range(1, len(left) + 1))
    assert len(left) > 3
    assert all(8 < int(tokens) < WINDOW for _, tokens in left)


def test_commands_help_reset_and_exit_and_others_are_told(checkpoint: Path) -> None:
    done = talk(checkpoint, "/help\n/reset\n/what\n /etc/hosts is a file\n/exit\nadd 1 and 2\n")
    assert done.exit_code == 0
    for name in ("/help", "/reset", "/exit"):
        assert name in done.stderr
    assert "all turns are forgotten" in done.stderr
    assert "there is no /what" in done.stderr
    assert done.stdout.count("\n") >= 1
    alone = talk(checkpoint, "/etc/hosts is a file\n")
    assert done.stdout == alone.stdout, "after /exit nothing is answered"
    spaced = talk(checkpoint, " /reset\n")
    assert spaced.stderr.count("forgotten") == 0
    assert spaced.stdout.endswith("\n")


def test_a_line_that_cannot_be_answered_is_said_and_the_next_one_is_answered(
    checkpoint: Path,
) -> None:
    lines = b"caf\xe9\n" + b"the river " * 200 + b"\nadd 1 and 2\n"
    done = talk(checkpoint, lines, "--context", 64)
    assert done.exit_code == 0, done.exception
    assert "not a text in UTF-8" in done.stderr
    assert "leaves no room for an answer" in done.stderr
    assert "give --context " in done.stderr
    assert done.stdout == talk(checkpoint, "add 1 and 2\n", "--context", 64).stdout


def test_options_that_make_no_sense_are_errors_of_their_own(checkpoint: Path) -> None:
    for options, field in (
        (["--temperature", "nan"], "--temperature"),
        (["--min-p", 2], "--min-p"),
        (["--repetition-penalty", 0], "--repetition-penalty"),
        (["--top-k", 0], "--top-k"),
        (["--context", 3], "--context"),
        (["--system", "the river " * 99, "--context", 64], "--system"),
    ):
        done = talk(checkpoint, "add 1 and 2\n", *options)
        assert isinstance(done.exception, UserError), options
        assert done.exception.field == field
    idle = talk(checkpoint, "", "--top-p", 0.5)
    assert "--top-p changes nothing" in idle.stderr


@pytest.mark.slow
def test_30_turns_in_a_terminal_in_a_window_of_256_say_what_left(checkpoint: Path) -> None:
    with Terminal("chat", checkpoint, "--tokens", 24, "--context", WINDOW) as terminal:
        assert "looks back 256 tokens; /help lists commands" in terminal.read("> ")
        for number in range(30):
            terminal.write(f"add {number} and 2\n")
            terminal.read("> ")
        terminal.write("\x04")
        assert terminal.end() == 0
    left = re.findall(r"note: turn (\d+) \((\d+) tokens\) is out", terminal.output)
    assert [int(number) for number, _ in left] == list(range(1, len(left) + 1))
    assert len(left) > 10
    assert "Traceback" not in terminal.output
    assert "error" not in terminal.output


@pytest.mark.slow
def test_ctrl_c_ends_an_answer_and_not_the_program(checkpoint: Path, tmp_path: Path) -> None:
    command = saying("x", checkpoint, tmp_path)
    with Terminal(command=[*command, "--tokens", "100000", "--context", "200000"]) as terminal:
        terminal.read("> ")
        for _ in range(2):
            terminal.write("add 1 and 2\n")
            terminal.read("xxxxxxxx")
            terminal.interrupt("the answer was ended here")
            terminal.read("> ")
        terminal.write("half a line")
        terminal.interrupt("ends the conversation")
        terminal.read("> ")
        terminal.write("/exit\n")
        assert terminal.end() == 0
    assert "Traceback" not in terminal.output


@pytest.mark.slow
def test_characters_that_act_are_shown_by_number_in_a_terminal_alone(
    checkpoint: Path, tmp_path: Path
) -> None:
    command = [*saying("\x1b", checkpoint, tmp_path), "--tokens", "3"]
    piped = subprocess.run(command, input=b"hi\n", capture_output=True, check=True)
    assert piped.stdout == b"\x1b\x1b\x1b\n"
    with Terminal(command=command) as terminal:
        terminal.read("> ")
        terminal.write("hi\n")
        terminal.read("> ")
        terminal.write("\x04")
        assert terminal.end() == 0
    assert r"\u001b\u001b\u001b" in terminal.output
    assert "\x1b" not in terminal.output


def saying(character: str, checkpoint: Path, folder: Path) -> list[str]:
    """The command that converses with a model which says one byte whatever it is asked."""
    token = int(speaker(load(checkpoint))[1].vocabulary.byte_ids[ord(character)])
    script = folder / "saying.py"
    script.write_text(
        "import sys\n"
        "from trainer.model import Model\n"
        "logits = Model.logits\n"
        "def stubborn(self, hidden):\n"
        "    scores = logits(self, hidden)\n"
        f"    scores[..., {token}] = 1e6\n"
        "    return scores\n"
        "Model.logits = stubborn\n"
        "from pipelines.launch import main\n"
        "sys.argv = ['windtunnel', *sys.argv[1:]]\n"
        "main()\n"
    )
    return [sys.executable, str(script), "chat", str(checkpoint)]
