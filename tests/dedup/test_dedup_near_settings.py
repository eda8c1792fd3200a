"""One definition of the settings of near-duplicates: every front door has its defaults, limits and
descriptions from it, the documentation shows them, and nobody writes them down again.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from artifacts.floors import FLOORS
from dedup.index.decide import find_candidates
from dedup.index.files import IndexSettings
from dedup.near.minhash import MinHashConfig
from dedup.near.settings import (
    CURVE,
    DEFAULTS,
    DOORS,
    FILES,
    FUNCTIONS,
    INDEX,
    INPUT_ORDER,
    RECIPE,
    Door,
    Limits,
    NearSettings,
    allowed,
    check,
    default,
    description,
    limits,
)
from dedup.near.verify import greedy_keep
from dedup.shingles import MAX_NGRAMS
from pipelines.commands.app import app
from pipelines.deduplicate.files import dedup_files
from pipelines.stages.minhash_dedup import MinHashDedupStage
from tests.source_trees import tree_of

HOUSE = Path(__file__).parent.parent.parent
NAMES = tuple(each.name for each in fields(NearSettings))
CALLED = {"max_removed_share": "max_removed", "quality_sample": "quality"}
UNDESCRIBED = ("bands", "rows", "seed")  # in the JSON Schema of recipes


@pytest.mark.parametrize("name", NAMES)
def test_a_stage_of_a_recipe_has_the_setting_as_it_is_defined(name: str) -> None:
    field = MinHashDedupStage.model_fields[name]
    schema = MinHashDedupStage.model_json_schema()["properties"][name]
    assert field.default == default(name, RECIPE)
    assert field.description == (None if name in UNDESCRIBED else description(name))
    bounds = limits(name, RECIPE)
    least = schema.get("minimum", schema.get("exclusiveMinimum"))
    found = None if least is None else Limits(least, schema.get("maximum"), "minimum" not in schema)
    assert found == bounds


def test_functions_begin_with_the_defaults() -> None:
    def defaults(function: Any) -> dict[str, Any]:
        return {
            name: parameter.default
            for name, parameter in inspect.signature(function).parameters.items()
        }

    assert MinHashConfig() == MinHashConfig(
        DEFAULTS.ngrams, DEFAULTS.bands, DEFAULTS.rows, DEFAULTS.seed
    )
    settings = IndexSettings()
    for name in ("ngrams", "bands", "rows", "seed", "verify", "max_comparisons"):
        assert getattr(settings, name) == getattr(DEFAULTS, name)
    alone = defaults(dedup_files)
    for name in FILES.takes:
        given = alone[CALLED.get(name, name)]
        assert given == (None if name == "keep" else getattr(DEFAULTS, name))  # None: the stages'
    assert defaults(greedy_keep)["max_comparisons"] == DEFAULTS.max_comparisons
    assert defaults(greedy_keep)["measure"] == DEFAULTS.similarity
    assert defaults(find_candidates)["max_comparisons"] == DEFAULTS.max_comparisons


def test_steps_of_datatrove_begin_with_the_defaults() -> None:
    steps = pytest.importorskip("pipelines.datatrove.dedup_steps")
    for step in (steps.MinHashSignatures, steps.MinHashDecision):
        for name, parameter in inspect.signature(step).parameters.items():
            if name in NAMES:
                assert parameter.default == getattr(DEFAULTS, name)


@pytest.mark.parametrize(
    ("door", "command"), [(FILES, ["dedup", "run"]), (INDEX, ["dedup", "index", "add"])]
)
def test_the_help_of_a_command_says_what_a_setting_is_and_takes(
    door: Door, command: list[str]
) -> None:
    said = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"}).output
    words = " ".join(re.sub("[│|╭╮╰╯─]", " ", said).split())
    for name in door.takes:
        assert f"--{CALLED.get(name, name).replace('_', '-')}" in words
        assert description(name) in words
        if limits(name, door) is not None:
            assert f"{description(name)}; {limits(name, door)}" in words
    assert default("keep", INDEX) == INPUT_ORDER


@pytest.mark.parametrize("door", DOORS)
def test_the_least_and_greatest_pass_and_what_lies_beyond_is_named(door: Door) -> None:
    for name in door.takes:
        bounds = limits(name, door)
        if bounds is None:
            continue
        step: float = 1 if isinstance(getattr(DEFAULTS, name), int) else 1e-9
        least = bounds.low + (step if bounds.above else 0)
        check(name, least, door)
        wrong: list[Any] = [least - step, "many", True, None]
        if bounds.high is not None:
            check(name, bounds.high, door)
            wrong.append(bounds.high + step)
        wrong += [] if step == 1 else [float("nan"), float("inf")]
        for value in wrong:
            with pytest.raises(UserError) as caught:
                check(name, value, door)
            assert (caught.value.field, caught.value.found) == (name, value) or value != value
            assert caught.value.fix == allowed(name, door)


def test_shingles_take_as_many_words_as_the_settings_say() -> None:
    bounds = limits("ngrams", FUNCTIONS)
    assert bounds is not None
    assert bounds.high == MAX_NGRAMS


def test_the_documentation_shows_what_every_front_door_takes() -> None:
    text = (HOUSE / "docs" / "recipes.md").read_text()
    section = text.split("#### Settings of near-duplicates\n", 1)[1].split("\n#", 1)[0]
    rows = [
        [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    assert rows[0] == ["setting", "default", *(door.name for door in DOORS)]
    assert rows[2:] == [
        [name, str(getattr(DEFAULTS, name)), *(_cell(name, door) for door in DOORS)]
        for name in NAMES
    ]


def _cell(name: str, door: Door) -> str:
    if name not in door.takes:
        return "-"
    taken = limits(name, door)
    own = [f"default: {door.defaults[name]}"] if name in door.defaults else []
    return "; ".join([*([] if taken is None else [str(taken)]), *own]) or "takes it"


def test_no_module_writes_a_default_or_limit_of_them_down_again() -> None:
    """Names that are settings of something else in their module are listed with it."""
    others = {
        "dedup/ngrams.py": {"ngrams"},
        "dedup/near/cardinality.py": {"ngrams"},
        "dedup/near/datasketch_interop.py": {"ngrams", "seed"},
        "pipelines/stages/decontaminate.py": {"ngrams"},
        "pipelines/stages/source_overlap.py": {"ngrams"},
        "pipelines/shards/split.py": {"bands"},  # of quality
    }
    watched = {"ngrams", "bands", "rows", "verify", "max_comparisons", "quality_sample"}
    watched |= {"max_removed_share", "max_removed", "quality"}
    again = [
        f"{name}:{line} {setting}"
        for name, line, setting in _numbers(watched)
        if name.startswith(("dedup/", "pipelines/"))
        and name != "dedup/near/settings.py"
        and setting not in others.get(name, set())
    ]
    assert again == []
    assert CURVE.takes == ("bands", "rows", "verify")


def _numbers(watched: set[str]) -> Iterator[tuple[str, int, str]]:
    """Where a watched name gets a number as a default: of a field, or of a parameter."""
    for floor in FLOORS:
        for path in sorted((HOUSE / floor).rglob("*.py")):
            name = path.relative_to(HOUSE).as_posix()
            for node in ast.walk(tree_of(path)):
                pairs: list[tuple[str, ast.expr | None]] = []
                if isinstance(node, ast.FunctionDef):
                    arguments = node.args
                    plain = [*arguments.posonlyargs, *arguments.args][::-1]
                    pairs = [
                        (argument.arg, value)
                        for names, values in (
                            (plain, arguments.defaults[::-1]),
                            (arguments.kwonlyargs, arguments.kw_defaults),
                        )
                        for argument, value in zip(names, values, strict=False)
                    ]
                elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    pairs = [(node.target.id, node.value)]
                for setting, value in pairs:
                    if setting in watched and value is not None and _literal(value):
                        yield name, value.lineno, setting


def _literal(value: ast.expr) -> bool:
    return any(
        isinstance(each, ast.Constant)
        and isinstance(each.value, int | float)
        and not isinstance(each.value, bool)
        for each in ast.walk(value)
    )
