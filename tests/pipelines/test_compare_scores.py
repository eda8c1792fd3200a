"""Scores of every item compared by command: both intervals, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from pipelines.commands.app import app
from trainer.evaluation.comparison import checkpoints, recipes
from trainer.evaluation.tasks.scores import Score


def scored(seed: int, better: float = 0.0, items: int = 50, task: str = "quiz") -> list[Score]:
    random = np.random.default_rng(seed)
    keys = tuple(f"{task}/{number}" for number in range(items))
    weights = np.arange(1.0, items + 1)
    bits = 1.0 - better + 0.02 * random.normal() + 0.1 * random.normal(size=items)
    return [
        Score(task, "gold_bits_per_byte", keys, keys, bits, weights),
        Score(task, "cloze_accuracy", keys, keys, (bits < 1.0) * 1.0, np.ones(items), 0.25),
    ]


def write(path: Path, scores: list[Score], *, items: bool = True) -> Path:
    values = {"model": path.stem, "scores": [score.to_json(items=items) for score in scores]}
    path.write_text(json.dumps(values))
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    sides = {"a": 0.2, "b": 0.0}
    return {
        f"{side}{seed}": write(
            tmp_path / f"{side}{seed}.json", scored(seed + 10 * (side == "b"), better)
        )
        for side, better in sides.items()
        for seed in range(3)
    }


def call(a: list[Path], b: list[Path], *options: str) -> Any:
    against = [part for path in b for part in ("--against", str(path))]
    return CliRunner().invoke(app, ["compare-scores", *map(str, a), *against, *options])


def side(files: dict[str, Path], name: str) -> list[Path]:
    return [path for key, path in files.items() if key.startswith(name)]


@pytest.mark.parametrize("paired", [False, True])
def test_both_intervals_are_those_of_the_comparison(files: dict[str, Path], paired: bool) -> None:
    options = ["--json", *(["--paired"] if paired else [])]
    found = json.loads(call(side(files, "a"), side(files, "b"), *options).output)
    assert [row["measure"] for row in found] == ["gold_bits_per_byte", "cloze_accuracy"]
    for number, row in enumerate(found):
        a = [scored(seed, 0.2)[number] for seed in range(3)]
        b = [scored(seed + 10)[number] for seed in range(3)]
        assert row["checkpoints"]["low"] == pytest.approx(checkpoints(a[0], b[0]).low)
        expected = recipes(a, b, paired=paired)
        assert row["recipes"]["high"] == pytest.approx(expected.high)
        assert row["recipes"]["paired"] == paired
        assert row["a"] == pytest.approx(np.mean([score.mean for score in a]))


def test_the_table_names_both_intervals_and_their_questions(files: dict[str, Path]) -> None:
    shown = call(side(files, "a"), side(files, "b")).output
    for text in ("these two checkpoints", "these two recipes", "under other seeds"):
        assert text in " ".join(shown.split())


def test_one_training_a_side_says_that_recipes_cannot_be_told_apart(
    files: dict[str, Path],
) -> None:
    shown = " ".join(call([files["a0"]], [files["b0"], files["b1"]]).output.split())
    assert "these two recipes differ by cannot be said" in shown
    assert json.loads(call([files["a0"]], [files["b0"]], "--json").output)[0]["recipes"] is None


def test_what_cannot_be_compared_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy.json"
    copy.write_bytes(files["a0"].read_bytes())
    torn = tmp_path / "torn.json"
    torn.write_text('{"scores": [')
    missing = scored(1)
    missing[0].values[3] = np.nan
    a0, b0 = files["a0"], files["b0"]
    for a, b, options, message in (
        ([a0, a0], [b0], [], "one file stands for two trainings"),
        ([a0, copy], [b0], [], "one file stands for two trainings"),
        ([a0], [write(tmp_path / "other", scored(1, task="exam"))], [], "different tasks"),
        ([a0], [write(tmp_path / "few", scored(1, items=40))], [], "10 that only one of two has"),
        ([a0], [write(tmp_path / "plain", scored(1), items=False)], [], "score of every item"),
        ([a0], [write(tmp_path / "none", [])], [], "no scores"),
        ([a0], [write(tmp_path / "nan", missing)], [], "not a number"),
        ([a0], [torn], [], "score of every item"),
        ([a0], [tmp_path / "no-such.json"], [], "cannot read"),
        ([a0], [b0, files["b1"]], ["--paired"], "--paired"),
    ):
        error = call(a, b, *options).exception
        assert isinstance(error, UserError), (a, b, error)
        assert message in str(error), str(error)
