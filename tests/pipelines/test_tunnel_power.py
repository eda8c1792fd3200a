"""windtunnel tunnel power: seeds from a deviation or from a table of losses, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from artifacts.statistics.pooled import difference_variance, pooled_variance
from artifacts.statistics.power import half_width, power, seeds_needed
from pipelines.commands.app import app
from pipelines.commands.tunnel.loss_table import read_losses

LOSSES = [[3.41, 3.39], [3.43, 3.42], [3.42, 3.39], [3.40, 3.38]]


def call(*options: object) -> Any:
    return CliRunner().invoke(app, ["tunnel", "power", *map(str, options)])


def found_by(*options: object) -> dict[str, Any]:
    result = call(*options, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.output)
    return found


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "losses.csv"
    rows = [f"{seed},{a},{b}" for seed, (a, b) in enumerate(LOSSES)]
    path.write_text("\n".join(["seed,lr 0.01,lr 0.02", *rows]) + "\n")
    return path


@pytest.mark.parametrize("paired", [False, True])
def test_the_seeds_are_those_of_the_statistics(paired: bool) -> None:
    found = found_by("--sd", 0.015, "--effect", 0.02, *(["--paired"] if paired else []))
    assert found["seeds"] == seeds_needed(0.02, 0.015, paired=paired)
    rows = {row["seeds"]: row for row in found["table"]}
    assert found["seeds"] in rows
    assert rows[3]["half_width"] == half_width(3, 0.015, paired=paired)
    assert rows[3]["power"] == power(3, 0.02, 0.015, paired=paired)


def test_alpha_and_power_are_asked_for() -> None:
    found = found_by("--sd", 1, "--effect", 1, "--alpha", 0.01, "--power", 0.5)
    assert found["seeds"] == seeds_needed(1, 1, paired=False, alpha=0.01, target=0.5)


def test_a_table_gives_the_deviation_pooled_over_its_columns(table: Path) -> None:
    found = found_by("--table", table, "--effect", 0.02)
    spread = pooled_variance(list(zip(*LOSSES, strict=True)))
    assert found["sd"] == pytest.approx(spread.deviation)
    assert (found["sd_low"], found["sd_high"]) == pytest.approx(spread.deviation_interval())
    assert found["seeds_at_sd_high"] >= found["seeds"]


def test_a_table_of_pairs_gives_the_deviation_of_differences(table: Path) -> None:
    found = found_by("--table", table, "--effect", 0.02, "--paired")
    differences = np.subtract(*zip(*LOSSES, strict=True))
    assert found["sd"] == pytest.approx(differences.std(ddof=1))
    assert found["sd_degrees"] == 3


def test_the_spread_of_a_difference_is_of_any_two_arms() -> None:
    draw = np.random.default_rng(1)
    luck = draw.normal(0, 5, (4000, 1))
    spread = difference_variance((luck + draw.normal(0, 0.3, (4000, 4))).tolist())
    assert spread.deviation == pytest.approx(0.3 * np.sqrt(2), rel=0.03)
    assert spread.degrees == 3999 * 3
    with pytest.raises(UserError, match="two arms under two seeds"):
        difference_variance([[1.0], [2.0]])


def test_runs_without_a_loss_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    path.write_text("a,b\n1.0,2.0\n1.1,\n1.3,2.2\n\n")
    assert found_by("--table", path, "--effect", 1)["sd_degrees"] == 3
    assert found_by("--table", path, "--effect", 1, "--paired")["sd_degrees"] == 1


def test_the_text_says_what_the_deviation_is_of(table: Path) -> None:
    text = call("--table", table, "--effect", 0.02, "--paired").output
    assert "half-width" in text
    assert "of differences by seed" in " ".join(text.split())
    assert "95 % interval" in text


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (["--effect", "0"], "--effect"),
        (["--effect", "0.02", "--alpha", "0"], "--alpha"),
        (["--effect", "0.02", "--power", "1"], "--power"),
    ],
)
def test_a_mistake_is_said_of_the_option(options: list[str], field: str) -> None:
    error = call("--sd", "0.015", *options).exception
    assert isinstance(error, UserError)
    assert error.field == field


@pytest.mark.parametrize("deviation", ["0", "-1", "nan"])
def test_a_deviation_is_above_zero(deviation: str) -> None:
    error = call("--sd", deviation, "--effect", "0.02").exception
    assert isinstance(error, UserError)
    assert error.field == "--sd"


def test_the_spread_comes_from_one_place(table: Path) -> None:
    for options in (["--effect", "1"], ["--effect", "1", "--sd", "1", "--table", str(table)]):
        error = call(*options).exception
        assert isinstance(error, UserError)
        assert "one place" in str(error)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 columns of losses, 0 rows"),
        ("seed\n1\n", "0 columns of losses, 1 rows"),
        ("a,a\n1,2\n", "two columns named 'a'"),
        ("a,b\n1\n", ":2: a row has as many cells"),
        ("a\n1\nx\n", ":3: a loss is a finite number"),
        ("a\n1\nnan\n", "leave the cell of a run that diverged empty"),
        ("a,b\n1,2\n", "at least two"),
        ("a\n1\n1\n", "do not differ between seeds"),
    ],
)
def test_a_table_that_shows_no_spread_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "losses.csv"
    path.write_text(text)
    error = call("--table", path, "--effect", "1").exception
    assert isinstance(error, UserError)
    assert said in str(error)
    assert str(path) in str(error)


@pytest.mark.parametrize("text", ["a,b\n" + "9" * 200_000 + ",1\n", "a,b\n1,\xe9\n"])
def test_a_file_that_is_not_csv_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "losses.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match="not CSV"):
        read_losses(path)


def test_a_bad_cell_is_named_by_its_line_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    path.write_text("a,b\n\n1,2\n\n3,x\n")
    with pytest.raises(UserError) as refused:
        read_losses(path)
    assert refused.value.line == 5
