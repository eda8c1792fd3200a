"""A training whose loss is not finite says a command that leaves the windows out, and the command
does.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from artifacts.errors import UserError
from artifacts.paths import Store
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.training.plan_file import plan_of_run
from tests.pipelines.run_trees import record
from tests.pipelines.test_mixture_commands import ALONE, done, refused
from trainer.loop.metrics import read_series

HUGE = [*ALONE, "train.schedule.peak=1e30", "train.schedule.warmup=2"]


@pytest.fixture
def runs(tiny: tuple[Path, RunOutcome], root: Path, tmp_path: Path) -> Path:
    """A folder, with a space in its name, of runs in which `tiny` has got as far as its shards."""
    ignored = shutil.ignore_patterns("training", "plan.json", "report.html")
    shutil.copytree(tiny[0], tmp_path / "my runs" / "tiny", ignore=ignored)
    run_recipe(
        load_recipe(root / "recipes" / "tiny.yaml"), str(tmp_path / "my runs"), until="shards"
    )
    return tmp_path / "my runs"


def advice(error: UserError) -> list[list[str]]:
    """The commands that an error names, without the program's name."""
    commands = re.findall(r"`windtunnel ([^`]*)`", str(error.fix))
    return [shlex.split(command) for command in commands]


@pytest.mark.parametrize("command", ["train", "run"])
def test_the_commands_that_an_error_names_lead_to_the_end_of_the_training(
    runs: Path, root: Path, command: str
) -> None:
    given = [f"--set={override}" for override in HUGE]
    again = [command, str(root / "recipes" / "tiny.yaml"), "--runs", str(runs), *given]
    steps = []
    for place in (0, 1, 1):
        error = refused(*again)
        (step,) = re.findall(r"not finite at step (\d+)", error.message)
        steps.append(int(step))
        said = done(*advice(error)[place])
        assert re.search(r"steps \d+ to \d+ make no update \(skipped\)", said)
    done(*again)
    folder = runs / "tiny" / record(runs / "tiny")["training"]["folder"]
    lines = read_series(folder)
    plan = plan_of_run(Store(str(runs / "tiny")))
    assert [line["step"] for line in lines] == list(range(1, plan.steps + 1))
    assert steps == [steps[0], steps[0] + 1, steps[0] + 21]
    silent = [line["step"] for line in lines if line["loss"] is None]
    assert silent == list(range(steps[0], plan.steps + 1))
    assert "another training at its first step" in str(error.fix)


def test_no_edit_is_advised_where_another_training_has_gone_further_with_the_plan(
    tiny: tuple[Path, RunOutcome], root: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny[0], tmp_path / "tiny")
    other = record(tmp_path / "tiny")["training"]["folder"]
    plan = (tmp_path / "tiny" / "plan.json").read_bytes()
    given = [f"--set={override}" for override in HUGE]
    error = refused("train", str(root / "recipes" / "tiny.yaml"), "--runs", str(tmp_path), *given)
    (before,) = re.findall(r"not finite at step (\d+)", error.message)
    assert advice(error) == []
    assert f"while {other}/checkpoints/step-00000025, of another training" in str(error.fix)
    edit = ("mixture", "edit", str(tmp_path / "tiny"), "--at", before, "--skip", "1")
    assert refused(*edit).message == "what was trained cannot be edited"
    assert (tmp_path / "tiny" / "plan.json").read_bytes() == plan
    shutil.rmtree(tmp_path / "tiny" / other)
    assert f"steps {before} to {before} make no update" in done(*edit)
