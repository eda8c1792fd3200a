"""Mistakes in an experiment's file: named with file, line, field and what is allowed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from artifacts.errors import UserError
from pipelines.studies.experiment import load_experiment

ROOT = Path(__file__).resolve().parents[3]
GOOD = """name: mine
recipe: recipe.yaml
study: lr
hypothesis: it is so
stopping: every run is made
design:
  widths: [48, 96]
  peaks: [0.005, 0.01, 0.02]
  tokens: 100_000
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "recipes" / "wind-tunnel.yaml", tmp_path / "recipe.yaml")
    return tmp_path


def refused(folder: Path, text: str, study: str | None = None) -> str:
    path = folder / "e.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_experiment(path, study)
    return str(error.value)


def test_a_sound_file_is_taken(folder: Path) -> None:
    (folder / "e.yaml").write_text(GOOD)
    loaded = load_experiment(folder / "e.yaml", "lr", ("design.tokens=50000",))
    assert loaded.plain()["design"]["tokens"] == 50_000
    assert loaded.recipe.recipe.name == "wind-tunnel"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("study: lr", "study: rates", ["e.yaml:3", "no such kind of experiment", "coordcheck"]),
        ("name: mine", "name: runs", ["e.yaml:1", "taken"]),
        ("name: mine", "name: ../mine", ["e.yaml:1", "name"]),
        ("recipe: recipe.yaml", "recipe: other.yaml", ["e.yaml:2", "no recipe lies there"]),
        ("hypothesis: it is so\n", "", ["hypothesis", "missing"]),
        ("  tokens: 100_000", "  tokens: many", ["e.yaml:9", "design.tokens", "many"]),
        ("  tokens: 100_000", "  tokens: 0", ["e.yaml:9", "design.tokens"]),
        ("  tokens: 100_000", "  tokens: 9\n  token: 9", ["design", "unknown field", "tokens"]),
        ("[48, 96]", "[]", ["e.yaml:7", "design.widths"]),
        ("[48, 96]", "[96, 48]", ["e.yaml:7", "rises", "[48, 96]"]),
        ("[0.005, 0.01, 0.02]", "[-0.005, 0.01, 0.02]", ["e.yaml:8", "design.peaks"]),
        ("study: lr", "study: lr\nmargin: -1", ["margin"]),
        ("study: lr", "study: lr\nprimary: {unit: bits}", ["primary.unit", "bits_per_byte"]),
        ("study: lr", "study: lr\nthreads: 0", ["threads"]),
    ],
)
def test_a_mistake_is_named_with_its_place(
    folder: Path, before: str, after: str, said: list[str]
) -> None:
    assert before in GOOD
    told = refused(folder, GOOD.replace(before, after))
    for part in said:
        assert part in told


def test_a_file_of_another_kind_is_refused_by_the_command(folder: Path) -> None:
    assert "an experiment of another kind" in refused(folder, GOOD, "law")


def test_a_recipe_without_a_mixture_is_refused(folder: Path) -> None:
    text = (folder / "recipe.yaml").read_text()
    (folder / "recipe.yaml").write_text(text[: text.index("mixture:")] + "model: {preset: tiny}\n")
    assert "no mixture to train on" in refused(folder, GOOD)
