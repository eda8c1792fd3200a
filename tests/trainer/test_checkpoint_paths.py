"""Where checkpoints lie is written in one place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.source_trees import tree_of
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import run
from trainer.checkpoints import paths
from trainer.checkpoints.paths import EXAMPLE, STATES, folder_name, state_name, step_of

ROOT = Path(__file__).resolve().parent.parent.parent


def texts(tree: ast.AST) -> Iterator[tuple[int, str, bool]]:
    """Line and value of every string but docstrings, and whether it is given a name."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    named = {node.value for node in ast.walk(tree) if isinstance(node, ast.Assign)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node not in docstrings
        ):
            yield node.lineno, node.value, node in named


def places(root: Path) -> list[str]:
    """Strings that say where a checkpoint lies, by file and line."""
    return [
        f"{path.relative_to(root)}:{line}: {text}"
        for floor in ("artifacts", "mixtures", "trainer", "pipelines")
        for path in sorted((root / floor).rglob("*.py"))
        for line, text, named in texts(tree_of(path))
        if "step-" in text or "checkpoints/" in text or (named and text == "checkpoints")
    ]


def test_the_folder_of_a_checkpoint_is_written_in_one_module() -> None:
    own = Path(paths.__file__).relative_to(ROOT).as_posix()
    found = places(ROOT)
    assert [place.split(": ")[1] for place in found] == ["checkpoints", "step-"]
    assert all(place.startswith(f"{own}:") for place in found), found


@pytest.mark.parametrize(
    "code",
    [
        'NAME = "checkpoints"',
        'file = f"{folder}/checkpoints/{name}"',
        'name = f"step-{step:08d}"',
        'number = name.removeprefix("step-")',
    ],
)
def test_another_place_that_spells_the_folder_is_found(tmp_path: Path, code: str) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "one.py").write_text(f'"""checkpoints/step-…"""\n\n{code}\n')
    assert [place.split(": ")[0] for place in places(tmp_path)] == ["pipelines/one.py:3"]


def test_names_and_steps_are_inverse() -> None:
    for step in (0, 7, 12_345_678, 1_234_567_890):
        assert step_of(state_name(step)) == step_of(f"runs/x/{state_name(step)}") == step
        assert state_name(step) == f"{folder_name(step)}/state.json"
    assert folder_name(100) == "checkpoints/step-00000100"
    assert EXAMPLE.startswith(folder_name(0)[: -len("00000000")])
    for file in ("", "state.json", "checkpoints/state.json", "checkpoints/.writing-1/state.json"):
        assert step_of(file) is None, file
    for file in ("checkpoints/12/state.json", "checkpoints/step-/state.json", folder_name(3)):
        assert step_of(file) is None, file


def test_the_pattern_matches_the_checkpoints_of_a_run(corpus: Corpus, tmp_path: Path) -> None:
    run(corpus, tmp_path, until_step=2, validation=None)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.glob(STATES)] == [
        state_name(2)
    ]
