"""The rooms inside the floors: who may import whom, and no circles."""

from __future__ import annotations

import ast
import graphlib
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

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
        ("checkpoints",),
        ("evaluation",),
        ("loop",),
    ],
}
"""Rooms of a floor in steps, lowest first. A room imports rooms of lower steps, and itself."""

TORCH_ALONE = ("shapes", "devices", "kernels", "model")
"""Rooms of the trainer that run where nothing is installed but torch, triton and numpy."""


@cache
def modules() -> dict[str, Path]:
    """Every module of the floors by its dotted name; a package is its ``__init__``."""
    named = {}
    for floor in ORDERS:
        for path in sorted((ROOT / floor).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


@cache
def imports(module: str) -> dict[str, int]:
    """What a module imports, lazily and for types included, and the line."""
    lines: dict[str, int] = {}
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
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
    """The room a module lies in; none for other floors and the floor itself."""
    top, _, rest = module.partition(".")
    return rest.split(".")[0] if top == floor and rest else None


def backwards(floor: str) -> list[str]:
    """Imports from a room of the same or a higher step."""
    step_of = {room: number for number, step in enumerate(ORDERS[floor]) for room in step}
    found = []
    for module in modules():
        room = room_of(module, floor)
        for target, line in imports(module).items():
            below = room_of(target, floor)
            if room is not None and below not in (None, room) and step_of[below] >= step_of[room]:
                found.append(f"{module}:{line} imports {target}")
    return found


def circle(floor: str) -> list[str]:
    """Modules of a floor that import one another; empty when there are none."""
    arrows = {
        module: [target for target in imports(module) if target.split(".")[0] == floor]
        for module in modules()
        if module.split(".")[0] == floor
    }
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def rooms(floor: str) -> list[str]:
    return sorted(path.parent.name for path in (ROOT / floor).glob("*/__init__.py"))


def test_trainer_rooms_import_only_rooms_of_lower_steps() -> None:
    assert rooms("trainer") == sorted(room for step in ORDERS["trainer"] for room in step)
    assert backwards("trainer") == []


def test_trainer_modules_import_one_another_in_no_circle() -> None:
    assert circle("trainer") == []


@pytest.mark.parametrize("room", TORCH_ALONE)
def test_trainer_rooms_under_the_loop_need_torch_triton_and_numpy_alone(room: str) -> None:
    inside = {f"trainer.{name}" for name in TORCH_ALONE}
    allowed = {"torch", "triton", "numpy", "artifacts", *sys.stdlib_module_names}
    foreign = [
        f"{module}:{line} imports {target}"
        for module in modules()
        if room_of(module, "trainer") == room
        for target, line in imports(module).items()
        if target.split(".")[0] not in allowed and ".".join(target.split(".")[:2]) not in inside
    ]
    assert foreign == []


def test_mixtures_rooms_import_only_rooms_of_lower_steps() -> None:
    assert rooms("mixtures") == sorted(room for step in ORDERS["mixtures"] for room in step)
    assert backwards("mixtures") == []


def test_mixtures_modules_import_one_another_in_no_circle() -> None:
    assert circle("mixtures") == []
