"""What tests of experiments share: shards of a small recipe, and files of experiments on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TRAINED
from tests.pipelines.studies.endings import EndingsDesign, write_experiment
from trainer.experiments.designs.catalogue import DESIGNS

RECIPE = "recipe.yaml"


@pytest.fixture
def endings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind of experiment whose runs end in several ways."""
    monkeypatch.setitem(DESIGNS, EndingsDesign.kind, EndingsDesign)


@pytest.fixture
def bench(trained_workshop: Path, tmp_path: Path) -> Path:
    """A folder with the recipe and its run, whose shards are there; made for one test."""
    folder = tmp_path / "bench"
    folder.mkdir()
    shutil.copytree(trained_workshop, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture
def written(bench: Path) -> Callable[..., Path]:
    """Writes the file of an experiment on the recipe."""

    def write(study: str, design: dict[str, object], **changes: object) -> Path:
        return write_experiment(bench, study, design, **{"set": TRAINED, **changes})

    return write
