"""The wheel holds all that a user needs, and runs where the repository is not."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

COMMAND = "import sys; from pipelines.launch import main; sys.argv = ['windtunnel', *sys.argv[1:]]; main()"


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the sources, without the network."""
    import shutil

    source = tmp_path_factory.mktemp("source")
    for name in ("artifacts", "dedup", "mixtures", "pipelines", "tokenizer", "trainer"):
        shutil.copytree(root / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source / name)
    target = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        str(target),
        str(source),
    ]
    subprocess.run(build, check=True, capture_output=True)
    return next(target.glob("*.whl"))


def test_every_package_and_data_file_is_in_the_wheel(root: Path, wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    for floor in ("artifacts", "dedup", "mixtures", "pipelines", "tokenizer", "trainer"):
        for path in (root / floor).rglob("*"):
            if path.suffix in {".py", ".j2", ".css", ".yaml", ".jsonl"}:
                assert str(path.relative_to(root)) in held, path
    assert not [name for name in held if name.startswith(("tests", "examples", "benchmarks"))]


def test_an_installed_wheel_writes_a_starter_and_runs_it(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            "--target",
            str(site),
            str(wheel),
        ],
        check=True,
        capture_output=True,
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}
    where = subprocess.run(
        [sys.executable, "-c", "import pipelines; print(pipelines.__file__)"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(site))
    for arguments in (
        ["init", "project"],
        ["run", "project/recipe.yaml", "--workers", "1"],
        ["shards", "verify", "starter"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "starter" / "report.html").stat().st_size > 10_000
