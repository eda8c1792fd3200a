"""The commands around deduplication, as a user calls them."""

from __future__ import annotations

import json

import pytest
from datasketch.lsh import _optimal_param
from typer.testing import CliRunner

from artifacts.errors import UserError
from dedup.near.settings import DEFAULTS
from pipelines.commands.app import app
from pipelines.stages.minhash_dedup import MinHashDedupStage


def call(*arguments: object) -> str:
    """Run a command in this process; it must end well. Returns what it printed."""
    result = CliRunner().invoke(
        app, [str(argument) for argument in arguments], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.output


# -- curve --------------------------------------------------------------------------------------


def test_the_curve_of_the_stage_is_the_default() -> None:
    stage = MinHashDedupStage()
    assert (stage.bands, stage.rows, stage.verify) == (
        DEFAULTS.bands,
        DEFAULTS.rows,
        DEFAULTS.verify,
    )


def test_curve_draws_the_s_and_says_its_numbers() -> None:
    said = call("dedup", "curve", "--at", "0.5,0.8")
    assert "14 bands of 8 rows (112 hash functions)" in said
    assert "half of the pairs 0.685 ^" in said
    assert "threshold (1/bands)^(1/rows) 0.719 ^" in said
    rows = [line.split() for line in said.splitlines()]
    assert ["0.5", "5.33", "%", "94.67", "%"] in rows
    assert ["0.8", "92.35", "%", "7.65", "%"] in rows
    assert "false positive area 0.0521  under the curve up to 0.7" in said
    assert "false negative area 0.0258  above the curve from 0.7 on" in said
    assert "100 % |" in said


def test_curve_gives_exact_numbers_as_json() -> None:
    facts = json.loads(
        call(
            "dedup",
            "curve",
            "--bands",
            20,
            "--rows",
            5,
            "--at",
            "0.5",
            "--threshold",
            "0.8",
            "--json",
        )
    )
    assert (facts["bands"], facts["rows"], facts["permutations"], facts["areas_at"]) == (
        20,
        5,
        100,
        0.8,
    )
    assert facts["points"] == [
        {"similarity": 0.5, "probability": pytest.approx(1 - (1 - 0.5**5) ** 20, abs=1e-15)}
    ]
    assert facts["threshold"] == pytest.approx((1 / 20) ** (1 / 5))


def test_curve_chooses_bands_and_rows_as_datasketch_does() -> None:
    facts = json.loads(
        call("dedup", "curve", "--threshold", "0.8", "--permutations", 128, "--json")
    )
    assert (facts["bands"], facts["rows"]) == _optimal_param(0.8, 128, 0.5, 0.5)


@pytest.mark.parametrize(
    ("arguments", "field", "found"),
    [
        (["--at", "0.5,high"], "--at", "high"),
        (["--at", "0.5,1.5"], "--at", "1.5"),
        (["--threshold", "2"], "--threshold", 2.0),
        (["--permutations", "0"], "--permutations", 0),
        (["--permutations", "128", "--rows", "4"], "--permutations", 128),
    ],
)
def test_curve_names_the_option_that_is_wrong(
    arguments: list[str], field: str, found: object
) -> None:
    with pytest.raises(UserError) as caught:
        call("dedup", "curve", *arguments)
    assert (caught.value.field, caught.value.found) == (field, found)
    assert caught.value.fix
