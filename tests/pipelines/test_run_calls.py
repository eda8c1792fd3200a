"""What a run folder says after a second call, and after one that stops early: all it said before."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from artifacts.tables import read_parquet
from pipelines.commands.app import app
from pipelines.recipe.load import load_recipe
from pipelines.report.calls import earlier_stretches, made, step_costs
from pipelines.report.data_progress import phase_ends
from pipelines.report.page import write_report
from pipelines.report.training_metrics import read_trainings
from pipelines.run.cache import collect
from pipelines.run.driver import UNTIL, RunOutcome, run_recipe
from pipelines.run.record import load_run
from pipelines.run.train_only import train_run
from tests.pipelines.run_trees import record

SECTIONS = ("tokenizer", "shards", "training", "cost")
CHOSEN = ("quarantine", "selection", "languages", "evidence")
LATER = ("tokenizer", "encoded", "shards", "plan", "training", "branches", "samples")


@pytest.fixture
def runs(tiny: tuple[Path, RunOutcome], tmp_path: Path) -> Path:
    """A copy of the runs folder that holds the trained tiny run."""
    shutil.copytree(tiny[0], tmp_path / "runs" / "tiny")
    return tmp_path / "runs"


def call(root: Path, runs: Path, *settings: str, until: str = "train") -> dict[str, Any]:
    loaded = load_recipe(root / "recipes" / "tiny.yaml", settings)
    outcome = run_recipe(loaded, str(runs), until=until)
    write_report(outcome.store, outcome.record)
    written = record(runs / "tiny")
    assert {**written, "checksum": None} == {**outcome.record, "checksum": None}
    return written


def page(runs: Path) -> str:
    return (runs / "tiny" / "report.html").read_text()


def windtunnel(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return result.output


def test_a_second_call_says_what_the_first_one_cost(root: Path, runs: Path) -> None:
    first = record(runs / "tiny")
    second = call(root, runs)
    assert (first["call"], second["call"]) == (1, 2)
    assert all(not ledger["computed"] for ledger in second["ledgers"])
    assert step_costs(second) == step_costs(first)
    assert sum(cost.seconds for cost in step_costs(second)) > 0
    assert {cost.call for cost in step_costs(second) if cost.made} == {1}
    assert "<dt>Work</dt><dd>0" not in page(runs)


@pytest.mark.parametrize("until", UNTIL[:-1])
def test_a_call_that_stops_early_keeps_what_was_made(root: Path, runs: Path, until: str) -> None:
    first = record(runs / "tiny")
    write_report(runs_store(runs), first)
    sections = re.findall('<section id="([a-z]+)">', page(runs))
    assert set(SECTIONS) < set(sections)
    early = call(root, runs, until=until)
    assert early["reached"] == until
    assert {name: early[name] for name in LATER} == {name: first[name] for name in LATER}
    assert {name: early[name] for name in CHOSEN} == {name: first[name] for name in CHOSEN}
    chunks = [[{**chunk, "encoded": None} for chunk in one["chunks"]] for one in (first, early)]
    assert chunks[0] == chunks[1]
    assert step_costs(early) == step_costs(first)
    (said,) = earlier_stretches(early)
    assert "as of call 1" in said
    assert ("The corpus, " in said) == (until == "read")
    assert "settings" not in said
    html = page(runs)
    assert said in html
    assert re.findall('<section id="([a-z]+)">', html) == sections


@pytest.mark.parametrize("until", UNTIL)
def test_every_command_that_reads_shards_or_training_works_after_every_until(
    root: Path, runs: Path, until: str
) -> None:
    call(root, runs, until=until)
    training = record(runs / "tiny")["training"]
    checkpoint = runs / "tiny" / training["folder"] / "checkpoints"
    newest = max(checkpoint.glob("step-*"))
    for arguments in (
        ("report", "tiny"),
        ("shards", "verify", "tiny"),
        ("shards", "inspect", "tiny"),
        ("mixture", "check", "tiny"),
        ("mixture", "trace", "tiny", "--step", "1"),
        ("cache", "ls", "tiny"),
        ("corpus", "export", "tiny", "-o", runs / "dataset"),
    ):
        windtunnel(*arguments, "--runs", runs)
    windtunnel("mixture", "plan", root / "recipes" / "tiny.yaml", "--runs", runs)
    windtunnel("train", root / "recipes" / "tiny.yaml", "--runs", runs)
    windtunnel("generate", newest, "the", "--tokens", "2")
    assert training == record(runs / "tiny")["training"]


def test_a_corpus_is_not_taken_for_that_of_other_settings(root: Path, runs: Path) -> None:
    """A call that only read says so, and no command takes the run for one with a corpus."""
    call(root, runs, "corpus.stages.2.heuristics.thresholds={min_words: 80}", until="read")
    train_run(load_recipe(root / "recipes" / "tiny.yaml"), str(runs))
    result = CliRunner().invoke(app, ["corpus", "export", "tiny", "-o", "x", "--runs", str(runs)])
    assert isinstance(result.exception, UserError)
    assert "chosen no documents yet" in str(result.exception)
    windtunnel("report", "tiny", "--runs", runs)
    store, now = load_run(str(runs), "tiny")
    ids = read_parquet(store, now["chunks"][0]["documents"]["name"], "documents", ["id"])["id"]
    said = windtunnel("corpus", "explain", ids[0].as_py().hex(), "--run", "tiny", "--runs", runs)
    assert "none yet: the run has only read its sources" in said


def test_what_other_settings_made_is_said_to_be_of_them(root: Path, runs: Path) -> None:
    first = record(runs / "tiny")
    other = "corpus.stages.2.heuristics.thresholds={min_words: 80}"
    early = call(root, runs, other, until="corpus")
    assert early["selection"] != first["selection"]
    (said,) = earlier_stretches(early)
    assert said.startswith("The tokenizer, the shards and the training are as of call 1")
    assert "with other settings than this recipe's" in said
    assert "<dt>Tokens</dt>" not in page(runs), "they are of other documents"
    collect(runs_store(runs))
    windtunnel("shards", "verify", "tiny", "--runs", runs)
    back = call(root, runs, until="corpus")
    (said,) = earlier_stretches(back)
    assert "call 1; the last call is number 3" in said
    assert "<dt>Tokens</dt>" in page(runs)


def test_a_report_of_other_shards_than_the_training_was_shown_counts_no_documents_of_it(
    root: Path, runs: Path
) -> None:
    first = record(runs / "tiny")
    assert documents_counted(runs) == {True}
    other = "corpus.stages.2.heuristics.thresholds={min_words: 80}"
    early = call(root, runs, other, until="shards")
    assert early["shards"] != first["shards"]
    assert early["training"] == first["training"]
    assert documents_counted(runs) == {False}
    windtunnel("report", "tiny", "--runs", runs)
    call(root, runs, until="shards")
    assert documents_counted(runs) == {True}


def documents_counted(runs: Path) -> set[bool]:
    """Whether documents are counted at the ends of the run's phases."""
    store, written = load_run(str(runs), "tiny")
    return {end.counted for end in phase_ends(store, written, read_trainings(store, written))}


def test_a_training_goes_by_the_recipe_its_shards_were_made_with(root: Path, runs: Path) -> None:
    other = "corpus.stages.2.heuristics.thresholds={min_words: 80}"
    call(root, runs, other, until="corpus")
    trained = train_run(load_recipe(root / "recipes" / "tiny.yaml"), str(runs))
    assert trained.computed == 0
    assert made(trained.record, "train")["call"] == trained.record["call"] == 3
    assert made(trained.record, "shards")["call"] == 1


def runs_store(runs: Path) -> Any:
    from artifacts.paths import Store

    return Store(str(runs / "tiny"))
