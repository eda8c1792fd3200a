"""Runs that several test files look at, made once a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.recipe.load import load_recipe
from pipelines.run.driver import RunOutcome, run_recipe
from tests.pipelines.report_corpus import run, write_corpus


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
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on a local S3 server; fsspec finds it through the environment."""
    import boto3
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="windtunnel")
    s3fs.S3FileSystem.clear_instance_cache()
    yield "s3://windtunnel"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()
