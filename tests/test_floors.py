"""The floors: who may import whom, and what trainer and shard reading may rest on."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from artifacts.floors import FLOORS
from pipelines import launch
from tests.source_trees import tree_of

BELOW = {
    "artifacts": set(),
    "dedup": {"artifacts"},
    "tokenizer": {"artifacts"},
    "mixtures": {"artifacts", "dedup", "tokenizer"},
    "trainer": {"artifacts", "dedup", "tokenizer", "mixtures"},
    "pipelines": {"artifacts", "dedup", "tokenizer", "mixtures", "trainer"},
}
RUNS_PROGRAMS = {Path("trainer/evaluation/programs/inside.py")}
"""Runs programs that a model wrote, on request, in a process of their own behind walls."""
HEAVY = ["datatrove", "dask", "distributed", "polars", "fasttext"]


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(tree_of(path)))


@cache
def imported(path: Path) -> set[str]:
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.level:
            found.add("relative import")
    return found


def test_the_floors_are_the_same_wherever_they_are_written(root: Path) -> None:
    """The constant, the launcher's copy, the order above, and what is packaged, typed and
    covered.
    """
    tools = tomllib.loads((root / "pyproject.toml").read_text())["tool"]
    packaged = tools["setuptools"]["packages"]["find"]["include"]
    assert tuple(BELOW) == FLOORS
    assert launch.FLOORS == FLOORS
    packages = [*FLOORS, "windtunnel"]
    assert packaged == [pattern for name in packages for pattern in (name, f"{name}.*")]
    assert tools["mypy"]["packages"] == packages
    assert tools["coverage"]["run"]["source"] == packages
    for number, floor in enumerate(FLOORS):
        assert BELOW[floor] <= set(FLOORS[:number])


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_imports_only_floors_below_it(root: Path, floor: str) -> None:
    files = sorted((root / floor).rglob("*.py"))
    assert files, floor
    for path in files:
        above = imported(path) & (
            set(FLOORS) - BELOW[floor] - {floor} | {"relative import", "tests"}
        )
        assert not above, f"{path.relative_to(root)} imports {sorted(above)}"


@pytest.mark.parametrize(
    "module",
    [
        "tokenizer.shards.reader",
        "tokenizer.shards.record_batch",
        "tokenizer.encode",
        "tokenizer.shards.verify",
        "mixtures",
        "trainer",
    ],
)
def test_shard_reading_and_training_load_no_curation_library(root: Path, module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_command_line_answers_without_loading_the_heavy_libraries(root: Path) -> None:
    code = "import sys, pipelines.commands.app; print([name for name in ('torch', 'numba', 'distributed', 'polars', 'datatrove') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_foreign_package_in_the_place_of_a_floor_is_a_clear_error(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "__init__.py").write_text("")
    code = f"import sys; sys.path.insert(0, {str(root)!r}); sys.path.insert(0, {str(tmp_path)!r}); from pipelines.launch import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "'trainer' would be imported from" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_distribution_that_owns_the_name_of_a_floor_is_named(root: Path, tmp_path: Path) -> None:
    """As after `pip install trainer`: by the command where it hides ours, by the doctor else."""
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "__init__.py").write_text("")
    (tmp_path / "trainer-0.1.dist-info").mkdir()
    (tmp_path / "trainer-0.1.dist-info" / "METADATA").write_text("Name: trainer\nVersion: 0.1\n")
    (tmp_path / "trainer-0.1.dist-info" / "RECORD").write_text("trainer/__init__.py,,\n")
    for first, second in ((tmp_path, root), (root, tmp_path)):
        paths = f"import sys; sys.path[:0] = [{str(first)!r}, {str(second)!r}]; "
        code = paths + "sys.argv[1:] = ['doctor']; from pipelines.launch import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
        )
        assert "pip uninstall trainer" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        if first == tmp_path:
            assert done.returncode == 2


def test_a_floor_that_another_distribution_has_written_over_is_a_clear_error(
    root: Path, tmp_path: Path
) -> None:
    """As after `pip install trainer` into the same folder: the package is where ours has to be."""
    for floor in FLOORS:
        (tmp_path / floor).symlink_to(root / floor)
    (tmp_path / "trainer").unlink()
    shutil.copytree(root / "trainer", tmp_path / "trainer")
    (tmp_path / "trainer" / "__init__.py").write_text("import a_module_that_is_not_there\n")
    (tmp_path / "trainer-0.1.dist-info").mkdir()
    (tmp_path / "trainer-0.1.dist-info" / "METADATA").write_text("Name: trainer\nVersion: 0.1\n")
    (tmp_path / "trainer-0.1.dist-info" / "RECORD").write_text("trainer/__init__.py,,\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import pipelines.launch as launch; "
        "launch.foreign_floors = lambda home: {}; "  # pipelines is a link here, and no trainer
        "sys.argv[1:] = ['schedule', 'show', '{}', '--steps', '1']; launch.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "trainer is also of trainer" in done.stderr
    assert "pip uninstall trainer" in done.stderr
    assert "Traceback" not in done.stderr


RUNS_PROGRAMS = {"trainer/evaluation/programs/inside.py"}
"""What carries out a model's programs, in a process that has nothing but walls around it."""


def test_no_source_uses_pickle_eval_or_names_of_utility_rooms(root: Path) -> None:
    for floor in FLOORS:
        for path in (root / floor).rglob("*.py"):
            assert path.stem not in {"utils", "helpers", "common", "misc"}, path
            assert not imported(path) & {"pickle", "dill", "marshal", "shelve"}, path
            if str(path.relative_to(root)) in RUNS_PROGRAMS:
                continue
            calls = [
                node
                for node in nodes(path)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            ]
            named = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
            if path.relative_to(root) not in RUNS_PROGRAMS:
                assert not named & {"eval", "exec"}, path
