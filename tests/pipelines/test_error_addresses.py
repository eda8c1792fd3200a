"""Errors speak to whoever reads them: of options on the command line, of parameters in Python, of
fields and lines in a recipe; and nobody recognises one by its wording.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from artifacts.floors import FLOORS
from pipelines.commands.app import app
from tests.source_trees import modules_of_floors

COMMANDS = "pipelines/commands/"
PYTHON_ONLY = ("pipelines/datatrove/", "mixtures/spec/phase.py")  # no command leads there


def texts(node: ast.AST) -> Iterator[str]:
    """The strings in a piece of code, f-strings whole, commands left out."""
    commands = {
        id(part)
        for each in ast.walk(node)
        if isinstance(each, ast.Call) and getattr(each.func, "id", "") == "Command"
        for part in ast.walk(each)
    }
    inside = commands | {
        id(part)
        for each in ast.walk(node)
        if isinstance(each, ast.JoinedStr)
        for part in each.values
    }
    for each in ast.walk(node):
        if isinstance(each, ast.JoinedStr) and id(each) not in commands:
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "…" for part in each.values
            )
        elif (
            isinstance(each, ast.Constant)
            and isinstance(each.value, str)
            and id(each) not in inside
        ):
            yield each.value


def called(node: ast.Call) -> str:
    """The name of what is called, with a dot where it is an attribute."""
    function = node.func
    if isinstance(function, ast.Attribute):
        return f".{function.attr}"
    return getattr(function, "id", "")


def errors(tree: ast.Module) -> Iterator[ast.expr]:
    """What is said in errors: calls of UserError, and what is called a fix or a message."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node).endswith(("UserError", ".error")):
            yield node
        elif isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id in ("fix", "message")
            for target in node.targets
        ):
            yield node.value


def test_no_error_is_recognised_by_its_wording() -> None:
    asked = []
    for name, tree in modules_of_floors():
        caught = {
            handler.name
            for handler in ast.walk(tree)
            if isinstance(handler, ast.ExceptHandler)
            and handler.type is not None
            and "UserError" in ast.unparse(handler.type)
        }
        wordings = {f"{error}.{part}" for error in caught for part in ("message", "fix", "field")}
        wordings |= {f"str({error})" for error in caught}
        if not wordings:
            continue
        for node in ast.walk(tree):
            parts: list[ast.expr] = []
            if isinstance(node, ast.Compare):
                parts = [node.left, *node.comparators]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                parts = [node.func.value]
            asked += [
                f"{name}:{part.lineno}"
                for part in parts
                if any(ast.unparse(part).startswith(wording) for wording in wordings)
            ]
    assert asked == []


def test_options_are_named_where_there_are_options() -> None:
    """Elsewhere a text names the parameter, which the command says as its option; whole commands
    may be named.
    """
    named = [
        f"{name}:{node.lineno}: {text}"
        for name, tree in modules_of_floors()
        if not name.startswith(COMMANDS)
        for node in errors(tree)
        for text in texts(node)
        if re.search(r"(?<![\w-])--[a-z]", text)
        and not re.search(r"windtunnel |dask worker|--nthreads", text)
    ]
    assert named == []


def test_no_function_is_named_to_a_user_of_the_command_line() -> None:
    named = [
        f"{name}:{node.lineno}: {text}"
        for name, tree in modules_of_floors()
        if not name.startswith(PYTHON_ONLY)
        for node in errors(tree)
        for text in texts(node)
        if " " in text and re.search(rf"\b({'|'.join(FLOORS)})\.[a-z_]+\.[a-z_]+", text)
    ]
    assert named == []


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["run", "RECIPE", "--until", "dinner"], "--until"),
        (["run", "RECIPE", "--runs", " "], "--runs"),
        (["run", "RECIPE", "--executor", "ray"], "--executor"),
        (["run", "RECIPE", "--executor", "datatrove", "--scheduler", "tcp://x"], "--scheduler"),
        (["run", "RECIPE", "--set", "corpus.chunk_mib"], "--set"),
        (["run", "RECIPE", "--set", "corpus.sources.7.name=x"], "--set corpus.sources.7.name"),
        (["dedup", "run", "nowhere/*.jsonl", "-o", "out"], "PATHS"),
        (["dedup", "run", "web.jsonl", "-o", " "], "--output"),
        (["dedup", "run", "web.jsonl", "-o", "out", "--rows", "65"], "--rows"),
        (["dedup", "run", "web.jsonl", "-o", "out", "--quality", "-1"], "--quality"),
        (["dedup", "run", "web.jsonl", "-o", "out", "--max-removed", "2"], "--max-removed"),
        (["dedup", "run", "web.jsonl", "-o", "out", "--keep", "sice"], "--keep"),
        (["dedup", "run", "web.jsonl", "-o", "out", "--text-field", "body"], "--text-field"),
        (["dedup", "index", "add", "index", "web.jsonl", "-o", "out", "--seed", "-1"], "--seed"),
        (["dedup", "index", "add", "index", "web.jsonl", "-o", "out", "--keep", "x"], "--keep"),
        (["dedup", "index", "list", "nowhere"], "INDEX"),
        (["dedup", "index", "match", "nowhere"], "[PATHS]"),
        (["dedup", "curve", "--threshold", "2"], "--threshold"),
        (["model", "describe", "tiny", "--roofline", "--device", "H3"], "--device"),
        (["shards", "remove", "SHARDS", "--ids", "nowhere", "--reason", "x"], "--ids"),
    ],
)
def test_a_command_names_its_option(
    arguments: list[str], field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("web.jsonl").write_text('{"text": "a page"}\n')
    Path("r.yaml").write_text("name: r\ncorpus: {sources: [{name: web, paths: [web.jsonl]}]}\n")
    Path("shards").mkdir()
    Path("shards/source.json").write_text("{}")
    named = {"RECIPE": "r.yaml", "SHARDS": "shards"}
    typed = [named.get(text, text) for text in arguments]
    with pytest.raises(UserError) as caught:
        CliRunner().invoke(app, typed, catch_exceptions=False)
    assert caught.value.field == field


def test_a_value_from_the_command_line_is_said_to_be_given_with_its_option(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\ncorpus: {sources: [{name: web, paths: [web.jsonl]}]}\n")
    with pytest.raises(UserError) as caught:
        CliRunner().invoke(
            app, ["run", str(recipe), "--set", "corpus.chunk_mib=0"], catch_exceptions=False
        )
    assert caught.value.message.endswith("(given with --set corpus.chunk_mib=0)")
    assert (caught.value.field, caught.value.line) == ("corpus.chunk_mib", None)


def test_a_mistake_in_files_alone_advises_what_the_parameter_takes(tmp_path: Path) -> None:
    from pipelines.deduplicate.files import dedup_files

    (tmp_path / "web.jsonl").write_text('{"text": "a page"}\n')
    with pytest.raises(UserError) as caught:
        dedup_files([str(tmp_path / "web.jsonl")], str(tmp_path / "out"), rows=65)
    assert (caught.value.field, caught.value.fix) == ("rows", "give a whole number from 1 to 64")
