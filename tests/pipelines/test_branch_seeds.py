"""`windtunnel branch` with a length, a shape and seeds of its decays: real trainings of a run."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from mixtures.order.sound_plan import load_plan
from pipelines.commands.app import app
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import run_recipe
from pipelines.run.train_only import train_run
from pipelines.training.seed_branches import room_for
from tests.pipelines.run_trees import record
from trainer.checkpoints.checkpoint import at_step
from trainer.checkpoints.recorded import schedule
from trainer.optimizer.schedules import rate

pytestmark = pytest.mark.slow

COMMAND = "import sys; from pipelines.launch import main; sys.argv = ['windtunnel', *sys.argv[1:]]; main()"
SETTINGS = [
    "name=small",
    "corpus.stages=[newlines]",
    "tokenizer={vocab_size: 512, sample: {web: 1}, sample_mib: 1}",
    "mixture={phases: [{name: stable, tokens: 4096, weights: {web: 1}}, {name: decay, decay: true,"
    " tokens: 1024, weights: {web: 1}}]}",
    "branches=[]",
    "shards.hold_out=0.2",
    "model={preset: tiny, width: 32, layers: 1, heads: 2, kv_heads: 1, head_dim: 16, ff: 48}",
    "train={sequence_length: 64, batch_tokens: 512, checkpoint_every: 4, threads: 1,"
    " tensorboard: false, schedule: {kind: wsd, peak: 0.01, warmup: 2}}",
]
STABLE = 8
ASKED = ("--decay", "20%", "--shape", "one_minus_sqrt", "--seeds", 2)


@pytest.fixture(scope="module")
def trained(workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run `small`, trained, and two mixtures. Nobody may change it."""
    folder = tmp_path_factory.mktemp("seeds")
    shutil.copytree(workshop, folder / "workshop", ignore=shutil.ignore_patterns("runs"))
    loaded = load_recipe(folder / "workshop" / "recipe.yaml", SETTINGS)
    run_recipe(loaded, str(folder / "runs"), until="shards")
    train_run(loaded, str(folder / "runs"))
    (folder / "web.yaml").write_text("weights: {web: 1}\n")
    (folder / "mixed.yaml").write_text("weights: {web: 0.5, instructions: 0.5}\n")
    return folder


@pytest.fixture
def place(trained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(trained, tmp_path / "here")
    return tmp_path / "here"


def training_of(place: Path) -> Path:
    run = place / "runs" / "small"
    return run / str(record(run)["training"]["folder"])


def command(place: Path, *more: object) -> list[str]:
    start = training_of(place) / f"checkpoints/step-{STABLE:08d}"
    mixtures = ("--mixture", place / "web.yaml", "--mixture", place / "mixed.yaml")
    asked = ("branch", start, *mixtures, "--run", place / "runs" / "small", *more)
    return [str(one) for one in asked]


def branch(place: Path, *more: object) -> Any:
    found = CliRunner().invoke(app, command(place, *more))
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found


def bits(place: Path) -> dict[str, bytes]:
    """The weights, moments, plans and comparisons below the branches."""
    base = training_of(place) / "branches"
    wanted = [*base.rglob("*.safetensors"), *base.rglob("plan.json"), *base.glob("*.json")]
    return {str(path.relative_to(base)): path.read_bytes() for path in sorted(wanted)}


def test_two_mixtures_over_two_seeds_are_the_same_for_any_number_of_workers(
    place: Path, trained: Path, tmp_path: Path
) -> None:
    said = branch(place, *ASKED, "--workers", 1, "--json")
    found = json.loads(said.stdout)
    assert [(end["mixture"], end["seed"]) for end in found["ends"]] == [
        (mixture, seed) for mixture in ("web", "mixed") for seed in (1, 2)
    ]
    assert (
        "20 % of all tokens at the end, 1,024 tokens asked, 1,024 planned in 2 steps"
        in (found["notes"][0])
    )
    assert "the noise of the decay's order alone" in found["notes"][-1]
    rows = {(row["mixture"], row["source"]): row for row in found["rows"]}
    losses = [rows[mixture, "web"]["losses"] for mixture in ("web", "mixed")]
    assert losses[0][0] != losses[0][1]
    pairs = [second - first for first, second in zip(*losses, strict=True)]
    assert rows["mixed", "web"]["difference"]["mean"] == pytest.approx(sum(pairs) / 2)
    assert rows["mixed", "web"]["difference"]["half_width"] > 0

    base = training_of(place) / "branches"
    plans = [load_plan(next((base / end["folder"]).rglob("plan.json"))) for end in found["ends"]]
    assert [any(part.passed for part in plan.segments) for plan in plans] == [False, True] * 2
    ended = schedule(at_step(base / found["ends"][0]["folder"], plans[0].steps))
    assert (ended.decay.shape, ended.decay_start, ended.end) == ("one_minus_sqrt", 8, 10)
    assert rate(ended, 10) < rate(ended, 9) < rate(ended, 8)
    report = (place / "runs" / "small" / "report.html").read_text()
    assert "mixed, minus web: decays of 1,024 tokens after step 8" in report
    assert "needs seeds of the trunk too" in report

    shutil.copytree(trained, tmp_path / "other")
    again = json.loads(branch(tmp_path / "other", *ASKED, "--workers", 2, "--json").stdout)
    assert again == found
    assert bits(tmp_path / "other") == bits(place)
    once_more = branch(place, *ASKED, "--workers", 1)
    assert once_more.output.count("was there already") == 4
    assert "minus web" in once_more.stdout


def test_a_comparison_that_was_stopped_goes_on_to_the_same_bits(
    place: Path, trained: Path, tmp_path: Path
) -> None:
    asked = ("--decay", "6_144", "--seeds", 2, "--workers", 2)
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *command(place, *asked)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "at step" in line:
            process.send_signal(signal.SIGINT)
            break
    rest = process.communicate()[1]
    assert process.returncode == 130, rest
    assert "stopped by SIGINT after a whole step" in rest
    begun = [*(training_of(place) / "branches").rglob("state.json")]
    assert begun
    branch(place, *asked)
    shutil.copytree(trained, tmp_path / "other")
    branch(tmp_path / "other", *asked[:-1], 1)
    assert bits(tmp_path / "other") == bits(place)


def test_what_cannot_be_compared_is_refused_before_anything_is_trained(place: Path) -> None:
    (place / "long.yaml").write_text(
        "phases:\n  - {name: decay, decay: true, tokens: 512,\n     weights: {web: 1}}\n"
    )
    refusals: list[tuple[tuple[object, ...], str, str]] = [
        (("--decay", "10%", "--seeds", 900), "does not hold what 900 seeds need", "weights.web"),
        (("--decay", "0%"), "not the length of a decay", "--decay"),
        (("--decay", "10%", "--shape", "round"), "no such shape", "--shape"),
        (("--decay", "10%", "--mixture", place / "long.yaml"), "said twice", "phases[0].tokens"),
        (("--seeds", 2), "a field is missing", "phases"),
    ]
    for more, said, field in refusals:
        with pytest.raises(UserError, match=said) as refused:
            branch(place, *more)
        assert refused.value.field == field
        assert not (training_of(place) / "branches").exists()
    with pytest.raises(UserError) as refused:
        branch(place, "--decay", "10%", "--seeds", 900)
    assert "or ask for --seeds " in (refused.value.fix or "")
    assert refused.value.line == 1


def test_without_these_options_the_command_is_what_it_was(place: Path) -> None:
    for name in ("web", "mixed"):
        (place / f"{name}.yaml").write_text(
            "phases: [{name: decay, decay: true, tokens: 1024, weights: {web: 1}}]\n"
        )
    rows = json.loads(branch(place, "--json").stdout)
    assert {row["branch"] for row in rows} == {"start", "web", "mixed"}
    assert {path.name for path in (training_of(place) / "branches").iterdir()} == {"web", "mixed"}
    seeds = json.loads(branch(place, "--seeds", 2, "--workers", 1, "--json").stdout)
    first = {row["source"]: row["loss"] for row in rows if row["branch"] == "web"}
    for row in seeds["rows"]:
        assert row["losses"][0] == first[row["source"]]


def test_as_many_at_a_time_as_the_cores_have_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    assert [room_for(None, threads, 6) for threads in (1, 2, 3, 16)] == [6, 4, 2, 1]
    assert (room_for(5, 8, 6), room_for(9, 1, 6)) == (5, 6)
