"""Runs as data: what they go on from, what they need of it, and which are no runs."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from mixtures.spec.phase import PhaseSpec
from trainer.experiments.runs import Merge, RunSpec
from trainer.optimizer.schedules import DecaySpec

STABLE = PhaseSpec(name="stable", tokens=900, weights={"web": 1.0})
DECAY = PhaseSpec(name="decay", tokens=100, decay=True, weights={"web": 1.0})
TRUNK = RunSpec(model={"width": 32}, train={"clip": 0.5}, seed=3, phases=(STABLE,))
LINEAR = DecaySpec(shape="linear")


def test_a_run_says_nothing_of_what_it_does_not_do() -> None:
    ended = TRUNK.ended((DECAY,), 9)
    for run in (TRUNK, ended):
        assert "anew" not in run.identity
        assert "merge" not in run.identity
    assert ended.starts == (9,)
    assert TRUNK.starts == ()


def test_what_comes_after_a_run_has_its_model_settings_and_seed() -> None:
    ended = TRUNK.ended((DECAY,), 9)
    again = ended.continued((STABLE, DECAY), 10, train={"clip": 1.0})
    merge = TRUNK.merged_at((3, 6, 9), LINEAR)
    plateau = TRUNK.measured_at(6)
    for run in (ended, again, merge, plateau):
        assert (run.model, run.seed, run.cap) == (TRUNK.model, TRUNK.seed, TRUNK.cap)
    assert (again.anew, again.depth, again.train) == (True, 2, {"clip": 1.0})
    assert (merge.from_step, merge.starts, merge.tokens) == (9, (3, 6, 9), 0)
    assert (plateau.from_step, plateau.starts, plateau.tokens) == (6, (6,), 0)
    assert len({run.identity for run in (TRUNK, ended, again, merge, plateau)}) == 5
    for run in (again, merge):
        assert RunSpec.model_validate_json(run.model_dump_json()) == run


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"phases": (STABLE,), "anew": True},
        {"merge": Merge(steps=(1,))},
        {"phases": (STABLE,), "merge": Merge(steps=(1,)), "parent": TRUNK},
    ],
)
def test_what_is_neither_trained_nor_measured_is_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RunSpec(**facts)


@pytest.mark.parametrize(
    "facts",
    [
        {"steps": ()},
        {"steps": (4, 2), "decay": LINEAR},
        {"steps": (2, 2), "decay": LINEAR},
        {"steps": (2, 4)},
        {"steps": (2,), "decay": LINEAR},
    ],
)
def test_what_cannot_be_merged_is_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Merge(**facts)
