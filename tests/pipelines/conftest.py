"""Runs that several test files look at, made once a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.recipe.load import load_recipe
from pipelines.run.driver import RunOutcome, run_recipe
from tests.pipelines.report_corpus import run, write_corpus
from tests.s3_server import s3_bucket


@pytest.fixture(scope="session")
def tiny(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunOutcome]:
    """recipes/tiny.yaml, undisturbed, in this process: (run folder, outcome). Nobody may change
    it.
    """
    runs = tmp_path_factory.mktemp("tiny")
    outcome = run_recipe(load_recipe(root / "recipes" / "tiny.yaml"), str(runs))
    return runs / "tiny", outcome


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunOutcome]:
    """The recipe of the small hostile corpus, and its run to the shards. Nobody may change it but
    its report.
    """
    recipe = write_corpus(tmp_path_factory.mktemp("corpus"))
    return recipe, run(recipe, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def starter(root: Path, tmp_path: Path) -> Path:
    """A fresh copy of the starter corpus with its recipe; returns the recipe's path."""
    from pipelines.starter.write import write_starter

    write_starter(tmp_path / "starter")
    return tmp_path / "starter" / "recipe.yaml"


@pytest.fixture
def s3() -> Iterator[str]:
    """An empty bucket on a local S3 server."""
    with s3_bucket("windtunnel") as bucket:
        yield bucket
