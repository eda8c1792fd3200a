"""What a checkpoint does not record had its default; what it records and nobody knows is
refused.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from artifacts.errors import UserError
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import DECAY, MIXED, STABLE, run, settings, traces
from trainer.checkpoints.checkpoint import STATE, Checkpoint, at_step, load
from trainer.checkpoints.recorded import model_config, schedule
from trainer.checkpoints.state import CheckpointState
from trainer.checkpoints.weights import model_of
from trainer.loop.branch import branch
from trainer.loop.metrics import read_series
from trainer.loop.recorded import train_settings
from trainer.loop.settings import TrainSettings
from trainer.optimizer.schedules import ScheduleSpec
from trainer.shapes.config import ModelConfig


def rewritten(found: Checkpoint, **facts: dict[str, Any] | None) -> Checkpoint:
    """The checkpoint with other facts in its state."""
    state = CheckpointState.model_validate({**found.state.model_dump(), **facts})
    Path(found.folder, STATE).write_bytes(state.to_json())
    return load(found.folder)


def without_defaults(kind: type[BaseModel], recorded: dict[str, Any]) -> dict[str, Any]:
    """Settings as a release recorded them that had none of those at their default."""
    usual = kind().model_dump(mode="json")
    return {name: value for name, value in recorded.items() if value != usual[name]}


@pytest.fixture
def stopped(corpus: Corpus, whole: Path, tmp_path: Path) -> Checkpoint:
    """The last stable checkpoint of a run, alone in its folder with the metrics."""
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    for path in (folder / "checkpoints").glob("step-*"):
        if path.name != f"step-{STABLE:08d}":
            shutil.rmtree(path)
    return at_step(folder, STABLE)


def test_a_run_goes_on_from_a_checkpoint_that_lacks_settings(
    corpus: Corpus, whole: Path, stopped: Checkpoint
) -> None:
    state = stopped.state
    usual = {field.name: field.default for field in dataclasses.fields(ModelConfig)}
    shape = {name: value for name, value in state.model.items() if value != usual[name]}
    rule = {"validation_rule": state.settings["validation_rule"]}
    chosen = {**without_defaults(TrainSettings, state.settings), **rule}
    rates = {**without_defaults(ScheduleSpec, state.schedule), "version": 2}
    assert {"norm_eps", "tied"} <= state.model.keys() - shape.keys()
    assert {"float8", "weight_decay", "betas"} <= state.settings.keys() - chosen.keys()
    assert {"decay", "period"} <= state.schedule.keys() - rates.keys()
    older = rewritten(stopped, model=shape, settings=chosen, schedule=rates)
    assert model_config(older).recorded() == state.model
    assert schedule(older).model_dump(mode="json") == state.schedule
    outcome = run(corpus, older.folder.rsplit("/", 2)[0])
    assert outcome.first_step == STABLE
    made, wanted = traces(Path(older.folder).parent.parent), traces(whole)
    assert made == {name: wanted[name] for name in made}
    assert {name.split("/")[0] for name in made} >= {"train", "8", "12"}


@pytest.mark.slow
@pytest.mark.parametrize("stop", [STABLE, STABLE + 2])
def test_a_schedule_without_a_version_goes_on_by_the_first_bit_for_bit(
    corpus: Corpus, tmp_path: Path, stop: int
) -> None:
    linear = {"peak": 0.02, "warmup": 3, "decay": {"shape": "linear"}}
    first, now = (settings(schedule={**linear, "version": version}) for version in (1, 2))
    run(corpus, tmp_path / "whole", settings=first)
    run(corpus, tmp_path / "former", settings=first, until_step=stop)
    found = at_step(tmp_path / "former", stop)
    facts: dict[str, Any] = {
        "schedule": dict(found.state.schedule),
        "settings": dict(found.state.settings),
    }
    facts["settings"]["schedule"] = dict(facts["settings"]["schedule"])
    for recorded in (facts["schedule"], facts["settings"]["schedule"]):
        assert recorded.pop("version") == 1
    rewritten(found, **facts)
    run(corpus, tmp_path / "former", settings=now)
    assert traces(tmp_path / "former") == traces(tmp_path / "whole")
    newest = at_step(tmp_path / "former", STABLE + DECAY)
    assert train_settings(newest).schedule.version == schedule(newest).version == 1

    run(corpus, tmp_path / "anew", settings=now)
    assert traces(tmp_path / "anew") != traces(tmp_path / "whole")
    assert read_series(tmp_path / "anew")[-1]["lr"] == pytest.approx(0.02 / (DECAY + 1))


def test_a_setting_that_is_not_recorded_and_not_at_its_default_is_another_run(
    corpus: Corpus, stopped: Checkpoint
) -> None:
    shape = {name: value for name, value in stopped.state.model.items() if name != "head_dim"}
    older = rewritten(stopped, model=shape)
    with pytest.raises(UserError, match="trained otherwise") as error:
        run(corpus, older.folder.rsplit("/", 2)[0])
    assert (error.value.field, error.value.allowed) == ("model.head_dim", ["64"])


@pytest.mark.parametrize(
    ("part", "facts", "field"),
    [
        ("model", {"experts": 8}, "model.experts"),
        ("settings", {"z_loss": 0.1}, "train.z_loss"),
        ("settings", {"schedule": {"hold": 3}}, "train.schedule.hold"),
        ("schedule", {"decay": {"power": 2}}, "train.schedule.decay.power"),
    ],
)
def test_a_setting_of_a_later_release_is_refused_by_name(
    corpus: Corpus, stopped: Checkpoint, part: str, facts: dict[str, Any], field: str
) -> None:
    recorded = {**getattr(stopped.state, part), **facts}
    newer = rewritten(stopped, **{part: recorded})
    with pytest.raises(UserError, match="this release does not know") as error:
        run(corpus, newer.folder.rsplit("/", 2)[0])
    assert (error.value.file, error.value.field) == (newer.folder, field)
    assert error.value.fix is not None
    with pytest.raises(UserError, match="this release does not know"):
        branch(
            newer,
            {"a": [MIXED]},
            corpus.folders,
            Path(newer.folder) / "x",
            validation=corpus.held_out,
        )
    if part == "model":
        with pytest.raises(UserError, match="this release does not know"):
            model_of(newer)


@pytest.mark.parametrize(
    ("part", "facts", "field"),
    [
        ("model", {"heads": 0}, "model.heads"),
        ("settings", {"clip": -1}, "train.clip"),
        ("schedule", {"warmup": "soon"}, "train.schedule.warmup"),
    ],
)
def test_a_recorded_setting_that_is_not_valid_is_refused_by_name(
    stopped: Checkpoint, part: str, facts: dict[str, Any], field: str
) -> None:
    broken = rewritten(stopped, **{part: {**getattr(stopped.state, part), **facts}})
    read = {"model": model_config, "settings": train_settings, "schedule": schedule}[part]
    with pytest.raises(UserError) as error:
        read(broken)
    assert (error.value.file, error.value.field) == (broken.folder, field)
