"""Benchmarks by command: what is shown, what programs get, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from pipelines.commands.app import app
from pipelines.run.driver import RunOutcome
from pipelines.run.evaluate import evaluate


def windtunnel(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return result.output


def lines(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture
def files(tmp_path: Path) -> Path:
    names = ["river", "boat", "mill", "web"]
    lines(
        tmp_path / "sums.jsonl",
        *(
            {"question": f"{one} and {one} {two}?", "answer": "two\n#### 2"}
            for one in names
            for two in names
        ),
    )
    for subject in ("law", "anatomy"):
        rows = [f"What is a {one}?,{','.join(names)},{'ABCD'[n]}" for n, one in enumerate(names)]
        (tmp_path / f"{subject}_test.csv").write_text("\n".join(rows))
    return tmp_path


def test_scores_stand_beside_the_losses(tiny: tuple[Path, RunOutcome], files: Path) -> None:
    run, _ = tiny
    tasks = ["--task", files / "sums.jsonl", "--task", f"mmlu={files}/*_test.csv"]
    items = files / "items.json"
    found = json.loads(windtunnel("evaluate", run, *tasks, "--items", items, "--json"))
    assert [row["kind"] for row in found["rows"]] == ["held-out"] * len(found["rows"])
    assert found["rows"]
    sums, gold, cloze = found["scores"]
    assert (sums["task"], sums["measure"], sums["items"]) == ("sums", "gold_bits_per_byte", 16)
    assert (gold["task"], gold["measure"], gold["items"]) == ("mmlu", "gold_bits_per_byte", 8)
    assert (cloze["measure"], cloze["chance"]) == ("cloze_accuracy", 0.25)
    assert cloze["above_chance"] == pytest.approx((cloze["mean"] - 0.25) / 0.75)
    assert 0 < sums["standard_error"] < sums["half_width"]
    assert "each" not in sums

    written = json.loads(items.read_text())
    each = written["scores"][1].pop("each")
    assert {name: written["scores"][1][name] for name in gold} == gold
    assert [one["key"] for one in each] == [
        f"{subject}_test#{number}" for subject in ("anatomy", "law") for number in range(4)
    ]
    bits = sum(one["value"] * one["weight"] for one in each)
    assert gold["mean"] == pytest.approx(bits / sum(one["weight"] for one in each))

    shown = windtunnel("evaluate", run, *tasks, "--limit", 4)
    assert "cloze accuracy" in shown
    assert "4 of 8 items, evenly spread" in shown
    assert "choose letters by chance" in " ".join(shown.split())


def test_an_export_reaches_what_its_checkpoint_does(
    tiny: tuple[Path, RunOutcome], files: Path
) -> None:
    run, _ = tiny
    windtunnel("export", run, files / "model", "--to", "llama")
    tasks = [f"{files}/*_test.csv"]
    own = evaluate("runs", str(run), tasks=tasks)
    theirs = evaluate("runs", str(files / "model"), tasks=tasks)
    assert theirs.rows == ()
    for one, other in zip(own.scores, theirs.scores, strict=True):
        assert one.keys == other.keys
        if one.chance is None:
            assert one.values == pytest.approx(other.values, rel=1e-4)


def test_mistakes_are_said_before_anything_is_measured(
    tiny: tuple[Path, RunOutcome], files: Path
) -> None:
    run, _ = tiny
    lines(files / "broken.jsonl", {"question": "Q", "answer": "7"})
    (files / "there").mkdir()
    (files / "there" / "sums.jsonl").write_bytes((files / "sums.jsonl").read_bytes())
    sums = files / "sums.jsonl"
    for arguments, message in (
        (["--task", files / "none.jsonl"], "no such file"),
        (["--task", files / "*.none"], "no such file"),
        (["--task", files], "name its files with a glob"),
        (["--task", f"gsm9k={sums}"], "nearest: gsm8k"),
        (["--task", f"mmlu={sums}"], "the record has no A"),
        (["--task", files / "broken.jsonl"], "broken.jsonl:1"),
        (["--task", sums, "--task", files / "there" / "sums.jsonl"], "two tasks have one name"),
        (["--limit", 3], "--task"),
        (["--items", files / "items.json"], "--task"),
        (["--task", sums, "--items", files], "a folder, not a file"),
        (["--task", sums, "--items", files / "no" / "items.json"], "no such folder"),
    ):
        call = ["evaluate", str(run), *(str(argument) for argument in arguments)]
        error = CliRunner().invoke(app, call).exception
        assert isinstance(error, UserError), (call, error)
        assert message in str(error), (call, str(error))
    assert not (files / "items.json").exists()


def test_a_file_whose_name_holds_a_sign_of_equality_is_a_file(
    tiny: tuple[Path, RunOutcome], files: Path
) -> None:
    run, _ = tiny
    lines(files / "a=b.jsonl", {"question": "Q?", "answer": "#### 7"})
    (score,) = evaluate("runs", str(run), tasks=[str(files / "a=b.jsonl")]).scores
    assert (score.task, score.half_width) == ("a=b", None)
