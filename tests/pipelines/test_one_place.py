"""Who is kept, and how rows are dropped, is said in one place."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.source_trees import modules_of_floors

SELECTION = "corpus/selection.py"


def modules() -> Iterator[tuple[str, ast.Module]]:
    for name, tree in modules_of_floors("pipelines"):
        yield name.removeprefix("pipelines/"), tree


def called(node: ast.Call) -> str:
    """Last name of what is called."""
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


@pytest.mark.parametrize("name", ["kept_mask", "drop"])
def test_who_is_kept_and_dropping_have_one_definition(name: str) -> None:
    homes = [
        module
        for module, tree in modules()
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.strip("_") == name
    ]
    assert homes == [SELECTION]


def test_nobody_else_reads_who_is_kept_from_a_chunks_selection() -> None:
    found = []
    for module, tree in modules():
        for call in calls(tree):
            if module == SELECTION or called(call) not in ("read_parquet", "iter_parquet"):
                continue
            values = [
                argument.value for argument in call.args if isinstance(argument, ast.Constant)
            ]
            if "selection" not in values:
                continue
            columns = [
                entry.value
                for argument in (*call.args, *(keyword.value for keyword in call.keywords))
                if isinstance(argument, ast.List | ast.Tuple)
                for entry in argument.elts
                if isinstance(entry, ast.Constant)
            ]
            if not columns or "kept" in columns:
                found.append(f"{module}:{call.lineno}")
    assert found == []


def test_nobody_else_makes_a_selection() -> None:
    found = [
        f"{module}:{call.lineno}"
        for module, tree in modules()
        for call in calls(tree)
        if module != SELECTION and called(call) in ("table", "from_arrays", "from_batches")
        for keyword in call.keywords
        if isinstance(keyword.value, ast.Name) and keyword.value.id == "SELECTION"
    ]
    assert found == []


def test_a_chunks_records_have_one_definition() -> None:
    homes = [
        module
        for module, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and "was not read" in ast.unparse(node)
    ]
    assert homes == ["corpus/chunk.py"]
