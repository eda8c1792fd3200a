"""One import name: every public name is its home's, and importing it loads nothing."""

from __future__ import annotations

import ast
import pickle
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import windtunnel
from artifacts.floors import FLOORS


@pytest.mark.parametrize("name", windtunnel.__all__)
def test_a_name_is_that_of_its_home_and_documented(name: str) -> None:
    module, symbol = windtunnel.HOMES[name].rsplit(".", 1)
    found = getattr(windtunnel, name)
    assert found is getattr(import_module(module), symbol)
    assert found.__doc__


def test_what_is_typed_is_what_is_imported(root: Path) -> None:
    tree = ast.parse((root / "windtunnel" / "__init__.py").read_text())
    typed = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == windtunnel.HOMES
    assert sorted(windtunnel.HOMES) == windtunnel.__all__
    shown = [name for name in dir(windtunnel) if not name.startswith("__")]
    assert shown == sorted(["HOMES", *windtunnel.__all__])
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert functions == ["__getattr__", "__dir__"]


def test_every_package_tells_type_checkers_that_it_is_typed(root: Path) -> None:
    """The facade's names have the types of their homes."""
    for name in (*FLOORS, "windtunnel"):
        assert (root / name / "py.typed").is_file()


def test_no_floor_knows_the_facade(root: Path) -> None:
    for floor in FLOORS:
        for path in (root / floor).rglob("*.py"):
            lines = path.read_text(encoding="utf-8").splitlines()
            assert not [line for line in lines if line.startswith(("import windtunnel", "from windtunnel"))], path  # fmt: skip


def test_importing_it_loads_nothing_else() -> None:
    code = "import sys, windtunnel; windtunnel.UserError; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"windtunnel", "artifacts"} <= loaded
    assert not loaded & {"torch", "numpy", "pyarrow", "numba", "pipelines", "trainer", "mixtures"}


def test_another_name_is_no_attribute_and_the_nearest_is_suggested() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Trainer'"):
        windtunnel.Trainer  # noqa: B018
    code = "import windtunnel; windtunnel.lod_recipe"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Did you mean: 'load_recipe'?" in done.stderr


def test_a_name_whose_extra_is_not_installed_names_it() -> None:
    code = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
import windtunnel as wt
wt.load_recipe
try:
    wt.train
except wt.UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "needs the extra 'train'" in done.stdout
    assert "pip install 'windtunnel[train]'" in done.stdout


def test_its_names_are_pickled_as_those_of_their_homes() -> None:
    for name in windtunnel.__all__:
        found = getattr(windtunnel, name)
        assert pickle.loads(pickle.dumps(found)) is found
