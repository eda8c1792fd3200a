"""The wheel holds all that a user needs, and runs where the repository is not."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from setuptools import find_packages

from artifacts.floors import FLOORS

COMMAND = "import sys; from pipelines.launch import main; sys.argv = ['windtunnel', *sys.argv[1:]]; main()"


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the sources, without the network."""
    import shutil

    source = tmp_path_factory.mktemp("source")
    for name in (*FLOORS, "windtunnel"):
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
    for floor in (*FLOORS, "windtunnel"):
        for path in (root / floor).rglob("*"):
            if path.suffix in {
                ".py",
                ".typed",
                ".cu",
                ".j2",
                ".css",
                ".yaml",
                ".jsonl",
                ".zst",
                ".txt",
            }:
                assert str(path.relative_to(root)) in held, path
    assert not [name for name in held if name.startswith(("tests", "examples", "benchmarks"))]


def test_a_new_room_needs_no_line(root: Path, tmp_path: Path) -> None:
    """What is packaged is found in the floors, at any depth, and nowhere else."""
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    inside = {"pipelines", "pipelines/near", "pipelines/near/room", "trainer", "trainer/room"}
    for folder in {*inside, "tests", "tests/pipelines", "benchmarks", "pipelines_of_others"}:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "pipelines" / "templates").mkdir()
    found = find_packages(str(tmp_path), include=settings["packages"]["find"]["include"])
    assert {name.replace(".", "/") for name in found} == inside


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_users_type_checker_knows_the_public_names(wheel: Path, tmp_path: Path) -> None:
    """Installed as packages are, not found by a path: there it counts whether they say so."""
    import venv

    venv.create(tmp_path / "venv", with_pip=False)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    (tmp_path / "mine.py").write_text(
        "import windtunnel as wt\n"
        "reveal_type(wt.load_recipe)\n"
        "reveal_type(wt.run)\n"
        "reveal_type(wt.branch)\n"
        "wt.run(3)\n"
    )
    check = ["-m", "mypy", "--python-executable", str(tmp_path / "venv" / "bin" / "python")]
    quiet = [
        "--follow-imports=silent",
        "--ignore-missing-imports",
        "--cache-dir",
        str(tmp_path / "cache"),
    ]
    done = subprocess.run(
        [sys.executable, *check, *quiet, "mine.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "RunOutcome" in done.stdout, done.stdout
    assert "LoadedRecipe" in done.stdout
    assert "Comparison" in done.stdout
    assert 'has incompatible type "int"; expected "LoadedRecipe"' in done.stdout
