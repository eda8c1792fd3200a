"""Runs that go on after a decay, and checkpoints that are measured without training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mixtures.inspect.accounting import realised
from mixtures.order.interleave import tokens_shown
from pipelines.executors.progress import Silent
from pipelines.studies.experiment import load_experiment
from pipelines.studies.study import StudyOutcome, opened_study, repeat_study, run_study
from tests.pipelines.studies.endings import BATCH
from tests.pipelines.studies.sequels import SequelsDesign
from trainer.checkpoints.checkpoint import at_step, latest
from trainer.experiments.designs.catalogue import DESIGNS
from trainer.experiments.outcomes import Outcome
from trainer.loop.metrics import TRAIN, read_series

pytestmark = pytest.mark.slow


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch, written: Callable[..., Path]) -> Path:
    monkeypatch.setitem(DESIGNS, SequelsDesign.kind, SequelsDesign)
    return written("sequels", {})


def carried_out(path: Path) -> tuple[StudyOutcome, dict[str, Outcome], dict[str, str]]:
    """Outcomes by arm, and the folders of their runs."""
    loaded, runs = load_experiment(path), str(path.parent / "runs")
    found = run_study(loaded, runs, workers=1)
    study = opened_study(loaded, runs, Silent())
    outcomes = {str(one["arm"]): one.outcome for one in found.points}
    return found, outcomes, {name: study.shelf.folder(one.key) for name, one in outcomes.items()}


def test_a_run_goes_on_after_a_decay_and_checkpoints_are_measured(experiment: Path) -> None:
    found, outcomes, folders = carried_out(experiment)
    assert len(found.made) == 9
    stable, ended, again = (outcomes[name] for name in ("stable", "ended", "again"))

    # what is measured without training is what the training measured
    place = stable.course.tokens.index(4 * BATCH)
    for name, loss in outcomes["plateau"].losses.items():
        assert loss.nats == stable.course.losses[name][place]
    assert outcomes["end"].losses == ended.losses
    assert outcomes["plateau"].tokens == 4 * BATCH
    assert outcomes["plateau"].own_tokens == outcomes["plateau"].operations == 0
    assert outcomes["merge"].tokens == 6 * BATCH
    assert outcomes["merge"].losses["web"] not in (stable.losses["web"], ended.losses["web"])

    # at one rate throughout, what goes on is what never stopped, bit for bit
    assert outcomes["anew"].losses == outcomes["on"].losses
    assert outcomes["anew"].tokens == outcomes["on"].tokens == 6 * BATCH

    # after the decay the rate is full again, and falls again
    peak = 0.01
    rates = [line["lr"] for line in read_series(folders["again"], TRAIN)]
    assert rates[:2] == [peak, peak]
    assert peak > rates[2] > rates[3] > 0
    assert [line["lr"] for line in read_series(folders["later"], TRAIN)][-1] < peak
    assert again.course.tokens == (8 * BATCH, 10 * BATCH)
    assert (again.tokens, again.own_tokens) == (10 * BATCH, 4 * BATCH)
    assert (outcomes["later"].tokens, outcomes["later"].own_tokens) == (9 * BATCH, BATCH)


def test_what_goes_on_has_the_weights_moments_and_unseen_data(experiment: Path) -> None:
    _, _, folders = carried_out(experiment)
    before, after = at_step(folders["ended"], 6), latest(folders["again"])
    assert after is not None
    assert after.state.parent == {
        "step": 6,
        "weights": before.state.files["weights.safetensors"].checksum,
        "past": False,
        "moments": True,
    }
    assert after.state.counted.updates == 10
    first = read_series(folders["again"], TRAIN)[0]
    assert first["loss"] != read_series(folders["stable"], TRAIN)[0]["loss"]
    assert set(before.moments()) == set(after.moments())
    assert all(torch.isfinite(value).all() for value in after.moments().values())

    from trainer.checkpoints.recorded import plan_of

    shown, plan = tokens_shown(plan_of(before), 6), plan_of(after)
    assert [windows * 64 for windows in plan.segments[0].passed] == shown.tolist()
    assert sum(row.tokens for row in realised(plan, plan.steps)) == 4 * BATCH


def test_they_are_made_once_and_come_to_the_same_figures_again(experiment: Path) -> None:
    found, _, _ = carried_out(experiment)
    assert carried_out(experiment)[0].made == ()
    runs = str(experiment.parent / "runs")
    assert repeat_study(load_experiment(experiment), runs, workers=1) == len(found.lines) == 9
