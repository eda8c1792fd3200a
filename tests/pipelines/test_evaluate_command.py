"""Bits per byte by command: of a run, of its branch, of an export, on texts of any files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import zstandard
from typer.testing import CliRunner

from artifacts.errors import UserError
from pipelines.commands.app import app
from pipelines.run.driver import RunOutcome
from pipelines.run.evaluate import evaluate

TEXTS = ["A website of the government.", "Tom has 3 apples.", "春江潮水连海平"]


def windtunnel(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return result.output


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rows = "".join(json.dumps({"body": text}) + "\n" for text in [*TEXTS, None])
    (tmp_path / "rows.jsonl.zst").write_bytes(zstandard.compress(rows.encode()))
    (tmp_path / "lines.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    return tmp_path


def test_a_run_is_measured_on_its_held_out_documents_and_on_texts(
    tiny: tuple[Path, RunOutcome], files: Path
) -> None:
    run, outcome = tiny
    found = json.loads(
        windtunnel(
            "evaluate", run, "--texts", files / "rows.jsonl.zst", "--text-field", "body", "--json"
        )
    )
    rows = {row["name"]: row for row in found["rows"]}
    last = outcome.record["training"]
    recorded = json.loads(
        (run / last["folder"] / "metrics/validation.jsonl").read_text().splitlines()[-1]
    )
    for name, loss in recorded["sources"].items():
        if loss["bits_per_byte"] is not None and name in rows:
            assert rows[name]["bits_per_byte"] == pytest.approx(loss["bits_per_byte"], rel=1e-5)
    assert any(row["kind"] == "held-out" for row in found["rows"])
    texts = rows["rows.jsonl.zst"]
    assert (texts["texts"], texts["unreadable"]) == (3, 1)
    assert texts["bytes"] == sum(len(text.encode()) for text in TEXTS)
    assert texts["bits_per_byte"] > 0
    shown = windtunnel("evaluate", run, "--texts", files / "lines.txt")
    assert "bits per byte" in shown
    assert "lines.txt" in shown


def test_an_export_has_the_losses_of_its_checkpoint(
    tiny: tuple[Path, RunOutcome], files: Path
) -> None:
    run, _ = tiny
    windtunnel("export", run, files / "model", "--to", "llama")
    texts = [str(files / "lines.txt")]
    own = evaluate("runs", str(run), texts=texts)
    theirs = evaluate("runs", str(files / "model"), texts=texts)
    assert [row.kind for row in theirs.rows] == ["texts"]
    assert theirs.rows[-1].losses.whole.nats == pytest.approx(
        own.rows[-1].losses.whole.nats, rel=1e-4
    )
    assert theirs.window == own.window


def test_what_cannot_be_measured_is_said(tiny: tuple[Path, RunOutcome], files: Path) -> None:
    run, _ = tiny
    windtunnel("export", run, files / "model")
    for arguments, message in (
        ([files / "model"], "nothing to measure"),
        ([files / "model", "--branch", "x"], "no branches"),
        ([run, "--branch", "no-such"], "no such branch"),
        ([run, "--texts", files / "no-such.txt"], "--texts"),
        ([run, "--texts", files / "rows.jsonl.zst"], "text"),
        ([files / "nothing"], "no such run"),
    ):
        call = ["evaluate", *(str(argument) for argument in arguments)]
        error = CliRunner().invoke(app, call).exception
        assert isinstance(error, UserError), (call, error)
        assert message in str(error), (call, str(error))
