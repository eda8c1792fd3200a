"""Gradients through a decay: which runs are asked for, and what made-up lines come to."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from artifacts.errors import UserError
from tests.trainer.experiments.made_up import (
    BASE,
    BATCH,
    measured_by,
    noise,
    nothing_made,
    verdicts,
)
from trainer.experiments.design import Measured
from trainer.experiments.designs.dynamics import DynamicsDesign
from trainer.experiments.findings import Findings
from trainer.experiments.runs import Point

DESIGN: dict[str, Any] = {
    "seeds": (1, 2, 3),
    "tokens": 200 * BATCH,
    "before": 30 * BATCH,
    "micro_batches": 4,
}
FIRST, LAST = 160, 200
CLAIMS = {
    "norm": "gradient norm falls",
    "cosine": "cosine of consecutive gradients rises",
    "excess": "beyond that of independent batches rises",
    "across": "K across batches rises",
    "same": "K on one batch rises",
}


def study(**changes: Any) -> DynamicsDesign:
    return DynamicsDesign.model_validate(DESIGN | changes)


Line = Callable[[Point, int, float], dict[str, Any]]


def artefact(point: Point, step: int, rate: float) -> dict[str, Any]:
    """Norms fall; the cosine is that of independent batches; only K across batches rises, as the
    rate falls.
    """
    seed, arm = point.labels["seed"], point.labels["arm"]

    def off(*labels: object) -> float:
        return noise(seed, arm, step, *labels, deviation=0.02)

    alone = 0.2 + 0.1 * (1 - rate)
    return {
        "grad_norm": 2.0 * math.exp(math.log(rate) / 4 + off("norm")),
        "cosine": alone + off("cosine"),
        "independent_cosine": alone,
        "d1": -0.1,
        "d2": math.exp(off("d2")) / rate,
        "curvature": math.exp(off("across")) / rate,
        "same_batch": {"d1": -0.1, "d2": 1.0, "curvature": 0.5 * math.exp(off("same"))},
        "change": {"norm": rate, "max": rate, "tensors": {}},
    }


def watched(design: DynamicsDesign, line: Line) -> Findings:
    rows = []
    for one in measured_by(design, lambda point: 3.0):
        first = one.point.run.probes["dynamics"]["first"]
        lines = []
        for step in range(first, LAST + 1):
            falling = one["arm"] == "decay" and step > FIRST
            rate = 1 - 0.9 * (step - FIRST) / (LAST - FIRST) if falling else 1.0
            lines.append({"step": step, "lr": 0.01 * rate, **line(one.point, step, rate)})
        for name in ("cosine", "curvature", "d1", "d2", "independent_cosine"):
            lines[0][name] = None  # nothing is known of the step before
        lines[0]["same_batch"] = dict.fromkeys(("d1", "d2", "curvature"))
        outcome = one.outcome.model_copy(update={"probes": {"dynamics": lines}})
        rows.append(Measured(one.point, outcome))
    return design.findings(BASE, rows)


@pytest.fixture(scope="module")
def findings() -> Findings:
    return watched(study(), artefact)


def test_a_rise_that_the_rate_makes_by_itself_is_called_an_artefact(findings: Findings) -> None:
    words = verdicts(findings.claims, CLAIMS)
    assert (words["norm"], words["cosine"], words["across"]) == ("shown", "shown", "shown")
    assert words["excess"] != "shown"
    assert words["same"] != "shown"
    assert any("beyond that line: " in note for note in findings.notes)
    assert any("K across batches rises by a factor of" in note for note in findings.notes)
    assert not any("not an artefact" in note for note in findings.notes)


def test_changes_are_those_of_the_formula(findings: Findings) -> None:
    rows = {row[0]: row for row in findings.tables[0].rows}
    end = [1 - 0.9 * (step - FIRST) / (LAST - FIRST) for step in range(LAST - 19, LAST + 1)]
    mean = sum(map(math.log, end)) / 20
    assert rows["gradient norm (factor)"][4] == pytest.approx(math.exp(mean / 4), rel=0.02)
    assert rows["K across batches (factor)"][4] == pytest.approx(math.exp(-mean), rel=0.02)
    assert rows["K across batches (factor)"][7] == pytest.approx(math.exp(-mean), rel=0.02)
    assert rows["K on one batch (factor)"][4] == pytest.approx(1, rel=0.02)
    assert rows["update (factor)"][4] == pytest.approx(math.exp(mean), rel=1e-9)


def test_a_rise_on_one_batch_is_no_artefact() -> None:
    def real(point: Point, step: int, rate: float) -> dict[str, Any]:
        line = artefact(point, step, rate)
        same = {**line["same_batch"], "curvature": line["same_batch"]["curvature"] / rate}
        return {**line, "same_batch": same}

    found = watched(study(), real)
    assert verdicts(found.claims, CLAIMS)["same"] == "shown"
    assert any("not an artefact" in note for note in found.notes)


def test_one_seed_and_no_lines_decide_nothing() -> None:
    found = watched(study(seeds=(1,), control=False), artefact)
    assert set(verdicts(found.claims, CLAIMS).values()) == {"cannot tell"}
    assert len(found.claims) == 5
    design = study()
    nothing = design.findings(BASE, measured_by(design, lambda point: None))
    assert {claim.verdict for claim in nothing.claims} == {"cannot tell"}
    assert sum("diverged" in note for note in nothing.notes) == 6


def test_the_decay_and_its_control_are_watched_in_the_same_steps() -> None:
    decay, control = study(seeds=(7,)).points(BASE, nothing_made)
    assert (decay.run.parent, decay.run.from_step) == (control.run.parent, control.run.from_step)
    assert decay.run.tokens == control.run.tokens == 70 * BATCH
    assert decay.run.probes == control.run.probes == {"dynamics": {"first": 131}}
    assert decay.run.train["micro_batch_tokens"] == BATCH // 4
    assert [phase.decay for phase in decay.run.phases] == [False, True]
    assert [phase.decay for phase in control.run.phases] == [False]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"window": 31}, "window"),
        ({"micro_batches": 3}, "micro_batches"),
        ({"before": 160 * BATCH}, "before"),
    ],
)
def test_what_cannot_be_measured_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Exception, match="field") as refused:
        study(**changes).points(BASE, nothing_made)
    assert isinstance(refused.value, UserError)
    assert f"design.{field}" in str(refused.value)
