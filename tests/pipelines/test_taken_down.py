"""A training and its branches when documents are taken down: what goes on, what stops, and that no
loss is taken on a document from then on.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from artifacts.paths import Store
from mixtures.inspect.trace import Tracer
from mixtures.loader.loader import Loader
from mixtures.order.sound_plan import load_plan
from mixtures.plan.format import Plan
from pipelines.commands.app import app
from pipelines.recipe.load import LoadedRecipe, load_recipe
from pipelines.report.page import write_report
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.run.train_only import train_run
from pipelines.training.materials import Materials
from pipelines.training.plans import plan_mixture
from tests.pipelines.run_trees import record
from tokenizer.shards.reader import open_source
from trainer.checkpoints.checkpoint import saved
from trainer.loop.metrics import read_series

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent.parent

SETTINGS = [
    "name=small",
    "corpus.stages=[newlines]",
    "tokenizer={vocab_size: 512, sample: {web: 1}, sample_mib: 1}",
    "mixture={phases: [{name: stable, tokens: 4096, weights: {web: 1}}, {name: decay, decay: true,"
    " tokens: 2048, weights: {web: 0.5, instructions: 0.5}}]}",
    "branches=[{name: plain, phases: [{name: decay, decay: true, tokens: 2048, weights: {web: 1}}]}]",
    "model={preset: tiny, width: 32, layers: 1, heads: 2, kv_heads: 1, head_dim: 16, ff: 48}",
    "train={sequence_length: 64, batch_tokens: 512, checkpoint_every: 4, threads: 1,"
    " tensorboard: false, schedule: {kind: wsd, peak: 0.01, warmup: 2}}",
]
STEPS, STABLE = 12, 8


@pytest.fixture(scope="module")
def made(workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter's corpus and a folder of runs in which `small` has its shards. Nobody may change
    it.
    """
    return with_shards(workshop, tmp_path_factory.mktemp("made"))


def with_shards(workshop: Path, folder: Path) -> Path:
    """The folder, now with the starter's corpus and the shards of the run `small`."""
    shutil.copytree(workshop, folder / "workshop", ignore=shutil.ignore_patterns("runs"))
    run_recipe(recipe(folder), str(folder / "runs"), until="shards")
    return folder


def recipe(folder: Path, *more: str) -> LoadedRecipe:
    return load_recipe(folder / "workshop" / "recipe.yaml", [*SETTINGS, *more])


@pytest.fixture(scope="module")
def undisturbed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with its training and its branch, from which nothing was taken down."""
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(made, folder, dirs_exist_ok=True)
    train_run(recipe(folder), str(folder / "runs"))
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A copy of the run with its shards."""
    shutil.copytree(made, tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def finished(undisturbed: Path, tmp_path: Path) -> Path:
    """A copy of the trained run."""
    shutil.copytree(undisturbed, tmp_path / "here")
    return tmp_path / "here"


def run_of(folder: Path) -> Path:
    return folder / "runs" / "small"


def training_of(folder: Path) -> Path:
    return run_of(folder) / str(record(run_of(folder))["training"]["folder"])


def branch_of(folder: Path) -> Path:
    return run_of(folder) / str(record(run_of(folder))["branches"]["plain"]["folder"])


def plan_of(folder: Path) -> Plan:
    return load_plan(run_of(folder) / "plan.json")


def go_on(folder: Path, **options: Any) -> RunOutcome:
    return train_run(recipe(folder), str(folder / "runs"), **options)


def remove(folder: Path, *documents: str) -> None:
    listed = folder / "ids.txt"
    listed.write_text("\n".join(documents))
    call("shards", "remove", run_of(folder), "--ids", listed, "--reason", "asked for")


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return str(result.output)


def store_of(folder: Path) -> Store:
    return Store(str(folder))


def folders_of(folder: Path) -> dict[str, Path]:
    return Materials.of(store_of(run_of(folder)), record(run_of(folder))).folders


def weights(training: Path, step: int) -> bytes:
    return (training / f"checkpoints/step-{step:08d}/weights.safetensors").read_bytes()


def document(undisturbed: Path, wanted: Callable[[list[int], list[int]], bool]) -> str:
    """A document of ``web`` by the steps, from 0, that show it in the training and in the
    branch.
    """
    folders = folders_of(undisturbed)
    branch = load_plan(branch_of(undisturbed) / f"checkpoints/step-{STEPS:08d}/plan.json")
    tracers = [Tracer(plan, folders) for plan in (plan_of(undisturbed), branch)]
    for one in open_source(folders["web"]).table(0)["id"].to_pylist():
        steps = [[span.step for span in tracer.document(one.hex())] for tracer in tracers]
        if wanted(*steps):
            return str(one.hex())
    raise AssertionError("no such document")


@pytest.fixture(scope="module")
def late(undisturbed: Path) -> str:
    """A document that is shown from step 5, 6 or 7 on."""
    return document(undisturbed, lambda steps, _: bool(steps) and 4 <= steps[0] < STABLE - 1)


@pytest.fixture(scope="module")
def early(undisturbed: Path) -> str:
    """A document that is shown by one of the first four steps."""
    return document(undisturbed, lambda steps, _: bool(steps) and steps[0] < 4)


@pytest.fixture(scope="module")
def in_branch(undisturbed: Path) -> str:
    """A document that the branch shows and the training does not."""
    return document(undisturbed, lambda steps, own: not steps and bool(own))


@pytest.fixture(scope="module")
def nowhere(undisturbed: Path) -> str:
    """A document that nothing shows."""
    return document(undisturbed, lambda steps, own: not steps and not own)


def masked_throughout(made: Path, folder: Path, target: str) -> Path:
    """A run whose documents were taken down before its training began."""
    shutil.copytree(made, folder)
    remove(folder, target)
    go_on(folder)
    return folder


@pytest.fixture(scope="module")
def without_late(made: Path, late: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return masked_throughout(made, tmp_path_factory.mktemp("late") / "run", late)


@pytest.fixture(scope="module")
def without_early(made: Path, early: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return masked_throughout(made, tmp_path_factory.mktemp("early") / "run", early)


def results(folder: Path) -> tuple[Any, ...]:
    """What a training and its branch came to: every line of their metrics, their last weights."""
    return tuple(
        (read_series(training), read_series(training, "validation"), weights(training, STEPS))
        for training in (training_of(folder), branch_of(folder))
    )


# -- not seen -------------------------------------------------------------------------------------


def test_what_no_weights_have_seen_is_masked_and_the_training_goes_on(
    place: Path, undisturbed: Path, without_late: Path, late: str
) -> None:
    go_on(place, until_step=4)
    before, former = plan_of(place), training_of(place)
    first = Tracer(before, folders_of(place)).document(late)[0].step
    remove(place, late)
    outcome = go_on(place)

    plan, folder = plan_of(place), training_of(place)
    assert [(one.id, one.from_step, one.kept) for one in plan.take_downs] == [(late, 0, False)]
    assert [(one.hash, one.steps) for one in plan.history] == [(before.hash, first)]
    assert load_plan(run_of(place) / f"plans/{before.hash}.json") == before
    assert outcome.record["training"]["taken_down"] == {"documents": 1, "seen": []}
    assert weights(folder, 4) == weights(former, 4) == weights(training_of(undisturbed), 4)
    ours, theirs = read_series(folder), read_series(training_of(undisturbed))
    assert ours[:first] == theirs[:first]
    assert results(place) == results(without_late)


def test_a_masked_document_has_no_loss(undisturbed: Path, without_late: Path, late: str) -> None:
    plan, folders = plan_of(without_late), folders_of(without_late)
    places: Counter[int] = Counter()
    for span in Tracer(plan, folders).document(late):
        assert span.masked
        places[span.step + 1] += span.stop - span.start
    ours, theirs = read_series(training_of(without_late)), read_series(training_of(undisturbed))
    for mine, other in zip(ours, theirs, strict=True):
        targets = mine["sources"]["web"]["tokens"]
        assert targets == other["sources"]["web"]["tokens"] - places[mine["step"]]
    assert sum(places.values()) > 0
    loader = Loader(plan, folders)
    for span in Tracer(plan, folders).document(late):
        batch = loader.batch(span.step)
        inside = slice(span.place, span.place + span.stop - span.start)
        assert not batch.weights[span.window, inside].any()
        assert (batch.targets[span.window, inside] == plan.sources[0].eos_id).all()


def test_a_take_down_of_what_nothing_showed_trains_nothing_anew(
    finished: Path, undisturbed: Path, nowhere: str
) -> None:
    before = plan_of(finished)
    remove(finished, nowhere)
    assert go_on(finished).computed == 0
    assert plan_of(finished).history[-1].hash == before.hash
    assert results(finished) == results(undisturbed)
    assert (run_of(finished) / f"plans/{before.hash}.json").is_file()
    again = plan_of(finished)
    assert go_on(finished).computed == 0
    assert plan_of(finished) == again


def test_a_take_down_does_not_change_the_plan_that_a_recipe_freezes(
    place: Path, late: str, early: str
) -> None:
    freeze = ("mixture", "plan", place / "workshop" / "recipe.yaml", "--runs", place / "runs")
    options = [part for text in SETTINGS for part in ("--set", text)]
    before = json.loads(call(*freeze, "--json", *options))
    remove(place, late)
    assert json.loads(call(*freeze, "--json", *options)) == before
    remove(place, early)
    assert json.loads(call(*freeze, "--json", *options)) == before


# -- seen -----------------------------------------------------------------------------------------


def stopped(folder: Path, **options: Any) -> UserError:
    before = (run_of(folder) / "plan.json").read_bytes()
    with pytest.raises(UserError, match="has seen documents that were taken down since") as raised:
        go_on(folder, **options)
    assert (run_of(folder) / "plan.json").read_bytes() == before
    return raised.value


def test_what_weights_have_seen_stops_the_training_and_names_steps_and_checkpoints(
    finished: Path, late: str
) -> None:
    steps = [span.step for span in Tracer(plan_of(finished), folders_of(finished)).document(late)]
    remove(finished, late)
    error = stopped(finished)
    shown = ", ".join(str(step + 1) for step in dict.fromkeys(steps))
    assert f"the training has shown web {late} at step {shown}, " in str(error.found)
    assert "its checkpoints of step 8, 12 have seen that" in str(error.found)
    assert "branch plain" in str(error.found)
    assert "back=True goes on from the last checkpoint that has not seen them (step 4)" in str(
        error.fix
    )
    options = [part for text in SETTINGS for part in ("--set", text)]
    result = CliRunner().invoke(
        app,
        [
            "train",
            str(finished / "workshop" / "recipe.yaml"),
            "--runs",
            str(finished / "runs"),
            *options,
        ],
    )
    assert isinstance(result.exception, UserError)
    for option in ("--keep", "--back", "--restart"):
        assert option in str(result.exception.fix)
    said = ["--keep", "--back"]
    result = CliRunner().invoke(
        app,
        [
            "train",
            str(finished / "workshop" / "recipe.yaml"),
            "--runs",
            str(finished / "runs"),
            *options,
            *said,
        ],
    )
    assert isinstance(result.exception, UserError)
    assert result.exception.field == "--back"


@pytest.mark.parametrize("way", ["back", "restart"])
def test_weights_that_have_seen_a_document_are_left_for_those_that_have_not(
    finished: Path, without_late: Path, late: str, way: str
) -> None:
    before, former = plan_of(finished), training_of(finished)
    remove(finished, late)
    assert go_on(finished, **{way: True}).computed == 2
    assert results(finished) == results(without_late)
    assert saved(store_of(former)) == [4, 8, 12]
    plan = plan_of(finished)
    assert [(one.id, one.from_step, one.kept) for one in plan.take_downs] == [(late, 0, False)]
    agreed = plan.history[-1]
    assert (agreed.hash, agreed.steps == 0) == (before.hash, way == "restart")
    assert go_on(finished).computed == 0  # and is asked no more


def test_weights_that_have_seen_a_document_may_be_kept_and_plan_and_report_say_so(
    place: Path, undisturbed: Path, early: str
) -> None:
    go_on(place, until_step=4)
    before = plan_of(place)
    spans = Tracer(before, folders_of(place)).document(early)
    shown = [span for span in spans if span.step < 4]
    remove(place, early)
    assert "restart=True" in str(stopped(place).fix)
    outcome = go_on(place, keep=True)
    plan, folder = plan_of(place), training_of(place)
    assert [(one.id, one.from_step, one.kept) for one in plan.take_downs] == [(early, 4, True)]
    assert weights(folder, 4) == weights(training_of(undisturbed), 4)
    assert saved(store_of(folder)) == [4, 8, 12]
    tokens = sum(span.stop - span.start for span in shown)
    seen = {
        "id": early,
        "source": "web",
        "steps": sorted({span.step + 1 for span in shown}),
        "tokens": tokens,
    }
    for facts in (outcome.record["training"], outcome.record["branches"]["plain"]):
        assert facts["taken_down"] == {"documents": 1, "seen": [seen]}
    page = (run_of(place) / write_report(store_of(run_of(place)), outcome.record)).read_text()
    assert early in page
    assert "1 document was taken down" in page
    assert go_on(place).computed == 0


def test_a_branch_that_has_seen_a_document_stops_and_goes_back_alone(
    finished: Path, undisturbed: Path, in_branch: str
) -> None:
    remove(finished, in_branch)
    error = stopped(finished)
    assert str(error.found).startswith("branch plain has shown web ")
    assert go_on(finished, back=True).computed == 1
    assert read_series(training_of(finished)) == read_series(training_of(undisturbed))
    assert weights(training_of(finished), STEPS) == weights(training_of(undisturbed), STEPS)
    ours, theirs = read_series(branch_of(finished)), read_series(branch_of(undisturbed))
    assert len(ours) == len(theirs)
    assert ours != theirs
    assert go_on(finished).computed == 0


def test_a_branch_that_has_seen_a_document_may_be_kept(
    finished: Path, undisturbed: Path, in_branch: str
) -> None:
    remove(finished, in_branch)
    assert go_on(finished, keep=True).computed == 0
    assert results(finished) == results(undisturbed)
    facts = record(run_of(finished))
    assert facts["training"]["taken_down"] == {"documents": 1, "seen": []}
    (seen,) = facts["branches"]["plain"]["taken_down"]["seen"]
    assert (seen["id"], min(seen["steps"]) > STABLE) == (in_branch, True)


def test_a_second_take_down_of_a_source_is_no_less_asked_about(
    place: Path, late: str, early: str
) -> None:
    remove(place, late)
    go_on(place)
    remove(place, early)
    assert early in str(stopped(place).found)
    assert late not in str(stopped(place).found)
    go_on(place, back=True)
    assert {one.id for one in plan_of(place).take_downs} == {late, early}
    both = Tracer(plan_of(place), folders_of(place))
    assert all(span.masked for one in (late, early) for span in both.document(one))


def test_a_plan_that_an_earlier_release_froze_after_a_take_down_is_gone_on_with(
    place: Path, nowhere: str, late: str
) -> None:
    remove(place, nowhere)
    frozen = plan_mixture(
        recipe(place), Materials.of(store_of(run_of(place)), record(run_of(place)))
    )
    facts = {name: getattr(frozen, name) for name in Plan.model_fields}
    pins = tuple(
        pin.model_copy(update={"manifest": ""}) if pin.name == "web" else pin
        for pin in frozen.sources
    )
    older = Plan(**{**facts, "sources": pins})
    go_on(place, until_step=4, plan=older)
    assert plan_of(place).history[-1].hash == older.hash
    begun = training_of(place)
    remove(place, late)
    go_on(place, until_step=4)
    assert plan_of(place).history[0].hash == older.hash
    assert weights(training_of(place), 4) == weights(begun, 4)
    assert read_series(training_of(place)) == read_series(begun)


def test_a_checkpoint_that_has_seen_a_document_is_not_branched_in_silence(
    finished: Path, early: str, late: str
) -> None:
    mixture = finished / "other.yaml"
    mixture.write_text("phases: [{name: decay, decay: true, tokens: 1024, weights: {web: 1}}]\n")
    training = training_of(finished)

    def branch(step: int, *more: object) -> None:
        start = training / f"checkpoints/step-{step:08d}"
        named = ("--mixture", mixture, "--run", run_of(finished), "--output", finished / "out")
        call("branch", start, *named, *more)

    remove(finished, late)
    with pytest.raises(UserError, match="checkpoint has seen documents") as raised:
        branch(STABLE)
    assert f"it has shown web {late} at step " in str(raised.value.found)
    assert "branch from step 4, which has not, or give --keep" in str(raised.value.fix)
    branch(4)
    plan = load_plan(finished / "out/other/checkpoints/step-00000006/plan.json")
    assert [(one.id, one.from_step, one.kept) for one in plan.take_downs] == [(late, 0, False)]
    remove(finished, early)
    with pytest.raises(UserError, match="checkpoint has seen documents"):
        branch(4)
    branch(4, "--keep")  # finished, so that its own weights stay
    shutil.rmtree(finished / "out")
    branch(4, "--keep")
    plan = load_plan(finished / "out/other/checkpoints/step-00000006/plan.json")
    assert [(one.id, one.from_step, one.kept) for one in plan.take_downs if one.kept] == [
        (early, 4, True)
    ]


# -- stopped in between ---------------------------------------------------------------------------

KILLED = """
import sys
from tests.pipelines.dying_operations import Dying
from tests.pipelines.test_taken_down import Path, go_on, run_of
folder = Path(sys.argv[1])
operations = Dying(str(run_of(folder)), int(sys.argv[2]))
go_on(folder, **{sys.argv[3]: True})
print(operations.operations)
"""


def die(folder: Path, operation: int, way: str) -> int:
    """Go on, and be killed before a file operation; how many there are where none is named."""
    found = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(operation), way],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == (-9 if operation else 0), found.stderr
    return int(found.stdout or 0)


@pytest.mark.kill
@pytest.mark.parametrize("way", ["back", "keep"])
def test_a_take_down_that_is_killed_in_between_comes_to_the_same(
    place: Path, tmp_path: Path, early: str, late: str, way: str
) -> None:
    go_on(place, until_step=6)
    remove(place, early if way == "keep" else late)
    whole = tmp_path / "whole"
    shutil.copytree(place, whole)
    operations = die(whole, 0, way)
    for operation in (2, 5, 9, operations // 2):  # plan, checkpoints adopted, training
        folder = tmp_path / f"killed-{operation}"
        shutil.copytree(place, folder)
        die(folder, operation, way)
        go_on(folder, **{way: True})
        assert results(folder) == results(whole), operation
        assert plan_of(folder) == plan_of(whole), operation


# -- trace ----------------------------------------------------------------------------------------


def traced(folder: Path, target: str) -> dict[str, Any]:
    (folder / "asked.txt").write_text(target)
    found = call("mixture", "trace", run_of(folder), "--removed", folder / "asked.txt", "--json")
    (facts,) = json.loads(found)["documents"]
    return dict(facts)


def test_a_document_masked_throughout_was_never_shown(without_late: Path, late: str) -> None:
    facts = traced(without_late, late)
    assert (facts["steps"], facts["shown_tokens"], facts["checkpoints"]) == ([], 0, [])
    spans = Tracer(plan_of(without_late), folders_of(without_late)).document(late)
    assert facts["masked_tokens"] == sum(span.stop - span.start for span in spans) > 0
    said = call("mixture", "trace", run_of(without_late), "--doc", late)
    assert said.count("taken down") == len(spans)


def test_a_trace_tells_what_was_shown_before_a_take_down_from_what_is_masked_after(
    place: Path, early: str
) -> None:
    go_on(place, until_step=4)
    spans = Tracer(plan_of(place), folders_of(place)).document(early)
    before = sum(span.stop - span.start for span in spans if span.step < 4)
    after = sum(span.stop - span.start for span in spans if span.step >= 4)
    assert (traced(place, early)["shown_tokens"], traced(place, early)["masked_tokens"]) == (
        before,
        0,
    )
    remove(place, early)
    facts = traced(place, early)
    assert (facts["shown_tokens"], facts["masked_tokens"]) == (before, after)
    assert [path for path in facts["checkpoints"] if path.endswith("step-00000004")]
    go_on(place, keep=True)
    facts = traced(place, early)
    assert (facts["shown_tokens"], facts["masked_tokens"]) == (before, after)
    assert len([path for path in facts["checkpoints"] if path.endswith("step-00000012")]) == 2
