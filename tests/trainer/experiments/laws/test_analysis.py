"""A fit with all that belongs beside it, and plans made of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artifacts.errors import UserError
from tests.trainer.experiments.laws.designs import TRUTH, design
from trainer.experiments.laws.analysis import analysed
from trainer.experiments.laws.coverage import SIMULATED, designs
from trainer.experiments.laws.law import CONSTANTS
from trainer.experiments.laws.planning import (
    PUBLISHED,
    budget_of,
    known_of,
    planned,
)
from trainer.experiments.laws.points import Points
from trainer.experiments.laws.published import BATCH_LAW

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    points = design(trunk=0.008, branch=0.003)
    points = replace(
        points,
        counts={"with embedding": points.parameters + 1e7},
        settings={"rate": ["0.01" if row % 2 else "0.02" for row in range(len(points))]},
    )
    result = analysed(points, unit="nats per token", draws=100).to_json()
    parsed: dict[str, Any] = json.loads(json.dumps(result, allow_nan=False))
    return parsed


def test_constants_and_their_intervals_stand_at_the_top(found: dict[str, Any]) -> None:
    assert found["interval"]["kind"] == "parametric"
    assert found["interval"]["degrees"] == 10
    assert 0 < found["lack_of_fit"]["p"] <= 1
    for name in CONSTANTS:
        interval = found["intervals"][name]
        assert interval["low"] < found[name] < interval["high"]
        assert interval["low"] < getattr(TRUTH, name) < interval["high"]
    assert found["losses"]["huber"]["alpha"] == found["alpha"]
    assert {"huber", "log_squares", "squares"} == set(found["losses"])


def test_a_constant_left_open_keeps_its_value() -> None:
    few = analysed(design(2, 4, 1), draws=20).to_json()
    assert few["determined"] == {
        "E": False, "A": False, "B": True, "alpha": False, "beta": True,
    }  # fmt: skip
    assert all(np.isfinite(few[name]) for name in CONSTANTS)
    assert few["interval"]["kind"] is None
    assert few["paper"]["holds"] is None


@pytest.mark.parametrize("points", [design(1, 1, 1), design(1, 1, 3, branch=0.01)])
def test_one_size_at_one_length_is_fitted_and_says_that_nothing_is_known(points: Points) -> None:
    one = analysed(points, draws=20).to_json()
    assert not any(one["determined"].values())
    assert all(np.isfinite(one[name]) for name in CONSTANTS)
    assert one["forest"] == []
    assert one["paper"]["holds"] is None
    assert "do not determine" in one["paper"]["sentence"]
    assert one["prediction_deviation"] is None


def test_the_forest_has_every_choice(found: dict[str, Any]) -> None:
    kinds = [row["kind"] for row in found["forest"]]
    assert kinds.count("loss") == 3
    assert kinds.count("size") == kinds.count("length") == 5
    assert kinds.count("count") == 1
    assert kinds.count("rate") == 2
    assert [row["change"] for row in found["forest"]][-1] == "rate 0.02 only"


def test_the_sentence_on_the_paper_follows_from_the_interval(found: dict[str, Any]) -> None:
    own = found["paper"]
    assert own["holds"] is False
    assert own["interval"]["high"] < 192
    assert "does not contain the paper's 192" in own["sentence"]


def test_intervals_are_labelled_with_what_the_benchmark_simulated(found: dict[str, Any]) -> None:
    result = json.loads(
        (ROOT / "benchmarks" / "results" / "experiments" / "coverage.json").read_text()
    )
    for packaged, measured in zip(designs(), result["designs"], strict=True):
        assert packaged.items() <= measured.items()
        assert measured["simulations"] == 1000
    assert json.loads(SIMULATED.read_text()) == designs()
    label = found["methods"]["parametric"]["coverage"]
    assert label["design"] == "5x5x3"
    assert 0.92 <= label["coverage"] <= 0.98
    by_name = {row["name"]: row["methods"]["headline"]["coverage"] for row in designs()}
    assert 0.92 <= by_name["5x5x3"] <= 0.98
    assert 0.92 <= by_name["6x6x3"] <= 0.98


def test_a_plan_with_a_fit_has_intervals(found: dict[str, Any]) -> None:
    known = known_of(found, "law.json")
    plan = planned(known, 1e21)
    row = next(row for row in found["optimal"] if row["operations"] == 1e21)
    assert plan["parameters"] == pytest.approx(row["parameters"])
    for name in ("parameters", "tokens", "ratio"):
        assert plan["intervals"][name] == pytest.approx(row["intervals"][name])
    assert plan["loss_interval"]["low"] < plan["loss"] < plan["loss_interval"]["high"]
    assert plan["batch"]["tokens"] == pytest.approx(BATCH_LAW.tokens(plan["loss"]))
    off = {one["size_times"]: one["loss_more"] for one in plan["off"]}
    assert off[4.0] > off[2.0] > 0 < off[0.5] < off[0.25]


def test_a_plan_with_the_paper_shows_every_set_beside_what_is_printed() -> None:
    sets = planned(PUBLISHED["paper"], 1e21)["paper_sets"]
    ratios = [one["ratio"] for one in sets["sets"]]
    assert ratios == pytest.approx([193.7, 176.9, 879.0, 91.2, 105.8, 183.9], abs=0.1)
    assert [one["printed"] for one in sets["sets"]][-1] == 191.87
    assert "before rounding" in sets["why_printed_differ"]


def test_the_width_and_rate_are_those_of_the_nearest_shape() -> None:
    plan = planned(PUBLISHED["besiroglu"], 6 * 2.44e9 * 5.0e10)
    assert plan["rate"]["width"] == pytest.approx(2304, rel=0.06)
    assert plan["rate"]["hidden"] == pytest.approx(0.01 / plan["rate"]["m"])


def test_hours_are_operations_of_a_share_of_the_peak() -> None:
    assert budget_of(2.0, "H100", 8, 0.5) == pytest.approx(2 * 3600 * 8 * 0.5 * 989e12)
    for arguments, message in (
        ((0.0, "H100"), "above 0"),
        ((1.0, "H1"), "no such device"),
        ((1.0, "H100", 1, 1.5), "at most 1"),
    ):
        with pytest.raises(UserError, match=message):
            budget_of(*arguments)


@pytest.mark.parametrize(
    "broken",
    [{}, {"E": 1.0}, {"E": "x", "A": 1, "B": 1, "alpha": 1, "beta": 1},
     {"E": -1, "A": 1, "B": 1, "alpha": 1, "beta": 1},
     {"E": 1, "A": 1, "B": 1, "alpha": 1, "beta": 1, "spread": {"kind": "x"}}],
)  # fmt: skip
def test_a_file_without_a_law_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="law"):
        known_of(broken, "law.json")
    with pytest.raises(UserError, match="above 0"):
        planned(PUBLISHED["paper"], float("nan"))
