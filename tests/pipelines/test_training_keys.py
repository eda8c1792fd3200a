"""Keys of trainings: another model is another training, and what a former release began goes on."""

from __future__ import annotations

import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from artifacts.fingerprints import content_key
from artifacts.paths import Store
from mixtures.order.sound_plan import load_plan
from pipelines.commands.app import app
from pipelines.recipe.load import LoadedRecipe, load_recipe
from pipelines.run.driver import RunOutcome
from pipelines.run.train_only import train_run
from pipelines.training.keys import Keying, Places, former_keyings, keying_of
from pipelines.training.outcomes import Outcome
from tests.pipelines.run_trees import record, trained
from trainer.checkpoints.checkpoint import at_step, latest
from trainer.loop.metrics import read_series
from trainer.optimizer.rule import OPTIMIZER_RULE
from trainer.shapes import presets

ARCHIVE = Path(__file__).parent / "former_run" / "run.tar.xz"
STOPPED, FINISHED, OF_A_PRESET = (
    "training/b379245c884c454eb28c",
    "training/a653134df0271acf2231",
    "training/f29b59043c3035759cce",
)
"""The trainings in the archive, as the release that made it named them."""

PRESETS_OWN = ("train.seed=3", "model.dim_model_base=null")
STEPS, STABLE, STOPPED_AT = 12, 8, 10
FORMER_RULES = {"optimizer": 1, "schedule": 1}


@pytest.fixture
def former(tmp_path: Path) -> Path:
    """A folder with a recipe and its run by a release whose keys held presets by name."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def recipe(folder: Path, *overrides: str) -> LoadedRecipe:
    return load_recipe(folder / "recipe.yaml", list(overrides))


def train(folder: Path, *overrides: str, **options: Any) -> RunOutcome:
    return train_run(recipe(folder, *overrides), str(folder / "runs"), **options)


def folders(run: Path) -> set[str]:
    return {str(path.relative_to(run)) for path in (run / "training").iterdir()}


def test_former_keys_are_those_of_the_release_that_made_the_archive(former: Path) -> None:
    plan = load_plan(former / "runs" / "former" / "plan.json")
    found = {
        training: [keying.folder(plan.hash) for keying in former_keyings(loaded.recipe)]
        for training, loaded in (
            (STOPPED, recipe(former)),
            (FINISHED, recipe(former, "train.seed=2")),
            (OF_A_PRESET, recipe(former, *PRESETS_OWN)),
        )
    }
    assert found == {training: [training] for training in found}


def test_a_training_stopped_in_a_former_decay_goes_on_under_its_rules(former: Path) -> None:
    run = former / "runs" / "former"
    before = {path: path.read_bytes() for path in run.glob(f"{STOPPED}/checkpoints/*/*")}
    outcome = train(former)
    training = outcome.record["training"]
    assert training["folder"] == STOPPED
    assert training["rules"] == FORMER_RULES
    assert "beside" not in training
    assert folders(run) == {STOPPED, FINISHED, OF_A_PRESET}

    lines = read_series(run / STOPPED)
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    falling = [0.01 * (1 - (step - STABLE) / (STEPS - STABLE)) for step in range(9, STEPS + 1)]
    assert [line["lr"] for line in lines[STABLE:]] == pytest.approx(falling, abs=1e-18)
    kept = {path for path in before if path.exists()}
    assert {path.parent.name for path in kept} == {"step-00000008"}, "10 was not asked for"
    assert all(path.read_bytes() == before[path] for path in kept)
    newest = latest(run / STOPPED)
    assert newest is not None
    assert newest.state.schedule["version"] == newest.state.settings["schedule"]["version"] == 1
    assert [stretch.from_step for stretch in newest.state.history] == [0, STOPPED_AT]
    branch = run / outcome.record["branches"]["other"]["folder"]
    assert [line["lr"] for line in read_series(branch)] == pytest.approx(falling, abs=1e-18)

    again = train(former)
    assert again.computed == 0
    assert again.record["training"] == training
    assert (
        "it goes on under the rules it began with (optimizer: version 1, schedule: version 1)."
        in report(former)
    )


def test_a_finished_former_training_is_found_with_its_branch_and_its_rules(former: Path) -> None:
    run = former / "runs" / "former"
    before = {path: path.read_bytes() for path in run.glob(f"{FINISHED}/**/*") if path.is_file()}
    outcome = train(former, "train.seed=2")
    assert outcome.computed == 0
    assert outcome.record["training"]["folder"] == FINISHED
    assert outcome.record["training"]["rules"] == FORMER_RULES
    assert outcome.record["branches"]["other"]["folder"].startswith(f"{FINISHED}/branches/")
    after = {path: path.read_bytes() for path in run.glob(f"{FINISHED}/**/*") if path.is_file()}
    assert after == before


def test_another_preset_trains_anew_and_says_why(former: Path) -> None:
    run = former / "runs" / "former"
    said = call("train", former / "recipe.yaml", "--runs", former / "runs", *options(*PRESETS_OWN))
    assert "this training began anew" in said
    assert "model.dim_model_base (before 256, now 128)" in said
    assert "the model is narrower than its base: m = 2 / 128 is below 1" in said
    training = record(run)["training"]
    assert training["folder"] not in {STOPPED, FINISHED, OF_A_PRESET}
    assert training["beside"] == OF_A_PRESET
    assert [entry["field"] for entry in training["differs"]] == [
        "model.dim_model_base",
        "train.schedule.version",
        "train.validation_rule",
        "optimizer",
    ]
    assert "rules" not in training
    assert read_series(run / training["folder"])[-1]["lr"] == pytest.approx(0.01 / 5)
    again = train(former, *PRESETS_OWN)
    assert (again.computed, again.record["training"]) == (0, training)
    assert "model.dim_model_base (before 256, now 128)" in report(former)


def test_why_a_training_began_anew_is_known_after_a_stop(former: Path) -> None:
    stopped = train(former, *PRESETS_OWN, until_step=2).record["training"]
    assert stopped["beside"] == OF_A_PRESET
    assert train(former, *PRESETS_OWN).record["training"]["differs"] == stopped["differs"]


def test_the_base_that_a_preset_had_finds_what_was_trained_with_it(former: Path) -> None:
    outcome = train(former, "train.seed=3", "model.dim_model_base=256")
    assert outcome.record["training"]["folder"] == OF_A_PRESET
    newest = latest(former / "runs" / "former" / OF_A_PRESET)
    assert newest is not None
    assert [stretch.from_step for stretch in newest.state.history] == [0, 3]


def test_an_edit_of_a_former_plan_goes_on_with_its_training(former: Path) -> None:
    run = former / "runs" / "former"
    for other in (STOPPED, FINISHED):
        shutil.rmtree(run / other)
    edit = ("--at", 5, "--lengthen", "stable=128")
    call("mixture", "edit", "former", "--runs", former / "runs", *edit)
    outcome = train(former, "train.seed=3", "model.dim_model_base=256")
    training = outcome.record["training"]
    assert training["rules"] == FORMER_RULES
    assert "beside" not in training
    assert training["folder"] != OF_A_PRESET
    lines = read_series(run / training["folder"])
    assert lines[:3] == read_series(run / OF_A_PRESET)
    assert len(lines) == STEPS + 2
    assert lines[-1]["lr"] == 0.0


def test_a_preset_that_changes_is_another_training_of_the_same_recipe(
    former: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(former, "train.seed=4").record["training"]
    changed = replace(presets.PRESETS["tiny"], init_std=0.2)
    monkeypatch.setitem(presets.PRESETS, "tiny", changed)
    second = train(former, "train.seed=4")
    assert second.computed == 2
    assert second.record["training"]["beside"] == first["folder"]
    assert second.record["training"]["differs"] == [
        {"field": "model.init_std", "before": 0.1, "now": 0.2}
    ]
    run = former / "runs" / "former"
    weights = [
        at_step(run / folder, STEPS).read("weights.safetensors")
        for folder in (first["folder"], second.record["training"]["folder"])
    ]
    assert weights[0] != weights[1]


def test_the_key_holds_the_model_the_optimizers_rule_and_the_schedules_version(
    former: Path,
) -> None:
    loaded = recipe(former).recipe
    config = loaded.model.config(512)
    facts = keying_of(loaded, config).facts
    assert facts["model"] == config.recorded()
    assert facts["optimizer"] == OPTIMIZER_RULE
    assert facts["train"]["schedule"]["version"] == 2
    keys = {content_key(dict(facts))}
    for name, other in (("model", {**facts["model"], "norm_eps": 1.0}), ("optimizer", 0)):
        keys.add(content_key({**facts, name: other}))
    keys.add(
        content_key(
            dict(keying_of(recipe(former, "train.schedule.version=1").recipe, config).facts)
        )
    )
    assert len(keys) == 4


def test_a_branch_with_another_plan_is_trained_beside_the_former_one(former: Path) -> None:
    first = train(former)
    place = first.record["branches"]["other"]["folder"]
    run = former / "runs" / "former"
    shutil.copytree(run / place, run / f"{STOPPED}/branches/kept")
    other = "branches.0.phases.0.tokens=192"
    second = train(former, other)
    assert second.record["training"]["folder"] == STOPPED
    assert second.record["branches"]["other"]["folder"] != place
    assert second.computed == 1
    assert (
        trained(run)[f"{place}/metrics/train.jsonl"]
        == trained(run)[f"{STOPPED}/branches/kept/metrics/train.jsonl"]
    )


def test_an_outcome_is_of_the_branches_and_the_measured_shards_that_are_asked(
    former: Path,
) -> None:
    loaded, store = recipe(former).recipe, Store(str(former / "runs" / "former"))
    keying = Keying({})

    def names(branch: str, shards: str, former: bool = False) -> tuple[str, ...]:
        places = Places(keying, "training/k", {"other": branch}, former)
        return tuple(Outcome(store, loaded, places, {"web-validation": shards}).names)

    asked = [names("other-1", "a"), names("other-2", "a"), names("other-1", "b")]
    assert len(set(asked)) == 3
    assert [len(one) for one in asked] == [1, 1, 1]
    found = names("other-1", "a", former=True)
    assert found == (*asked[0], "training/k/outcome-a4327e735bef78c10773.json")


def options(*overrides: str) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return " ".join(str(result.output).split())


def report(folder: Path) -> str:
    call("report", folder / "runs" / "former")
    return (folder / "runs" / "former" / "report.html").read_text(encoding="utf-8")


def test_an_outcome_that_is_found_has_its_branches_in_the_recipes_order(
    former: Path, tmp_path: Path
) -> None:
    """As the call that made it had them: report and terminal compare them in that order."""
    loaded, store = recipe(former).recipe, Store(str(tmp_path))
    (branch,) = loaded.branches
    named = tuple(branch.model_copy(update={"name": name}) for name in ("z", "a", "k"))
    asked = loaded.model_copy(update={"branches": named})
    places = Places(Keying({}), "training/k", {"z": "z-1", "a": "a-1", "k": "k-1"}, False)
    outcome = Outcome(store, asked, places, {})
    assert outcome.known() == {}
    made = {name: {"folder": name} for name in ("z", "a", "k")}
    outcome.keep({"plan": "plan.json", "training": {}, "branches": made, "samples": []})
    assert list(outcome.known()["branches"].items()) == list(made.items())
