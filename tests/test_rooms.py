"""The rooms inside the floors: who may import whom, no circles, and how long a file and a function
may be.
"""

from __future__ import annotations

import ast
import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.source_trees import tree_of

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ["artifacts", "dedup", "tokenizer", "mixtures", "trainer", "pipelines"]

Step = tuple[str, ...]

ORDERS: dict[str, list[Step]] = {
    "mixtures": [
        ("sequences",),
        ("spec",),
        ("plan",),
        ("order", "parts"),
        ("loader", "freeze"),
        ("inspect",),
    ],
    "trainer": [
        ("shapes", "devices"),
        ("kernels", "costs"),
        ("model",),
        ("optimizer", "objectives"),
        ("checkpoints", "generation"),
        ("export",),
        ("evaluation",),
        ("probes",),
        ("loop",),
        ("experiments",),
    ],
    "pipelines": [
        ("readers", "signals", "executors", "starter"),
        ("corpus",),
        ("stages",),
        ("chunks", "comparisons", "shards"),
        ("recipe", "writers", "report"),
        ("training",),
        ("evaluation",),
        ("run",),
        ("deduplicate", "datatrove", "studies"),
        ("commands",),
        ("launch",),
    ],
}
"""Rooms of a floor in steps, lowest first. A room imports rooms of lower steps, and itself."""

INNER_ORDERS: dict[str, list[Step]] = {
    "pipelines.readers": [("streams", "rows"), ("jsonl", "parquet", "pages"), ("archives",)],
}
"""Rooms within a room, likewise; the modules beside them are under and over them."""

ROOTS: dict[str, set[str]] = {
    "mixtures": {"__init__.py"},
    "trainer": {"__init__.py"},
    "pipelines": {"__init__.py", "launch.py"},
}
"""Modules that stand beside the rooms of a floor."""

INTERFACES = {
    "pipelines.executors",
    "pipelines.readers",
    "pipelines.stages",
    "trainer.model",
}
"""Rooms that may import in their ``__init__``, since it is what others see of them."""

TORCH_ALONE = ("shapes", "devices", "kernels", "model")
"""Rooms of the trainer that run where nothing is installed but torch, triton and numpy."""

LONGEST_FILE = 400
LONGEST_FUNCTION = 60

LONG_FILES: dict[str, str] = {}
"""Files that may be longer, each with the reason."""

LONG_FUNCTIONS: dict[str, str] = {
    "mixtures.loader.fill.fill_batch": "a hot kernel, measured 4 to 5 % slower in five kernels",
    "pipelines.signals.gopher._count_document": "a hot kernel of one pass over the text's bytes",
}
"""Functions that may be longer, each with the reason."""


@cache
def modules() -> dict[str, Path]:
    """Every module of the house by its dotted name; a package is its ``__init__``."""
    named = {}
    for floor in FLOORS:
        for path in sorted((ROOT / floor).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


@cache
def tree(module: str) -> ast.Module:
    return tree_of(modules()[module])


@cache
def imports(module: str) -> dict[str, int]:
    """Modules of the house that a module imports, and the line."""
    return {name: line for name, line in all_imports(module).items() if name in modules()}


@cache
def all_imports(module: str) -> dict[str, int]:
    """What a module imports, lazily and for types included, and the line."""
    lines: dict[str, int] = {}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in modules() else node.module for name in whole]
        else:
            continue
        for name in names:
            if name != module:
                lines.setdefault(name, node.lineno)
    return lines


def room_of(module: str, floor: str) -> str | None:
    """The room, or the module beside the rooms; none for other floors and the floor itself."""
    top, _, rest = module.partition(".")
    return rest.split(".")[0] if top == floor and rest else None


def test_the_table_of_steps_names_every_room_once() -> None:
    for floor, steps in ORDERS.items():
        rooms = sorted(room for step in steps for room in step)
        packages = {path.parent.name for path in (ROOT / floor).glob("*/__init__.py")}
        beside = {name.removesuffix(".py") for name in ROOTS[floor] - {"__init__.py"}}
        assert rooms == sorted(packages | beside), floor


@pytest.mark.parametrize("floor", ORDERS)
def test_a_room_imports_only_rooms_of_lower_steps(floor: str) -> None:
    step_of = {room: number for number, step in enumerate(ORDERS[floor]) for room in step}
    backwards = []
    for module in modules():
        room = room_of(module, floor)
        for target, line in imports(module).items():
            below = room_of(target, floor)
            if room is None or below in (None, room):
                continue
            if step_of.get(below, 99) >= step_of.get(room, 99):
                backwards.append(f"{module}:{line} imports {target}")
    assert backwards == []


@pytest.mark.parametrize("room", INNER_ORDERS)
def test_a_room_within_a_room_imports_only_those_of_lower_steps(room: str) -> None:
    order = INNER_ORDERS[room]
    folder = ROOT.joinpath(*room.split("."))
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    assert {name for step in order for name in step} == packages
    step_of = {name: number for number, step in enumerate(order) for name in step}
    prefix = f"{room}."
    backwards = []
    for module in modules():
        inner = module.removeprefix(prefix).split(".")[0]
        if not module.startswith(prefix) or inner not in step_of:
            continue
        for target, line in imports(module).items():
            below = target.removeprefix(prefix).split(".")[0]
            inside = target.startswith(prefix) and below in step_of and below != inner
            if inside and step_of[below] >= step_of[inner]:
                backwards.append(f"{module}:{line} imports {target}")
    assert backwards == []


@pytest.mark.parametrize("floor", ROOTS)
def test_the_root_of_a_floor_holds_rooms_and_the_modules_named_beside_them(floor: str) -> None:
    assert {path.name for path in (ROOT / floor).glob("*.py")} == ROOTS[floor]
    for folder in (ROOT / floor).iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            assert (folder / "__init__.py").exists(), folder


def test_only_rooms_that_are_an_interface_import_in_their_init() -> None:
    importing = {
        module
        for module, path in modules().items()
        if path.name == "__init__.py" and imports(module)
    }
    assert importing <= INTERFACES


@pytest.mark.parametrize("room", TORCH_ALONE)
def test_rooms_under_the_training_loop_need_torch_triton_and_numpy_alone(room: str) -> None:
    inside = {f"trainer.{name}" for name in TORCH_ALONE}
    allowed = {"torch", "triton", "numpy", "artifacts", *sys.stdlib_module_names}
    foreign = [
        f"{module}:{line} imports {target}"
        for module in modules()
        if room_of(module, "trainer") == room
        for target, line in all_imports(module).items()
        if target.split(".")[0] not in allowed and ".".join(target.split(".")[:2]) not in inside
    ]
    assert foreign == []


def circles(arrows: Mapping[str, Iterable[str]]) -> Iterator[list[str]]:
    """Groups of modules that import one another, by Tarjan's algorithm without recursion."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    for start in arrows:
        if start in number:
            continue
        number[start] = lowest[start] = len(number)
        path.append(start)
        walk = [(start, iter(arrows[start]))]
        while walk:
            module, targets = walk[-1]
            for target in targets:
                if target not in number:
                    number[target] = lowest[target] = len(number)
                    path.append(target)
                    walk.append((target, iter(arrows[target])))
                    break
                if target in path:
                    lowest[module] = min(lowest[module], number[target])
            else:
                walk.pop()
                if walk:
                    above = walk[-1][0]
                    lowest[above] = min(lowest[above], lowest[module])
                if lowest[module] == number[module]:
                    at = path.index(module)
                    if len(path) > at + 1:
                        yield sorted(path[at:])
                    del path[at:]


def test_circles_are_found_wherever_they_are_entered() -> None:
    arrows = {"a": "b", "b": "cd", "c": "d", "d": "ce", "e": "f", "f": "g", "g": "e", "h": "ad"}
    for names in itertools.permutations("abdh"):
        ordered = {name: arrows[name] for name in dict.fromkeys([*names, *arrows])}
        assert sorted(circles(ordered)) == [["c", "d"], ["e", "f", "g"]]


def test_no_modules_import_one_another_in_a_circle() -> None:
    assert list(circles({module: imports(module) for module in modules()})) == []


def test_no_file_is_longer_than_a_reader_takes_in() -> None:
    lengths = {
        module: len(path.read_text(encoding="utf-8").splitlines())
        for module, path in modules().items()
    }
    long = {module for module, length in lengths.items() if length > LONGEST_FILE}
    assert long == set(LONG_FILES), {module: lengths[module] for module in long}


def functions() -> Iterator[tuple[str, int]]:
    """Every function of the house, methods and inner ones too, and its length without decorators."""
    for module in modules():
        pending: list[tuple[str, ast.AST]] = [(module, tree(module))]
        while pending:
            name, node = pending.pop()
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    inner = f"{name}.{child.name}"
                    pending.append((inner, child))
                    if not isinstance(child, ast.ClassDef) and child.end_lineno is not None:
                        yield inner, child.end_lineno - child.lineno + 1
                else:
                    pending.append((name, child))


def test_no_function_is_longer_than_a_screen() -> None:
    long = {name: length for name, length in functions() if length > LONGEST_FUNCTION}
    assert set(long) == set(LONG_FUNCTIONS), long
