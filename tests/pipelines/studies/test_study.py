"""Experiments carried out: lines, what is made once, what is made again, and what stops one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from artifacts.errors import UserError
from artifacts.lock import run_lock
from artifacts.paths import Store
from pipelines.studies.experiment import load_experiment
from pipelines.studies.lines import read_lines
from pipelines.studies.study import StudyOutcome, repeat_study, run_study
from pipelines.studies.written import FINDINGS, TABLE

pytestmark = pytest.mark.slow

Write = Callable[..., Path]


def carried_out(path: Path, workers: int = 1) -> StudyOutcome:
    return run_study(load_experiment(path), str(path.parent / "runs"), workers=workers)


def studies(bench: Path) -> Store:
    return Store(bench / "runs" / "trained" / "studies")


@pytest.mark.usefixtures("endings")
def test_every_run_leaves_one_line_and_is_made_once(written: Write, bench: Path) -> None:
    path = written("endings", {})
    first = carried_out(path)
    assert (len(first.points), len(first.lines), len(first.made)) == (4, 6, 6)
    table = first.folder.read(TABLE)
    lines = read_lines(first.folder.full(TABLE))
    assert lines == first.lines
    assert list(lines) == sorted(lines)
    for line in lines.values():
        outcome = line.outcome
        assert set(outcome.losses) >= {"web"}
        assert outcome.operations > 0
        assert outcome.course.tokens[-1] == outcome.tokens
        assert outcome.tokens - outcome.own_tokens == (
            0 if outcome.parent is None else line.settings["from_step"] * 512
        )
    second = carried_out(path)
    assert second.made == ()
    assert second.folder.read(TABLE) == table
    assert second.folder.read(FINDINGS) == first.folder.read(FINDINGS)


@pytest.mark.usefixtures("endings")
def test_two_at_a_time_come_to_the_same_table(written: Write, bench: Path) -> None:
    path = written("endings", {})
    one = carried_out(path).folder.read(TABLE)
    studies(bench).delete("runs")
    two = carried_out(path, workers=2)
    assert len(two.made) == 6
    assert two.folder.read(TABLE) == one


@pytest.mark.usefixtures("endings")
def test_experiments_share_runs_and_tables_count_as_made(written: Write, bench: Path) -> None:
    carried_out(written("endings", {"seeds": [1]}))
    more = carried_out(written("endings", {"seeds": [1, 2], "ends": [2, 4]}, name="more"))
    assert len(more.made) == 3
    kept = bench / "kept.parquet"
    kept.write_bytes(more.folder.read(TABLE))
    studies(bench).delete("runs")
    path = written("endings", {"seeds": [1, 2]}, name="once-more", lines=["kept.parquet"])
    assert carried_out(path).made == ()
    # a further ending needs a checkpoint that a line does not hold: its stable run is made again
    path = written(
        "endings", {"seeds": [1], "ends": [3, 4]}, name="further", lines=["kept.parquet"]
    )
    assert len(carried_out(path).made) == 2


@pytest.mark.usefixtures("endings")
def test_a_run_that_comes_to_other_figures_is_refused(written: Write, bench: Path) -> None:
    path = written("endings", {"seeds": [1], "ends": [4]})
    first = carried_out(path)
    assert repeat_study(load_experiment(path), str(bench / "runs")) == 2
    key = next(key for key, line in first.lines.items() if line.outcome.parent is None)
    file = bench / "runs" / "trained" / "studies" / "runs" / key / "line.json"
    text = file.read_text()
    loss = str(first.lines[key].outcome.training_loss)
    assert loss in text
    file.write_text(text.replace(loss, "1.5"))
    with pytest.raises(UserError, match="came to other figures"):
        repeat_study(load_experiment(path), str(bench / "runs"))


@pytest.mark.usefixtures("endings")
def test_a_run_that_diverged_is_a_point_with_its_reason(written: Write) -> None:
    found = carried_out(written("endings", {"seeds": [1], "peak": 1e30}))
    reasons = {one.outcome.diverged.reason for one in found.points if one.outcome.diverged}
    assert len(found.points) == 2
    assert reasons == {"the run it goes on from diverged"}
    trunk = next(line for line in found.lines.values() if line.outcome.parent is None)
    assert trunk.outcome.diverged is not None
    assert "loss" in trunk.outcome.diverged.reason
    assert carried_out(written("endings", {"seeds": [1], "peak": 1e30})).made == ()


@pytest.mark.usefixtures("endings")
def test_held_out_documents_in_the_training_shards_stop_an_experiment(
    written: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written("endings", {})
    from pipelines.studies import study

    def swapped(loaded: object, runs: str, progress: object) -> object:
        found = real(loaded, runs, progress)  # type: ignore[arg-type]
        found.held_out["web"] = Path(found.materials.folders["web"]).parent / "copy"
        source = Path(found.materials.folders["web"])
        if not found.held_out["web"].exists():
            found.held_out["web"].symlink_to(source)
        return found

    real = study.ground
    monkeypatch.setattr(study, "ground", swapped)
    with pytest.raises(UserError, match="held-out documents are in the training shards"):
        carried_out(path)


@pytest.mark.usefixtures("endings")
def test_a_second_experiment_at_the_same_time_is_told_to_wait(written: Write, bench: Path) -> None:
    with (
        run_lock(studies(bench)),
        pytest.raises(UserError, match="experiments on one recipe share their runs"),
    ):
        carried_out(written("endings", {}))
