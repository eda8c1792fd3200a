"""Every package opens with one screen: a drawing, the names one needs, and an example that runs."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from pathlib import Path

import pytest

from tests.source_trees import tree_of

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ["artifacts", "dedup", "tokenizer", "mixtures", "trainer", "pipelines"]
PACKAGES = [
    ".".join(path.parent.relative_to(ROOT).parts)
    for floor in FLOORS
    for path in sorted((ROOT / floor).rglob("__init__.py"))
]
SCREEN = 45  # lines


def docstring(package: str) -> str:
    path = ROOT / package.replace(".", "/") / "__init__.py"
    return ast.get_docstring(tree_of(path)) or ""


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_opens_with_a_drawing_and_an_example_on_one_screen(package: str) -> None:
    lines = docstring(package).splitlines()
    assert len(lines[0]) <= 100
    assert lines[0].endswith(".")
    assert len(lines) <= SCREEN
    assert any(
        line.startswith("    ") and re.search("[─▶⇄]|\\w {3,}\\w", line) for line in lines
    ), "no drawing"
    assert any(line.startswith(">>> ") for line in lines), "no example"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_example_of_a_package_runs(
    package: str, trained_workshop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained_workshop)
    module = importlib.import_module(package)
    example = doctest.DocTestParser().get_doctest(
        module.__doc__ or "", {}, package, str(module.__file__), 0
    )
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    result = runner.run(example, out=report.append)
    assert result.attempted > 1
    assert result.failed == 0, "".join(report)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_names_is_there(package: str) -> None:
    """Cross-references in the docstring of a package lead to a module, or a name in one."""
    for target in references(docstring(package)):
        if find_module(target) is None:
            home, _, name = target.rpartition(".")
            module = find_module(home)
            assert hasattr(module, name), target


def references(text: str) -> list[str]:
    return re.findall(r":(?:mod|func|class|data):`~?([\w.]+\.[\w.]+)`", text)


def find_module(name: str) -> object | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None
