"""What tests of every floor share: the repository's root, kernels interpreted, and a property
profile without deadlines.
"""

from __future__ import annotations

import os
from pathlib import Path

# read where a kernel is defined, so before anything imports trainer.kernels
os.environ["TRITON_INTERPRET"] = "1"

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
LONG_RUNS = {"tiny", "sample_corpus"}  # fixtures

settings.register_profile(
    "windtunnel",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    derandomize=True,
)
settings.load_profile("windtunnel")


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as a law what hypothesis drives, and as slow what looks at a long run.

    ``make test-fast`` leaves both out.
    """
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.law)
        if LONG_RUNS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the starter recipe and its finished run, where the documents' examples run."""
    from pipelines.recipe.load import load_recipe
    from pipelines.run.driver import run_recipe
    from pipelines.starter.write import write_starter

    folder = tmp_path_factory.mktemp("workshop")
    write_starter(folder)
    run_recipe(load_recipe(folder / "recipe.yaml"), str(folder / "runs"))
    return folder
