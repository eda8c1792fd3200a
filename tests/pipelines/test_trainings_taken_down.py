"""Take-downs where a run has several trainings, where weights were kept before, and where branches
leave later: what is recorded of a training is what its weights have seen.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import UserError
from artifacts.lock import run_lock
from artifacts.paths import Store
from mixtures.inspect.trace import Tracer
from mixtures.order.sound_plan import load_plan
from mixtures.plan.format import Plan
from pipelines.run.driver import RunOutcome
from pipelines.run.train_only import train_run
from tests.pipelines.test_taken_down import (
    STABLE,
    STEPS,
    call,
    folders_of,
    plan_of,
    recipe,
    remove,
    run_of,
    training_of,
    weights,
    with_shards,
)
from tokenizer.shards.reader import open_source
from trainer.loop.metrics import read_series

pytestmark = pytest.mark.slow

ALONE = "branches=[]"
OTHER = "train.seed=2"


def go_on(folder: Path, *overrides: str, **options: Any) -> RunOutcome:
    return train_run(recipe(folder, ALONE, *overrides), str(folder / "runs"), **options)


@pytest.fixture(scope="module")
def made(workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs in which `small` has its shards."""
    return with_shards(workshop, tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def trained(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with its training, and no branch."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(made, folder, dirs_exist_ok=True)
    go_on(folder)
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def finished(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture(scope="module")
def shown(trained: Path) -> dict[str, list[int]]:
    """The steps, from 0, that show each document of ``web`` that is shown."""
    folders = folders_of(trained)
    tracer = Tracer(plan_of(trained), folders)
    ids = [one.hex() for one in open_source(folders["web"]).table(0)["id"].to_pylist()]
    steps = {one: [span.step for span in tracer.document(one)] for one in ids}
    return {one: found for one, found in steps.items() if found}


@pytest.fixture(scope="module")
def early(shown: dict[str, list[int]]) -> list[str]:
    """Documents that are shown by one of the first four steps."""
    return [one for one, steps in shown.items() if steps[0] < 4]


@pytest.fixture(scope="module")
def late(shown: dict[str, list[int]]) -> list[str]:
    """Documents that are shown before the decay, and not by the first four steps."""
    return [one for one, steps in shown.items() if 4 <= steps[0] < STABLE - 1]


def without(made: Path, folder: Path, documents: Sequence[str], *overrides: str) -> Path:
    """A run from which documents were taken down before its training began."""
    shutil.copytree(made, folder)
    remove(folder, *documents)
    go_on(folder, *overrides)
    return folder


def facts(plan: Plan) -> set[tuple[str, int, bool]]:
    return {(one.id, one.from_step, one.kept) for one in plan.take_downs}


def outcome_of(training: Path) -> tuple[Any, bytes]:
    return read_series(training), weights(training, STEPS)


# -- branches of kept weights ---------------------------------------------------------------------


def test_a_branch_added_later_leaves_weights_that_were_kept(
    finished: Path, late: list[str]
) -> None:
    target = late[0]
    remove(finished, target)
    go_on(finished, keep=True)
    spans = Tracer(plan_of(finished), folders_of(finished)).document(target)
    seen = sorted({span.step + 1 for span in spans if span.step < STABLE})
    branches = recipe(finished)
    branch = train_run(branches, str(finished / "runs")).record["branches"]["plain"]
    assert [one["steps"] for one in branch["taken_down"]["seen"]] == [seen]
    plan = load_plan(
        run_of(finished) / branch["folder"] / f"checkpoints/step-{STEPS:08d}/plan.json"
    )
    assert facts(plan) == {(target, STABLE, True)}
    for span in Tracer(plan, folders_of(finished)).document(target):
        assert span.masked == (span.step >= STABLE)
    assert train_run(branches, str(finished / "runs")).computed == 0


# -- kept before ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["back", "restart"])
def test_weights_left_behind_take_with_them_what_was_kept_of_them(
    place: Path, made: Path, tmp_path: Path, early: list[str], late: list[str], way: str
) -> None:
    first, second = early[0], early[1] if way == "back" else late[0]
    go_on(place, until_step=4)
    remove(place, first)
    go_on(place, keep=True)
    assert facts(plan_of(place)) == {(first, 4, True)}
    remove(place, second)
    outcome = go_on(place, **{way: True})
    assert facts(plan_of(place)) == {(first, 0, False), (second, 0, False)}
    assert outcome.record["training"]["taken_down"] == {"documents": 2, "seen": []}
    tracer = Tracer(plan_of(place), folders_of(place))
    assert all(span.masked for one in (first, second) for span in tracer.document(one))
    apart = without(made, tmp_path / "apart", [first, second])
    assert outcome_of(training_of(place)) == outcome_of(training_of(apart))


def test_what_was_kept_stays_recorded_up_to_the_checkpoint_that_is_gone_back_to(
    place: Path, early: list[str], late: list[str]
) -> None:
    go_on(place, until_step=4)
    remove(place, early[0])
    go_on(place, keep=True)
    remove(place, late[0])
    outcome = go_on(place, back=True)
    assert facts(plan_of(place)) == {(early[0], 4, True), (late[0], 0, False)}
    (seen,) = outcome.record["training"]["taken_down"]["seen"]
    assert (seen["id"], max(seen["steps"]) <= 4) == (early[0], True)


# -- several trainings ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["back", "keep"])
def test_every_training_that_has_seen_a_document_is_asked_about(
    finished: Path, made: Path, trained: Path, tmp_path: Path, late: list[str], way: str
) -> None:
    first = training_of(finished)
    go_on(finished, OTHER, until_step=4)
    remove(finished, late[0])
    go_on(finished, OTHER)
    second = training_of(finished)
    assert facts(plan_of(finished)) == {(late[0], 0, False)}
    before = (run_of(finished) / "plan.json").read_bytes()
    with pytest.raises(UserError, match="has seen documents that were taken down since") as raised:
        go_on(finished)
    assert late[0] in str(raised.value.found)
    assert (run_of(finished) / "plan.json").read_bytes() == before

    outcome = go_on(finished, **{way: True})
    expected = first
    if way == "back":
        expected = training_of(without(made, tmp_path / "apart", [late[0]]))
    assert outcome_of(training_of(finished)) == outcome_of(expected)
    assert bool(outcome.record["training"]["taken_down"]["seen"]) == (way == "keep")
    for overrides, training in (((OTHER,), second), ((), training_of(finished))):
        again = go_on(finished, *overrides)
        assert (again.computed, training_of(finished)) == (0, training)
        seen = again.record["training"]["taken_down"]["seen"]
        assert bool(seen) == (way == "keep" and not overrides)


def test_a_training_that_begins_after_weights_were_kept_has_seen_nothing(
    place: Path, made: Path, tmp_path: Path, early: list[str]
) -> None:
    go_on(place, until_step=4)
    remove(place, early[0])
    go_on(place, keep=True)
    kept = training_of(place)
    outcome = go_on(place, OTHER)
    assert outcome.record["training"]["taken_down"] == {"documents": 1, "seen": []}
    assert all(span.masked for span in Tracer(plan_of(place), folders_of(place)).document(early[0]))
    apart = without(made, tmp_path / "apart", [early[0]], OTHER)
    assert outcome_of(training_of(place)) == outcome_of(training_of(apart))
    again = go_on(place)
    assert (again.computed, training_of(place)) == (0, kept)
    assert again.record["training"]["taken_down"]["seen"]


def test_an_edit_after_weights_were_kept_asks_the_other_training_too(
    place: Path, early: list[str]
) -> None:
    go_on(place, until_step=4)
    go_on(place, OTHER, until_step=8)
    remove(place, early[0])
    go_on(place, until_step=5, keep=True)
    call("mixture", "edit", run_of(place), "--at", 10, "--lengthen", "decay=1024")
    go_on(place)
    edited = plan_of(place)
    assert (edited.steps, facts(edited)) == (STEPS + 2, {(early[0], 4, True)})
    with pytest.raises(UserError, match="has seen documents that were taken down since"):
        go_on(place, OTHER)
    outcome = go_on(place, OTHER, keep=True)
    assert facts(plan_of(place)) == {(early[0], 8, True)}
    assert outcome.record["training"]["steps"] == STEPS + 2
    lines = read_series(training_of(place))
    assert [line["step"] for line in lines] == list(range(1, STEPS + 3))


# -- a plan that is given -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("train.batch_tokens=1024",), "the plan was frozen for another"),
        (("train.sequence_length=32",), "the plan was frozen for another"),
        (("train.schedule.end=14",), "the schedule ends where the phases do not"),
    ],
)
def test_a_plan_that_does_not_fit_takes_no_place(
    place: Path, overrides: tuple[str, ...], said: str
) -> None:
    go_on(place, until_step=4)
    call("mixture", "edit", run_of(place), "--at", 10, "--lengthen", "decay=1024")
    before = (run_of(place) / "plan.json").read_bytes()
    (former,) = (run_of(place) / "plans").iterdir()
    with pytest.raises(UserError, match=said) as raised:
        go_on(place, *overrides, plan=load_plan(former))
    assert raised.value.file == str(place / "workshop" / "recipe.yaml")
    assert (run_of(place) / "plan.json").read_bytes() == before


def test_a_plan_over_sources_that_the_run_has_not_is_refused(place: Path) -> None:
    go_on(place, until_step=1)
    before = plan_of(place)
    sources = [source.model_copy(update={"name": f"my-{source.name}"}) for source in before.sources]
    with pytest.raises(UserError, match="of which the run has no shards") as raised:
        go_on(place, plan=before.changed(sources=tuple(sources)))
    assert (raised.value.field, raised.value.found) == ("plan", "my-instructions")
    assert plan_of(place) == before


def test_without_resume_nothing_is_written_where_a_training_has_begun(place: Path) -> None:
    go_on(place, until_step=4)
    shorter = "mixture.phases.1.tokens=1024"
    go_on(place, shorter, until_step=4)
    before = (run_of(place) / "plan.json").read_bytes()
    with pytest.raises(UserError, match="begun already"):
        go_on(place, resume=False)
    assert (run_of(place) / "plan.json").read_bytes() == before


def test_a_training_that_is_refused_has_not_begun(place: Path, tmp_path: Path) -> None:
    go_on(place, until_step=1)
    shutil.copytree(place, tmp_path / "scout")
    go_on(tmp_path / "scout", OTHER, until_step=1)
    name = training_of(tmp_path / "scout").relative_to(run_of(tmp_path / "scout"))
    assert (training_of(tmp_path / "scout") / "begun.json").is_file()
    with run_lock(Store(str(run_of(place) / name / "checkpoints"))), pytest.raises(UserError):
        go_on(place, OTHER, until_step=1)
    assert not (run_of(place) / name / "begun.json").exists()
    go_on(place, OTHER, until_step=1)
    assert (run_of(place) / name / "begun.json").is_file()


# -- a list without tombstones --------------------------------------------------------------------


def test_what_is_on_the_list_alone_is_not_shown_either(place: Path, early: list[str]) -> None:
    """As a take-down leaves it that is killed in between, or a hand that edits the list."""
    listed = {"format": "take-downs/1", "documents": [{"id": early[0], "reason": "asked for"}]}
    (run_of(place) / "take-downs.json").write_text(json.dumps(listed))
    go_on(place, until_step=4)
    assert facts(plan_of(place)) == {(early[0], 0, False)}
    assert all(span.masked for span in Tracer(plan_of(place), folders_of(place)).document(early[0]))
