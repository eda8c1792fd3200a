"""Syntax trees of the house's own modules, each parsed once for all tests that read code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from artifacts.floors import FLOORS

ROOT = Path(__file__).resolve().parent.parent


@cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a module. It is shared: nobody may change it."""
    return ast.parse(path.read_text(encoding="utf-8"))


def modules_of_floors(*floors: str) -> Iterator[tuple[str, ast.Module]]:
    """Path from the root and tree of every module of these floors, of all where none is named."""
    for floor in floors or FLOORS:
        for path in sorted((ROOT / floor).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), tree_of(path)
