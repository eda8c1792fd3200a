"""Coordinate checks as experiments: what passes, what fails, and a check without power."""

from __future__ import annotations

from typing import Any

import pytest

from artifacts.errors import UserError
from tests.trainer.experiments.designs.made_up import BASE, outcome_of
from trainer.experiments.design import Measured
from trainer.experiments.designs.coordinate_check import CoordinateCheckDesign
from trainer.experiments.findings import Findings
from trainer.experiments.runs import Point

HIDDEN = ("q", "k", "v", "out", "gate", "up", "down")


def lines(point: Point, slope: float, off: float) -> list[dict[str, Any]]:
    """Sizes that grow with the width as said, a little otherwise for each seed."""
    width, seed = float(point.labels["size"]), float(point.labels["seed"])
    grows = (off if point.labels["arm"] == "off" else slope) + 0.002 * seed
    moves = -1.0 if point.labels["arm"] == "on" else 0.0
    return [
        {
            "step": updates + 1,
            "updates": updates,
            "activations": {"layers.0.qkv": width**grows, "logits": width**-0.5},
            "changes": dict.fromkeys(HIDDEN, width**moves) | {"embedding": 1.0},
        }
        for updates in (0, 1)
    ]


def found(slope: float = 0.0, off: float = 0.5, lost: str | None = None) -> Findings:
    design = CoordinateCheckDesign(widths=(64, 128, 256), after=(0, 1))
    measured = []
    for point in design.points(BASE, lambda run: None):
        diverged = lost == point.labels["arm"] and point.at(size=256, seed=1)
        outcome = outcome_of(point.run, None if diverged else {"web": 3.0})
        kept = [] if diverged else lines(point, slope, off)
        measured.append(
            Measured(point, outcome.model_copy(update={"probes": {"coordinates": kept}}))
        )
    return design.findings(BASE, measured)


@pytest.mark.parametrize(
    ("slope", "off", "verdict", "check"),
    [
        (0.0, 0.5, "shown", "passes"),
        (0.5, 0.5, "refuted", "fails"),
        (0.15, 0.5, "cannot tell", "undecided: add seeds"),
        (0.0, 0.0, "shown", "passes"),  # updates of the arm that is off fail all the same
    ],
)
def test_the_verdict_is_by_the_interval_of_every_slope(
    slope: float, off: float, verdict: str, check: str
) -> None:
    (claim,) = found(slope, off).claims
    assert (claim.verdict, claim.figures["check"]) == (verdict, check)


def test_a_run_that_diverged_fails_and_is_named() -> None:
    findings = found(lost="on")
    assert findings.claims[0].verdict == "refuted"
    assert any("width 256, seed 1 diverged" in note for note in findings.notes)


def test_every_slope_stands_in_the_table_and_both_arms_in_the_figure() -> None:
    findings = found()
    rows = {(row[0], row[1]): row for row in findings.tables[0].rows}
    assert rows["layers.0.qkv", 1][2] == pytest.approx(0.004)
    assert rows["change.q", 0][2] == pytest.approx(-1.0)
    assert [panel.title for panel in findings.figures[0].panels] == ["on", "off"]


def test_depth_has_arms_of_its_own_and_width_is_the_first() -> None:
    design = CoordinateCheckDesign(depths=(2, 4), widths=(64, 128))
    runs = {
        (p.labels["arm"], p.labels["size"]): p.run for p in design.points(BASE, lambda run: None)
    }
    assert runs["whole", 4].model == {**runs["square root", 4].model, "depth_alpha": 1.0}
    assert {run.model["width"] for run in runs.values()} == {64}
    assert runs["off", 4].model["depth_alpha"] == 0.0


def test_one_size_is_refused() -> None:
    with pytest.raises(UserError, match="at least two sizes"):
        CoordinateCheckDesign(widths=(64, 64))
