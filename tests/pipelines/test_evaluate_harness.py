"""Benchmarks by lm-evaluation-harness: files as publishers lay them out, by the command's options."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from pipelines.commands.app import app
from pipelines.run.driver import RunOutcome
from pipelines.run.evaluate_harness import asked_of
from trainer.evaluation.harness.run import check_asked

OPTIONS = ["river", "boat", "mill", "road"]
Writer = Callable[[Path, int], None]


def lines(record: Callable[[int], Any]) -> Writer:
    def write(path: Path, count: int) -> None:
        path.write_text("".join(json.dumps(record(number)) + "\n" for number in range(count)))

    return write


def table(header: list[str], record: Callable[[int], list[Any]]) -> Writer:
    def write(path: Path, count: int) -> None:
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerows([header] if header else [])
            rows.writerows(record(number) for number in range(count))

    return write


def bbh(path: Path, count: int) -> None:
    examples = [{"input": f"not {number} is", "target": "False"} for number in range(count)]
    path.write_text(json.dumps({"canary": "…", "examples": examples}))


LAYOUTS: dict[str, tuple[str, Writer]] = {
    "hellaswag": ("hellaswag_val.jsonl", lines(lambda number: {
        "ind": number, "activity_label": "Ice", "ctx_a": f"A man stands by car {number}.", "ctx_b": "he",
        "ctx": "", "endings": OPTIONS, "label": number % 4,
    })),
    "arc_easy": ("ARC-Easy-Test.jsonl", lines(lambda number: {
        "id": f"q{number}", "answerKey": "B",
        "question": {"stem": f"Which is {number}?", "choices": [
            {"text": text, "label": label} for text, label in zip(OPTIONS, "ABCD", strict=True)
        ]},
    })),
    "mmlu": ("anatomy_test.csv", table([], lambda number: [f"What is {number}?", *OPTIONS, "C"])),
    "mmlu_redux": ("all.csv", table(
        ["question", "choices", "groundtruth_answer", "error_type"],
        lambda number: [f"What is {number}?", str(OPTIONS), 2, "ok"],
    )),
    "ceval-valid": ("accountant_val.csv", table(
        ["id", "question", "A", "B", "C", "D", "answer"],
        lambda number: [number, f"第{number}题", *OPTIONS, "D"],
    )),
    "cmmlu": ("agronomy.csv", table(
        ["", "Question", "A", "B", "C", "D", "Answer"],
        lambda number: [number, f"第{number}题", *OPTIONS, "A"],
    )),
    "gsm8k_cot": ("test.jsonl", lines(lambda number: {
        "question": f"What is {number} + 1?", "answer": f"It is {number + 1}.\n#### {number + 1}",
    })),
    "bbh": ("boolean_expressions.json", bbh),
}  # fmt: skip
"""A file of each layout, as its publisher has it."""


@pytest.mark.parametrize("benchmark", LAYOUTS)
def test_publishers_files_are_asked(tmp_path: Path, benchmark: str) -> None:
    name, write = LAYOUTS[benchmark]
    write(tmp_path / name, 3)
    (asked,) = asked_of([f"{benchmark}={tmp_path / name}"], limit=2)
    assert (asked.benchmark, len(asked.questions)) == (benchmark, 2)
    assert asked.named == str(tmp_path / name)
    check_asked([asked])


def test_a_run_is_asked_by_command(tiny: tuple[Path, RunOutcome], tmp_path: Path) -> None:
    for folder, count in (("test", 3), ("dev", 6)):
        (tmp_path / folder).mkdir()
        subject = tmp_path / folder / f"anatomy_{folder}.csv"
        table([], lambda number, part=folder: [f"What {part} {number}?", *OPTIONS, "C"])(  # type: ignore[misc]
            subject, count
        )
    said = [f"mmlu={tmp_path}/test/*.csv", f"mmlu/shots={tmp_path}/dev/*.csv"]
    options = [part for one in said for part in ("--harness", one)]
    result = CliRunner().invoke(app, ["evaluate", str(tiny[0]), *options, "--json"])
    assert result.exit_code == 0, result.output
    (score,) = json.loads(result.stdout)["scores"]
    assert (score["task"], score["measure"], score["items"]) == ("mmlu", "likelihood_accuracy", 3)
    assert score["chance"] == 0.25
    assert "lm-eval" in score["note"]
    shown = CliRunner().invoke(app, ["evaluate", str(tiny[0]), *options, "--limit", "2"])
    assert "likelihood accuracy" in shown.stdout
    assert "2 of 3 items" in shown.stdout


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (["mmlu"], "named with its files"),
        (["mmlu="], "named with its files"),
        (["mmmlu=a.csv"], "no such benchmark"),
        (["gsm8k=missing.jsonl"], "no such file"),
        (["gsm8k/shots=test.jsonl"], "no questions to ask"),
        (["gsm8k=test.jsonl"], "5 solved questions"),
        (["gsm8k=test.jsonl", "gsm8k/shots=test.jsonl"], "among those that are asked"),
        (["hellaswag=test.jsonl"], "activity_label|endings"),
        (["gsm8k_cot=open.jsonl"], "####"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str], error: str
) -> None:
    monkeypatch.chdir(tmp_path)
    LAYOUTS["gsm8k_cot"][1](tmp_path / "test.jsonl", 6)
    (tmp_path / "open.jsonl").write_text('{"question": "What?", "answer": "I do not know."}\n')
    with pytest.raises(UserError, match=error):
        asked_of(said)


def test_without_the_extra_one_line_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LAYOUTS["gsm8k_cot"][1](tmp_path / "test.jsonl", 6)
    monkeypatch.setattr("artifacts.extras.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install 'windtunnel\\[evaluate\\]'"):
        asked_of([f"gsm8k_cot={tmp_path / 'test.jsonl'}"])
    assert asked_of([]) == []
