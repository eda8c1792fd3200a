"""Mistakes in a mixture and its branches are told with file, line, numbers, the nearest name and
the fix.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jsonschema
import pytest
from ruamel.yaml import YAML

from artifacts.errors import UserError
from mixtures.spec.resolve import resolve
from pipelines.recipe.load import load_branch, load_recipe, recipe_schema
from pipelines.training.materials import Materials
from pipelines.training.plans import plan_branches, plan_mixture
from tests.mixtures.conftest import write_shards
from tokenizer.encode import Tokenizer

RECIPE = """\
name: mixed
corpus:
  sources:
    - {name: web-en, paths: [web.jsonl]}
    - {name: web-zh, paths: [zh.jsonl]}
    - {name: code, paths: [code.jsonl]}
    - {name: sft, paths: [sft.jsonl]}
tokenizer: {vocab_size: 512}
mixture:
  tokens: 10_000
  phases:
    - name: stable
      percent: 90
      temperature: 2.0
      weights_from: [web-en, web-zh]
      weights: {code: 0.1}
      bands:
        web-zh: {high: 3, low: 1}
    - name: decay
      decay: true
      percent: 10
      preset:
        name: minicpm-decay
        sources: {c4: web-en, code: code, unlabelled: sft}
  max_repetitions: 40
  min_tokens:
    code: 100
  reserve:
    sft: decay
  hold_out: []
branches:
  - name: sft-only
    phases:
      - name: decay
        decay: true
        percent: 10
        weights:
          sft: 1.0
model: {preset: tiny}
train: {sequence_length: 16, batch_tokens: 64}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def materials(tmp_path_factory: pytest.TempPathFactory) -> Materials:
    """Shards as a run leaves them: documents of 30 tokens and EOS."""
    root = tmp_path_factory.mktemp("shards")
    documents = {"web-en": 100, "web-zh/high": 10, "web-zh/low": 20, "code": 30, "sft": 12}
    folders = {
        name: write_shards(root / name, name.replace("/", "-"), [[5] * 30] * count, None, 900, "a")
        for name, count in documents.items()
    }
    return Materials(folders, {}, cast(Tokenizer, SimpleNamespace(hash="a" * 32, bos_id=1)))


def told(
    path: Path, old: str, new: str, materials: Materials | None = None
) -> tuple[UserError, str]:
    """The error after a replacement in the recipe, and the line of the file it names."""
    assert old in RECIPE
    path.write_text(RECIPE.replace(old, new))
    with pytest.raises(UserError) as raised:
        loaded = load_recipe(path)
        if materials is not None:
            plan_branches(loaded, materials, plan_mixture(loaded, materials))
    error = raised.value
    assert error.file == str(path)
    assert error.line is not None
    assert error.fix
    return error, path.read_text().splitlines()[error.line - 1].strip()


def test_the_recipe_plans_as_it_is_written(recipe: Path, materials: Materials) -> None:
    loaded = load_recipe(recipe)
    plan = plan_mixture(loaded, materials)
    assert [segment.asked_tokens for segment in plan.segments] == [9000, 1000]
    assert set(plan.names) == set(materials.folders)
    other = plan_branches(loaded, materials, plan)["sft-only"]
    assert other.segments[-1].weights == {"sft": 1.0}
    assert other.steps == plan.steps


def test_the_recipe_is_valid_by_the_exported_schema(recipe: Path) -> None:
    jsonschema.validate(YAML(typ="safe").load(recipe.read_text()), recipe_schema())


def test_the_schema_wants_one_length_of_a_phase(recipe: Path) -> None:
    for change in ("", "percent: 90\n      tokens: 9000"):
        content = YAML(typ="safe").load(RECIPE.replace("percent: 90", change, 1))
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(content, recipe_schema())


@pytest.mark.parametrize("name", ["quickstart", "tiny"])
def test_recipes_with_explicit_tokens_and_weights_are_planned_as_they_are_written(
    root: Path, name: str
) -> None:
    path = root / "recipes" / f"{name}.yaml"
    loaded = load_recipe(path)
    assert loaded.recipe.mixture is not None
    available = dict.fromkeys(loaded.recipe.mixture.sources, 10**6)
    written = YAML(typ="safe").load(path.read_text())["mixture"]["phases"]
    for phase, asked in zip(resolve(loaded.recipe.mixture, available), written, strict=True):
        assert (phase.tokens, phase.weights) == (asked["tokens"], asked["weights"])


@pytest.mark.parametrize(
    ("old", "new", "line", "found"),
    [
        ("percent: 90", "percent: 95", "phases:", "percents that sum to 105"),
        (
            "percent: 90",
            "tokens: 8000",
            "phases:",
            "percents that sum to 10 and phases of 8,000 tokens",
        ),
        (
            "percent: 90",
            "percent: 90\n      tokens: 9000",
            "- name: stable",
            "tokens: 9000, percent: 90",
        ),
        ("weights: {code: 0.1}", "weights: {code: 1.0}", "weights: {code: 1.0}", "a sum of 1"),
        ("sft: 1.0", "sft: 0.0", "weights:", "a sum of 0"),
        (
            "web-zh: {high: 3, low: 1}",
            "web-zh: {high: 0, low: 0}",
            "web-zh: {high: 0, low: 0}",
            "{'high': 0.0, 'low': 0.0}",
        ),
        (
            "weights: {code: 0.1}",
            "weights: {code: 0.1, sft: 0.1}",
            "weights: {code: 0.1, sft: 0.1}",
            "a weight of 0.1 in phase stable",
        ),
        (
            "hold_out: []",
            "hold_out: [code]",
            "weights: {code: 0.1}",
            "a weight of 0.1 in phase stable",
        ),
        ("temperature: 2.0", "temperature: warm", "temperature: warm", "warm"),
    ],
)
def test_what_the_recipe_alone_shows_to_be_wrong_is_placed(
    recipe: Path, old: str, new: str, line: str, found: str
) -> None:
    error, text = told(recipe, old, new)
    assert text == line
    assert error.found is not None
    assert str(error.found) == found


@pytest.mark.parametrize(
    ("old", "new", "line", "nearest"),
    [
        ("weights: {code: 0.1}", "weights: {cod: 0.1}", "weights: {cod: 0.1}", "code"),
        ("[web-en, web-zh]", "[web-eng, web-zh]", "weights_from: [web-eng, web-zh]", "web-en"),
        ("c4: web-en", "c4: web-n", "sources: {c4: web-n, code: code, unlabelled: sft}", "web-en"),
        ("c4: web-en", "c44: web-en", "sources: {c44: web-en, code: code, unlabelled: sft}", "c4"),
        ("name: minicpm-decay", "name: minicpm-decai", "name: minicpm-decai", "minicpm-decay"),
        ("web-zh: {high: 3, low: 1}", "web-z: {high: 3, low: 1}", "bands:", "web-zh"),
        ("sft: decay", "sftt: decay", "sftt: decay", "sft"),
        ("sft: decay", "sft: sft-onli", "sft: sft-onli", "sft-only"),
        ("hold_out: []", "hold_out: [sfft]", "hold_out: [sfft]", "sft"),
        ("    code: 100", "    coed: 100", "min_tokens:", "code"),
        ("          sft: 1.0", "          stf: 1.0", "stf: 1.0", "sft"),
    ],
)
def test_unknown_names_are_placed_with_the_nearest(
    recipe: Path, old: str, new: str, line: str, nearest: str
) -> None:
    error, text = told(recipe, old, new)
    assert (text, error.nearest) == (line, nearest)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        (
            "web-zh: {high: 3, low: 1}",
            "web-zh: {hihg: 3, low: 1}",
            "web-zh: {hihg: 3, low: 1}",
            "no such band",
        ),
        (
            "web-zh: {high: 3, low: 1}",
            "web-en: {high: 3, low: 1}",
            "web-en: {high: 3, low: 1}",
            "not split into bands",
        ),
        (
            "max_repetitions: 40",
            "max_repetitions: 1",
            "max_repetitions: 1",
            "more often than its cap",
        ),
        ("    code: 100", "    code: 3000", "code: 3000", "less of code than min_tokens"),
        (
            "sequence_length: 16, batch_tokens: 64",
            "sequence_length: 512, batch_tokens: 512",
            "web-zh: {high: 3, low: 1}",
            "less than one window",
        ),
    ],
)
def test_what_the_shards_show_to_be_wrong_is_placed(
    recipe: Path, materials: Materials, old: str, new: str, line: str, message: str
) -> None:
    error, text = told(recipe, old, new, materials)
    assert message in error.message
    assert text == line
    assert (
        any(character.isdigit() for character in f"{error.found} {error.allowed}") or error.allowed
    )


def test_an_error_in_a_branch_names_the_branch_and_its_line(
    recipe: Path, materials: Materials
) -> None:
    error, text = told(recipe, "          sft: 1.0", "          sft: 0.5")
    assert (error.field, text) == ("branches.sft-only.phases.decay.weights", "weights:")
    error, text = told(recipe, "          sft: 1.0", "          sft/low: 1.0", materials)
    assert (error.field, text) == ("branches[0].phases[0].weights.sft/low", "sft/low: 1.0")


def test_a_second_decay_is_refused_in_mixture_and_branch_when_the_recipe_is_read(
    recipe: Path,
) -> None:
    error, _ = told(recipe, "      percent: 90\n", "      percent: 90\n      decay: true\n")
    assert error.field == "mixture.phases.decay.decay"
    more = "      - {name: more, decay: true, percent: 1, weights: {sft: 1.0}}\nmodel:"
    error, text = told(recipe, "model:", more)
    assert error.field == "branches.sft-only.phases.more.decay"
    assert text.startswith("- {name: more")


@pytest.mark.parametrize(
    ("name", "other", "same"), [("sequence_length", 32, 16), ("batch_tokens", 128, 64)]
)
def test_the_first_phase_begins_with_the_windows_of_train(
    recipe: Path, materials: Materials, name: str, other: int, same: int
) -> None:
    phase = "      percent: 90\n"
    error, text = told(recipe, phase, f"{phase}      {name}: {other}\n")
    assert (error.field, str(error.found), error.allowed) == (
        f"mixture.phases.stable.{name}",
        str(other),
        [str(same)],
    )
    assert text == f"{name}: {other}"
    assert error.fix == f"leave it out, or set train.{name} to {other}"
    loaded = load_recipe(recipe, [f"train.{name}={other}"])
    assert getattr(plan_mixture(loaded, materials), name) == other
    recipe.write_text(RECIPE.replace(phase, f"{phase}      {name}: {same}\n"))
    assert getattr(plan_mixture(load_recipe(recipe), materials), name) == same


def test_a_source_reserved_for_a_branch_is_shown_there_and_refused_in_the_others_before_anything_is_run(
    recipe: Path, materials: Materials
) -> None:
    change = RECIPE.replace("sft: decay", "sft: sft-only").replace(", unlabelled: sft", "")
    recipe.write_text(change)
    loaded = load_recipe(recipe)
    plan = plan_mixture(loaded, materials)
    assert "sft" in plan_branches(loaded, materials, plan)["sft-only"].names
    other = "  - name: other\n    phases: [{name: decay, decay: true, percent: 10, weights: {sft: 1.0}}]\n"
    recipe.write_text(change.replace("model:", f"{other}model:"))
    with pytest.raises(UserError) as raised:
        load_recipe(recipe)
    assert raised.value.field == "branches.other.phases.decay.weights.sft"
    assert (
        recipe.read_text()
        .splitlines()[(raised.value.line or 0) - 1]
        .strip()
        .startswith("phases: [{name: decay")
    )


def test_a_branch_from_a_file_has_the_files_name_and_errors_their_line(tmp_path: Path) -> None:
    path = tmp_path / "with-sft.yaml"
    path.write_text("phases:\n  - name: decay\n    percent: 10\n    weights: {sft: 1.0}\n")
    assert load_branch(path).name == "with-sft"
    mistakes: list[tuple[str, str, int, Any]] = [
        ("sft: 1.0", "sft: 0.9", 4, "phases.decay.weights"),
        ("percent", "percents", 3, "phases[0].percents"),
    ]
    for old, new, line, field in mistakes:
        path.write_text(
            "phases:\n  - name: decay\n    percent: 10\n    weights: {sft: 1.0}\n".replace(old, new)
        )
        with pytest.raises(UserError) as raised:
            load_branch(path)
        assert (raised.value.file, raised.value.line, raised.value.field) == (
            str(path),
            line,
            field,
        )
