"""What the command says of itself: its release, and what a shell may complete."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from pipelines.commands.doctor import Finding, _clashes, _extra
from pipelines.starter.write import FILES, write_starter

COMMAND = "import sys; from pipelines.launch import main; sys.argv = ['windtunnel', *sys.argv[1:]]; main()"


def windtunnel(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def completed(shell: str, line: str) -> str:
    """What a shell is told when Tab is pressed at the end of a line."""
    words = line.split(" ")
    typer = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    bash = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    return windtunnel(_WINDTUNNEL_COMPLETE=f"complete_{shell}", **typer, **bash)


def test_the_release_is_that_of_the_distribution() -> None:
    assert windtunnel("--version") == f"windtunnel {metadata.version('windtunnel')}\n"


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell: str) -> None:
    commands = completed(shell, "windtunnel sch")
    assert "schedule" in commands
    assert "schema" in commands
    assert "init" not in commands
    options = completed(shell, "windtunnel doctor --c")
    assert "--compile" in options
    assert "--json" not in options


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_given_a_script_for_this_command(shell: str) -> None:
    assert "_WINDTUNNEL_COMPLETE=complete_" in windtunnel(_WINDTUNNEL_COMPLETE=f"source_{shell}")


def test_the_doctor_knows_a_library_by_what_is_imported_not_by_its_distributions_name() -> None:
    assert _extra("torch", "train", {"torch": ["windtunnel"]}).found == metadata.version(
        "windtunnel"
    )
    assert _extra("torch", "train", {}) == Finding("torch", "there, of no distribution", "")


def test_the_doctor_looks_for_others_that_own_a_name_of_ours() -> None:
    assert _clashes({"windtunnel": ["windtunnel"], "trainer": ["windtunnel"]}) == []
    (found,) = _clashes({"windtunnel": ["windtunnel", "wind-tunnel"]})
    assert (found.what, found.ok) == ("package windtunnel", False)
    assert "pip uninstall wind-tunnel" in found.remark


def test_a_starter_that_trains_is_the_starter_and_a_training(tmp_path: Path) -> None:
    plain, trained = write_starter(tmp_path / "plain"), write_starter(tmp_path / "trained", True)
    assert [path.relative_to(tmp_path / "trained") for path in trained] == list(map(Path, FILES))
    for one, other in zip(plain, trained, strict=True):
        assert other.read_bytes().startswith(one.read_bytes())
    longer = [
        path.name
        for path, had in zip(trained, plain, strict=True)
        if path.stat().st_size != had.stat().st_size
    ]
    assert longer == ["recipe.yaml"]
