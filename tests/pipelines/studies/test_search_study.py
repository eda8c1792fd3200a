"""A search carried out: rounds of real trials, a journal for Optuna, the same table again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.studies.experiment import load_experiment
from pipelines.studies.study import run_study
from pipelines.studies.written import FINDINGS, TABLE
from trainer.experiments.designs.search.journal import FILE, STUDY

pytestmark = pytest.mark.slow

DESIGN = {
    "width": 32,
    "layers": 1,
    "trials": 6,
    "first": 4,
    "round": 2,
    "tokens_per_parameter": 0.1,
    "warmup": 1,
    "best": 1,
    "confirm_seeds": [2, 3],
    "alike": 4,
}


def test_a_search_that_lost_runs_comes_to_the_same_files(written: Callable[..., Path]) -> None:
    path = written("search", DESIGN)

    def carried_out() -> tuple[int, dict[str, bytes]]:
        outcome = run_study(load_experiment(path), str(path.parent / "runs"), workers=1)
        names = (TABLE, FINDINGS, FILE)
        return len(outcome.made), {name: outcome.folder.read(name) for name in names}

    made, files = carried_out()
    assert made == 6 + 4 + 2 * 2
    studies = path.parent / "runs" / "trained" / "studies"
    lines = sorted((studies / "runs").glob("*/line.json"))
    for line in lines[::3]:
        line.unlink()
    again, same = carried_out()
    assert again == len(lines[::3])
    assert same == files
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(studies / "small" / FILE)))
    study = optuna.load_study(study_name=STUDY, storage=storage)
    assert len(study.trials) == 6
    assert {trial.user_attrs["run"] for trial in study.trials} <= {
        line.parent.name for line in lines
    }
