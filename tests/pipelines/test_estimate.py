"""`windtunnel train --estimate`: what a training will need, without leaving anything behind."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from artifacts.paths import Store
from mixtures.freeze.freeze import append_segment
from mixtures.plan.format import Plan
from mixtures.spec.phase import Phase
from pipelines.commands.app import app
from pipelines.commands.terminal.roofline import recipe_roofline
from pipelines.executors.progress import Silent
from pipelines.recipe.load import LoadedRecipe, load_recipe
from pipelines.run.driver import RunOutcome
from pipelines.run.estimate import Estimate, estimate_run
from pipelines.run.estimated_costs import time_rows
from pipelines.training.plan_file import plan_of_run
from pipelines.training.probe import STEPS, MeasuredMemory, Probed, Speed
from pipelines.training.random_tokens import RandomLoader, random_batch
from trainer.checkpoints.checkpoint import saved
from trainer.costs.training_memory import training_memory
from trainer.loop.metrics import VALIDATION, read_series

SIZE = 128, 8


@pytest.fixture(scope="module")
def recipe(root: Path) -> LoadedRecipe:
    return load_recipe(root / "recipes" / "tiny.yaml")


@pytest.fixture(scope="module")
def found(tiny: tuple[Path, RunOutcome], recipe: LoadedRecipe) -> Estimate:
    """Of the run `tiny`, whose training is there already."""
    return estimate_run(recipe, str(tiny[0].parent), watts=100.0)


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder with its size and time."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


def by_part(found: Estimate) -> dict[str, Any]:
    return {row.part: row for row in found.times}


def test_nothing_of_the_run_or_beside_it_changes(
    tiny: tuple[Path, RunOutcome], recipe: LoadedRecipe
) -> None:
    before = everything(tiny[0].parent)
    estimate_run(recipe, str(tiny[0].parent))
    assert everything(tiny[0].parent) == before


def test_steps_tokens_and_checkpoints_are_those_that_the_run_came_to(
    tiny: tuple[Path, RunOutcome], found: Estimate
) -> None:
    store, record = Store(tiny[0]), tiny[1].record
    plan = plan_of_run(store)
    assert found.batches == "the run's shards"
    assert found.plan.hash == plan.hash
    parts = by_part(found)
    for segment in plan.segments:
        assert parts[segment.name].steps == segment.steps
    branch = record["branches"]["without-instructions"]
    made = parts["branch without-instructions"]
    assert made.steps == branch["steps"] - branch["from_step"]
    assert sum(row.tokens for row in found.times) == plan.tokens + made.tokens

    main = Store(store.full(record["training"]["folder"]))
    kept = len(saved(main)) + len(saved(Store(store.full(branch["folder"]))))
    assert found.checkpoints == kept
    folders = [path.parent for path in tiny[0].glob("training/**/checkpoints/*/state.json")]
    size = sum(file.stat().st_size for folder in folders for file in folder.iterdir())
    assert size - 30_000 * kept < found.disk_bytes < size
    measured = read_series(main, VALIDATION)
    assert parts["held-out documents"].times == len(measured)


def test_memory_sums_to_the_peak_and_holds_the_exact_parts(found: Estimate) -> None:
    rows = {row.part: row for row in found.memory}
    memory = found.probed.memory
    assert found.memory_bytes == sum(row.bytes for row in found.memory)
    assert memory.process <= memory.opened <= memory.steps <= memory.most
    assert found.memory_bytes == pytest.approx(memory.most, rel=0.02)
    assert found.gpu_bytes == 0
    tokens = found.plan.sequence_length * 8
    assert [rows[name].how for name in ("weights", "gradients", "moments")] == ["exact"] * 3
    needed = training_memory(model_of(found), tokens, "fp32", on_gpu=False)
    assert rows["moments"].bytes == needed.moments == 2 * rows["weights"].bytes
    assert "master weights" not in rows


def model_of(found: Estimate) -> Any:
    from trainer.loop.settings import ModelSettings

    shape = {"width": 64, "layers": 2, "heads": 1, "kv_heads": 1, "ff": 160, "dim_model_base": 64}
    return ModelSettings.model_validate(shape).config(found.plan.sources[0].vocab_size)


def test_the_speed_is_that_of_twenty_steps_and_the_energy_that_of_the_time(
    found: Estimate,
) -> None:
    (size, speed), *others = found.probed.speeds.items()
    assert (size, others) == (SIZE, [])
    assert len(speed.each) == min(STEPS, found.plan.steps - 3)
    assert speed.tokens_per_second == pytest.approx(1024 / (sum(speed.each) / len(speed.each)))
    assert found.kilowatt_hours == pytest.approx(100 * found.seconds / 3600 / 1000)
    said = found.to_json()
    assert said["hours"] * 3600 == found.seconds == sum(row["seconds"] for row in said["times"])
    assert json.loads(json.dumps(said)) == said


def test_hours_are_steps_and_measurings_and_checkpoints_times_what_each_took(
    recipe: LoadedRecipe, tiny: tuple[Path, RunOutcome]
) -> None:
    plan = plan_of_run(Store(tiny[0]))
    probed = Probed(
        {SIZE: Speed(1024, (2.0, 4.0))}, 7.0, 11.0, 13.0, MeasuredMemory(0, 0, 0, 0), None
    )
    settings = recipe.recipe.train
    rows = {row.part: row for row in time_rows(settings, plan, {"other": plan}, probed, 17.0)}
    assert (rows["stable"].seconds, rows["decay"].seconds) == (20 * 3.0, 5 * 3.0)
    assert rows["start"].seconds == 7.0
    # measured after the phases, at steps 20 and 25; checkpoints at 10 besides
    assert rows["held-out documents"].seconds == 2 * 11.0
    assert rows["checkpoints"].seconds == 3 * 13.0
    assert rows["branch other"].seconds == 7.0 + 5 * 3.0 + 11.0 + 13.0
    assert rows["comparison of branches"].seconds == 2 * 11.0
    assert rows["scores on tasks"].seconds == 2 * 17.0


def test_the_interval_of_a_speed_is_that_of_a_mean() -> None:
    speed = Speed(100, (1.0, 2.0, 3.0))
    assert speed.seconds == 2.0
    assert speed.half_width == pytest.approx(1.96 * 1.0 / math.sqrt(3))
    assert Speed(100, (1.0,)).half_width is None


def test_before_there_are_shards_random_tokens_are_taken_and_said(
    recipe: LoadedRecipe, tiny: tuple[Path, RunOutcome], tmp_path: Path
) -> None:
    found = estimate_run(recipe, str(tmp_path / "none"))
    plan = plan_of_run(Store(tiny[0]))
    assert found.batches == "random tokens"
    assert (found.plan.steps, found.plan.tokens) == (plan.steps, plan.tokens)
    assert [part.steps for part in found.plan.segments] == [part.steps for part in plan.segments]
    assert by_part(found)["branch without-instructions"].steps == 5
    assert not (tmp_path / "none").exists()
    assert found.to_json()["not_counted"][-1].startswith("held-out documents are taken for")


def test_random_batches_have_the_shape_of_each_phase(tmp_path: Path, root: Path) -> None:
    phases = "mixture.phases=[{name: a, tokens: 2048, weights: {web-en: 1}}, "
    phases += "{name: b, tokens: 2100, sequence_length: 64, weights: {web-en: 1}}]"
    sets = (phases, "branches=[]", "train.schedule.kind=constant")
    loaded = load_recipe(root / "recipes" / "tiny.yaml", sets)
    found = estimate_run(loaded, str(tmp_path))
    assert [*found.probed.speeds] == [(128, 8), (64, 16)]
    plan: Plan = found.plan
    assert [segment.steps for segment in plan.segments] == [2, 3]
    shapes = [batch.tokens.shape for batch in RandomLoader(plan).batches(0, plan.steps)]
    assert shapes == [(8, 128)] * 2 + [(16, 64)] * 3
    assert found.seconds > 0


def test_a_random_batch_is_documents_of_a_window_each() -> None:
    batch = random_batch(3, 5, vocabulary=7, seed=1)
    assert batch.lengths.tolist() == [0, 5, 10, 15]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 4]] * 3
    assert 0 <= batch.tokens.min() <= batch.tokens.max() < 7
    assert batch.rows(1, 3).tokens.tolist() == batch.tokens[1:].tolist()


@pytest.mark.parametrize("watts", [0.0, -3.0, math.nan, math.inf])
def test_a_wattage_is_above_zero(watts: float, recipe: LoadedRecipe) -> None:
    with pytest.raises(UserError, match="watts"):
        estimate_run(recipe, "nowhere", watts=watts, progress=Silent())


def test_a_recipe_without_a_mixture_is_refused(root: Path, tmp_path: Path) -> None:
    loaded = load_recipe(root / "recipes" / "tiny.yaml", ("mixture=null", "branches=[]"))
    with pytest.raises(UserError, match="nothing to estimate"):
        estimate_run(loaded, str(tmp_path))


def test_shards_of_another_recipe_are_refused_as_by_a_training(
    tiny: tuple[Path, RunOutcome], root: Path
) -> None:
    loaded = load_recipe(root / "recipes" / "tiny.yaml", ("tokenizer.vocab_size=1024",))
    with pytest.raises(UserError, match="made with another setting"):
        estimate_run(loaded, str(tiny[0].parent))


def test_the_command_says_it_in_words_and_exactly(
    tiny: tuple[Path, RunOutcome], root: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny[0], tmp_path / "tiny")
    recipe = root / "recipes" / "tiny.yaml"
    base = ["train", str(recipe), "--runs", str(tmp_path), "--estimate", "--watts", "65"]
    said = CliRunner().invoke(app, base)
    assert said.exit_code == 0, said.output
    for words in ("tokens/s", "over the run's shards", "moments", "branch without", "kWh at 65 W"):
        assert words in said.output
    exact = CliRunner().invoke(app, [*base, "--json", "--device", "A100"])
    assert exact.exit_code == 0, exact.output
    facts = json.loads(exact.stdout)
    floor = recipe_roofline(load_recipe(recipe).recipe, "A100").tokens_per_second
    assert facts["device"]["seconds"] == facts["device"]["tokens"] / floor
    assert facts["watts"] == 65
    refused = CliRunner().invoke(app, [*base[:-1], "0"])
    assert isinstance(refused.exception, UserError)
    assert "--watts" in str(refused.exception)


TASKS = ("evaluate={tasks: [benchmarks/gsm8k-test.jsonl], limit: 40}",)


def test_scores_are_tried_on_some_items_and_counted_for_every_ending(
    tiny: tuple[Path, RunOutcome], root: Path, tmp_path: Path
) -> None:
    loaded = load_recipe(root / "recipes" / "tiny.yaml", TASKS)
    scores = by_part(estimate_run(loaded, str(tiny[0].parent)))["scores on tasks"]
    assert scores.times == 2
    assert scores.seconds > 0
    before = estimate_run(loaded, str(tmp_path))
    assert "scores on tasks" not in by_part(before)
    assert any("there is no tokenizer yet" in sentence for sentence in before.unknown)


def test_a_plan_that_is_given_is_followed(
    tiny: tuple[Path, RunOutcome], recipe: LoadedRecipe, tmp_path: Path
) -> None:
    frozen = plan_of_run(Store(tiny[0]))
    more = Phase(name="more", decay=True, tokens=4096, weights={"web-en": 1.0})
    longer = append_segment(frozen, more, 20)
    found = estimate_run(recipe, str(tiny[0].parent), plan=longer)
    assert found.plan.hash == longer.hash
    assert by_part(found)["more"].steps == 4
    with pytest.raises(UserError, match="plan"):
        estimate_run(recipe, str(tmp_path), plan=longer)
