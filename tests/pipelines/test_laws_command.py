"""Laws by command: from a table to constants, from constants to a plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from pipelines.commands.app import app

CONSTANTS = {"E": 1.7, "A": 400.0, "B": 900.0, "alpha": 0.34, "beta": 0.3}


def call(*words: object) -> Any:
    return CliRunner().invoke(app, ["laws", *map(str, words)])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    lines = ["parameters,tokens,seed,loss.web,loss.code"]
    for size in np.geomspace(1e6, 6e7, 5):
        for seed in range(3):
            trunk = random.normal(0, 0.004)
            for ratio in (10, 20, 40, 80, 160):
                tokens = size * ratio
                loss = CONSTANTS["E"] + CONSTANTS["A"] / size ** CONSTANTS["alpha"]
                loss += CONSTANTS["B"] / tokens ** CONSTANTS["beta"]
                loss *= np.exp(trunk + random.normal(0, 0.001))
                lines.append(f"{size},{tokens},{seed},{loss},{loss / 2}")
    path = tmp_path / "points.csv"
    path.write_text("\n".join(lines))
    return path


def test_a_table_becomes_constants_and_these_a_plan(table: Path, tmp_path: Path) -> None:
    fitted = call("fit", "--table", table, "--unit", "nats per token", "--draws", 60, "--json")
    assert fitted.exit_code == 0, fitted.output
    found = json.loads(fitted.output)
    for name, value in CONSTANTS.items():
        true = value if name in ("alpha", "beta") else 0.75 * value  # the mean of both sources
        assert found["intervals"][name]["low"] < true < found["intervals"][name]["high"]
        assert found["determined"][name]
    assert set(found["sources"]) == {"web", "code"}
    web, code = (found["sources"][name] for name in ("web", "code"))
    assert code["alpha"] == pytest.approx(web["alpha"], rel=1e-3)
    (tmp_path / "law.json").write_text(fitted.output)
    plan = json.loads(
        call("plan", "--flops", "1e18", "--law", tmp_path / "law.json", "--json").output
    )
    assert plan["constants"] == {name: found[name] for name in CONSTANTS}
    assert plan["intervals"]["ratio"]["low"] < plan["ratio"] < plan["intervals"]["ratio"]["high"]
    largest = 6 * 6e7 * 6e7 * 160
    assert plan["times_the_largest_run"] == pytest.approx(1e18 / largest)
    beyond = call("plan", "--flops", "1e20", "--law", tmp_path / "law.json").output
    assert "times the largest run of the fit: an extrapolation" in beyond


def test_the_tables_are_for_a_stranger(table: Path) -> None:
    text = call("fit", "--table", table, "--draws", 40).output
    for words in ("alpha", "parametric", "held in simulation", "MiniCPM D/N", "without N ="):
        assert words in text
    assert "Held-out source code" in text
    plan = call("plan", "--hours", 24, "--device", "H100", "--law", "chinchilla").output
    for words in ("24 hours of 1 × H100", "D/N", "hidden weights", "rounds them"):
        assert words in plan


def test_the_published_points_are_fitted_with_the_printed_constants_beside() -> None:
    found = json.loads(call("fit", "--published", "chinchilla", "--draws", 20, "--json").output)
    assert found["objective"] == pytest.approx(0.00101827, abs=5e-9)
    assert found["published"]["A"] == 482.01
    assert "another objective" in found["published"]["why"]
    assert found["paper"]["holds"] is False
    assert call("fit", "--published", "code", "--draws", 20).exit_code == 0


def test_the_papers_sets_are_shown_by_its_constants_and_as_printed() -> None:
    text = call("plan", "--flops", "1e21", "--inference", "1e12", "--unique", "1e10").output
    for number in ("193.7", "176.9", "879.0", "91.2", "105.8", "183.9", "194.93", "191.87"):
        assert number in text
    assert "before rounding" in text
    assert "tokens served" in text
    assert "epochs" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit"], "needs points"),
        (["fit", "--table", "none.csv"], "no such file"),
        (["fit", "--published", "x"], "no such published points"),
        (["plan"], "needs a budget"),
        (["plan", "--flops", "1e21", "--hours", "3"], "one way"),
        (["plan", "--flops", "-1"], "above 0"),
        (["plan", "--flops", "1e21", "--law", "x"], "no such law"),
        (["plan", "--hours", "3", "--device", "X"], "no such device"),
        (["plan", "--flops", "1e21", "--unique", "0"], "unique tokens"),
        (["plan", "--flops", "1e21", "--inference", "-1"], "tokens served"),
    ],
)
def test_mistakes_are_said_of_their_option(words: list[str], message: str) -> None:
    done = call(*words)
    assert isinstance(done.exception, UserError)
    assert message in str(done.exception)
    if len(words) > 1 and "two" not in message:
        assert "--" in str(done.exception.field)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    for text in ("{", "[]"):
        (tmp_path / "law.json").write_text(text)
        done = call("plan", "--flops", "1e21", "--law", tmp_path / "law.json")
        assert isinstance(done.exception, UserError)


def test_a_plan_says_which_constants_its_law_leaves_open(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    rows = [f"{size},{20 * size},{3 + 400 / size**0.3}" for size in (1e6, 2e6, 4e6, 8e6, 2e7, 4e7)]
    path.write_text("\n".join(["parameters,tokens,loss", *rows]))
    law = tmp_path / "law.json"
    law.write_text(call("fit", "--table", path, "--draws", 20, "--json").output)
    plan = call("plan", "--flops", "1e18", "--law", law, "--json")
    assert set(json.loads(plan.output)["undetermined_because"]) == set(CONSTANTS)
    assert "alpha is not determined" in call("plan", "--flops", "1e18", "--law", law).output
    assert (
        json.loads(call("plan", "--flops", "1e18", "--json").output)["undetermined_because"] == {}
    )


@pytest.mark.parametrize("flops", ["1e-300", "0.5"])
def test_less_than_one_operation_plans_nothing(flops: str) -> None:
    with pytest.raises(UserError, match="above 0"):
        raise call("plan", "--flops", flops).exception or AssertionError
