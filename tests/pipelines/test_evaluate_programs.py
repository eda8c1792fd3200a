"""Programs that a model writes, by command: run only with consent, scored with every problem."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from pipelines.commands.app import app
from pipelines.run.driver import RunOutcome
from tests.trainer.programs.test_problems import HUMANEVAL, write
from trainer.evaluation.programs import sandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs are run on Linux alone")


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_programs_are_written_run_and_scored(tiny: tuple[Path, RunOutcome], tmp_path: Path) -> None:
    run, _ = tiny
    write(tmp_path / "h.jsonl", HUMANEVAL)
    command = [run, "--programs", f"humaneval={tmp_path / 'h.jsonl'}"]
    command += ["--run-programs", "--limit", 1]
    command += ["--samples", 2, "--temperature", 0.8, "--json", "--items"]
    command += [tmp_path / "items.json"]
    found = json.loads(call(*command).output)["scores"]
    assert [(score["task"], score["items"]) for score in found] == [("humaneval", 1)]
    items = json.loads((tmp_path / "items.json").read_text())["scores"]
    assert items[0]["each"][0]["key"] == "Own/0"
    assert 0 <= items[0]["each"][0]["value"] <= 1


def test_nothing_runs_without_consent_or_with_what_cannot_be(
    tiny: tuple[Path, RunOutcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a program was run")

    monkeypatch.setattr(sandbox, "_verdict", never)
    file = f"humaneval={write(tmp_path / 'h.jsonl', HUMANEVAL)}"
    consent = ["--run-programs", "--programs"]
    for arguments, message in (
        (["--programs", file], "--run-programs"),
        ([*consent, "x=y"], "humaneval=FILE"),
        ([*consent, file, "--programs", file], "twice"),
        ([*consent, "humaneval=no-such.jsonl"], "no such file"),
        ([*consent, file, "--pass-at", 2], "--pass-at"),
        ([*consent, file, "--samples", 2], "--samples"),
    ):
        error = call(tiny[0], *arguments).exception
        assert isinstance(error, UserError), (arguments, error)
        assert message in str(error), (arguments, str(error))
