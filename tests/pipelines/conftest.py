"""Runs that several test files look at, made once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.recipe.load import load_recipe
from pipelines.run.driver import RunOutcome, run_recipe


@pytest.fixture(scope="session")
def tiny(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunOutcome]:
    """recipes/tiny.yaml, undisturbed, in this process: (run folder, outcome). Nobody may change
    it.
    """
    runs = tmp_path_factory.mktemp("tiny")
    outcome = run_recipe(load_recipe(root / "recipes" / "tiny.yaml"), str(runs))
    return runs / "tiny", outcome


@pytest.fixture
def starter(root: Path, tmp_path: Path) -> Path:
    """A fresh copy of the starter corpus with its recipe; returns the recipe's path."""
    from pipelines.starter.write import write_starter

    write_starter(tmp_path / "starter")
    return tmp_path / "starter" / "recipe.yaml"
