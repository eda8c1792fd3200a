"""What tests of every floor share: the repository's root, kernels interpreted, and a property
profile without deadlines.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

# read where a kernel is defined, so before anything imports trainer.kernels
os.environ["TRITON_INTERPRET"] = "1"

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
LONG_RUNS = {"tiny", "sample_corpus"}  # fixtures
TRAINED = [
    "name=trained",
    "corpus.stages=[newlines]",
    "shards={hold_out: 0.1}",
    "tokenizer={vocab_size: 512, sample: {web: 1}, sample_mib: 1}",
    "mixture={phases: [{name: stable, tokens: 4096, weights: {web: 1}}, {name: decay, decay: true,"
    " tokens: 2048, weights: {web: 0.5, instructions: 0.5}}]}",
    "model={preset: tiny, width: 64, layers: 1, heads: 2, kv_heads: 1, head_dim: 32, ff: 128, dim_model_base: 64}",
    "train={sequence_length: 64, batch_tokens: 512, checkpoint_every: 4, threads: 1,"
    " tensorboard: false, schedule: {kind: wsd, peak: 0.01, warmup: 2}}",
]

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


@pytest.fixture(scope="session")
def trained_workshop(workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workshop that also has a run ``trained``, of a recipe with a mixture."""
    from pipelines.recipe.load import load_recipe
    from pipelines.run.driver import run_recipe

    copy = tmp_path_factory.mktemp("trained") / "workshop"
    shutil.copytree(workshop, copy)
    run_recipe(load_recipe(copy / "recipe.yaml", TRAINED), str(copy / "runs"))
    return copy
