"""`windtunnel preview`: what decays would come to, beside the checkpoint they would begin before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from artifacts.errors import UserError
from pipelines.commands.app import app
from pipelines.run.driver import RunOutcome


def call(tiny: tuple[Path, RunOutcome], step: int, *options: str) -> Any:
    folder = tiny[0] / tiny[1].record["training"]["folder"] / f"checkpoints/step-{step:08d}"
    base = ["preview", str(folder), "--run", "tiny", "--runs", str(tiny[0].parent)]
    return CliRunner().invoke(app, [*base, *options])


def test_merged_losses_stand_beside_those_of_the_checkpoint(
    tiny: tuple[Path, RunOutcome],
) -> None:
    exact = call(tiny, 20, "--shape", "one_minus_sqrt", "--json")
    assert exact.exit_code == 0, exact.output
    facts = json.loads(exact.stdout)
    assert facts["decay"]["shape"] == "one_minus_sqrt"
    own, merge = facts["rows"]
    assert (own["steps"], merge["steps"], merge["span"]) == ([20], [10, 20], 10)
    assert sum(merge["coefficients"]) == 1
    recorded = tiny[0] / tiny[1].record["training"]["folder"] / "metrics/validation.jsonl"
    line = next(
        found for found in map(json.loads, recorded.read_text().splitlines()) if found["step"] == 20
    )
    for source, loss in line["sources"].items():
        assert abs(own["sources"][source]["loss"] - loss["loss"]) < 1e-6
        assert merge["sources"][source]["loss"] != own["sources"][source]["loss"]

    said = call(tiny, 20, "--span", "2")
    assert said.exit_code == 0, said.output
    assert "minus checkpoint" in said.output
    assert "web-en" in said.output


def test_the_default_shape_is_that_of_the_training(tiny: tuple[Path, RunOutcome]) -> None:
    facts = json.loads(call(tiny, 20, "--json").stdout)
    assert facts["decay"] == {"shape": "exponential", "half_life": None, "final": None}


def test_mistakes_are_said_of_the_options(tiny: tuple[Path, RunOutcome]) -> None:
    for options, words in (
        (("--shape", "sqrt"), "--shape"),
        (("--span", "9"), "--span"),
    ):
        refused = call(tiny, 20, *options)
        assert isinstance(refused.exception, UserError), refused.output
        assert words in str(refused.exception)
    decayed = call(tiny, 25)
    assert "has begun to decay" in str(decayed.exception)
    first = call(tiny, 10)
    assert "nothing to merge it with" in str(first.exception)
