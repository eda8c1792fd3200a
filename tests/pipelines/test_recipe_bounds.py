"""Recipes that would fill memory, or hold what no file can: refused when they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifacts.errors import UserError
from pipelines.recipe.load import given_recipe, load_recipe

RECIPE = "name: a\ncorpus:\n  sources:\n    - {name: web, paths: [x.jsonl]}\n"


def refused(folder: Path, text: str, *overrides: str) -> UserError:
    path = folder / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_recipe(path, overrides)
    str(caught.value).encode()
    return caught.value


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (r'prompts: ["one", "\ud800"]', "prompts[1]"),
        (r'"\udfff": 1', None),
        (r'corpus: {sources: [{name: web, paths: ["a\ud83d.jsonl"]}]}', None),
    ],
)
def test_a_lone_surrogate_is_refused(tmp_path: Path, line: str, field: str | None) -> None:
    text = line + "\nname: a\n" if line.startswith("corpus") else RECIPE + line + "\n"
    error = refused(tmp_path, text)
    assert "not valid Unicode text" in str(error)
    assert field is None or field in str(error)


def test_a_lone_surrogate_given_by_a_program_is_refused() -> None:
    sources = [{"name": "web", "paths": ["x.jsonl"]}]
    with pytest.raises(UserError, match="not valid Unicode text"):
        given_recipe({"name": "a", "corpus": {"sources": sources}, "prompts": ["\ud800"]})


@pytest.mark.parametrize("levels", [6, 9, 40])
def test_aliases_that_come_to_very_many_values_are_refused(tmp_path: Path, levels: int) -> None:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        lines.append(f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 10)}]")
    error = refused(tmp_path, RECIPE + "\n".join(lines) + "\n")
    assert "its aliases come to more values than a recipe has" in str(error)


def merges(levels: int) -> str:
    lines = ["m0: &m0 {key: value}"]
    for level in range(1, levels):
        lines.append(f"m{level}: &m{level} {{<<: [{', '.join([f'*m{level - 1}'] * 10)}]}}")
    return "\n".join(lines)


@pytest.mark.parametrize("levels", [6, 9, 40])
def test_merge_keys_that_copy_very_many_values_are_refused(tmp_path: Path, levels: int) -> None:
    error = refused(tmp_path, RECIPE + merges(levels) + "\n")
    assert "its aliases come to more values than a recipe has" in str(error)


def test_a_few_merge_keys_are_read(tmp_path: Path) -> None:
    error = refused(tmp_path, RECIPE + merges(3) + "\n")
    assert "m0" in str(error), "only the names are not those of a recipe"


def test_an_override_that_comes_to_very_many_values_is_refused(tmp_path: Path) -> None:
    levels = [f"&l{level} [{', '.join([f'*l{level - 1}'] * 10)}]" for level in range(1, 9)]
    text = f"seed=[&l0 [x], {', '.join(levels)}]"
    assert "come to more values" in str(refused(tmp_path, RECIPE, text))


def test_an_alias_inside_its_own_anchor_is_refused(tmp_path: Path) -> None:
    assert "nested too deeply" in str(refused(tmp_path, RECIPE + "seed: &a [*a]\n"))


def test_an_integer_of_thousands_of_digits_is_refused(tmp_path: Path) -> None:
    for digits in (400, 5000):
        for text in (f"seed: {'9' * digits}", f"seed: [{'9' * digits}]"):
            refused(tmp_path, RECIPE + text + "\n")
        refused(tmp_path, RECIPE, "seed=" + "9" * digits)
