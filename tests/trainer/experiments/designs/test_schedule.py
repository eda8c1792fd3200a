"""Schedules of matched lengths: which runs are asked for, and what made-up losses come to."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from artifacts.errors import UserError
from tests.trainer.experiments.made_up import (
    BASE,
    BATCH,
    measured_by,
    noise,
    nothing_made,
    verdicts,
)
from trainer.experiments.design import Measured, with_parents
from trainer.experiments.designs.schedule import ScheduleDesign
from trainer.experiments.findings import Findings
from trainer.experiments.fits.cost_ledger import branching
from trainer.experiments.runs import Point

TOTALS = (100 * BATCH, 200 * BATCH)
DESIGN: dict[str, Any] = {
    "seeds": (1, 2, 3, 4),
    "totals": TOTALS,
    "shapes": ({"shape": "linear"}, {"shape": "multi_step"}),
    "cosine_finals": (0.1, 0.0),
    "merged": (3,),
}
CLAIMS = {
    "plateau": "before the decay",
    "cosine": "no worse than the cosine",
    "short": "a decay of 0.025",
    "again": "going on from the decayed end",
    "same": "bit for bit",
    "time": "wall time",
}


def design(**changes: Any) -> ScheduleDesign:
    return ScheduleDesign.model_validate(DESIGN | changes)


def loss_of(point: Point, short: float = 0.05, plateau: float = 0.2) -> float:
    """The paper's picture: the stable run is worse, ten per cent reach the cosine, less does not."""
    labels = point.labels
    seed, total = labels["seed"], int(labels.get("tokens", TOTALS[-1]))
    loss = 3.0 - 0.3 * (total / TOTALS[-1]) + noise(seed, deviation=0.05)
    arm, share = labels["arm"], float(labels.get("share", 0.1))
    if arm in ("trunk", "plateau"):
        loss += plateau
    elif share < 0.1:
        loss += short
    own = () if arm in ("wsd", "separate") else (arm,)
    return loss + noise(seed, total, share, labels.get("shape"), *own, deviation=0.002)


def seconds_of(point: Point) -> float:
    steps = point.run.tokens // BATCH if point.run.merge is None else 0
    return steps * 0.1 * (1 + noise(str(point.labels), deviation=0.01))


@pytest.fixture(scope="module")
def findings() -> Findings:
    study = design()
    return study.findings(BASE, measured_by(study, loss_of, seconds_of))


def test_the_papers_picture_gives_the_papers_verdicts(findings: Findings) -> None:
    assert set(verdicts(findings.claims, CLAIMS).values()) == {"shown"}
    assert len(findings.claims) == 6 + 1 + 1 + 1
    assert findings.facts["cost"]["operations"]["ratio"] == branching(TOTALS, 0.1).ratio
    ratios = [one["ratio"] for one in findings.facts["cost"]["published"]]
    assert [round(ratio, 3) for ratio in ratios] == [0.409, 0.565]
    rows = findings.tables[0].rows
    assert len(rows) == (2 + 5 + 1) + (2 + 5 + 2 * 2 + 1 + 1)
    assert {row[-2:] for row in rows} == {(4, 0)}
    assert {figure.name for figure in findings.figures} == {
        "decay-lengths",
        "decay-courses",
        "previews",
        "cost-ledger",
    }


def test_another_truth_refutes_them() -> None:
    study = design()

    def other(point: Point) -> float:
        worse = 0.3 * (point.labels["arm"] in ("wsd", "again"))
        after = 0.3 * (point.labels["arm"] == "again")
        return loss_of(point, short=0.0, plateau=0.0) + worse + after

    found = study.findings(BASE, measured_by(study, other, lambda point: 2.0**point.run.depth))
    words = verdicts(found.claims, CLAIMS)
    assert words == dict.fromkeys(CLAIMS, "refuted")
    assert found.facts["previews"][0]["error"]["value"] == pytest.approx(-0.3, abs=0.02)


def test_one_seed_decides_nothing_but_equality() -> None:
    study = design(seeds=(1,))
    words = verdicts(study.findings(BASE, measured_by(study, loss_of)).claims, CLAIMS)
    assert words.pop("same") == "shown"
    assert set(words.values()) == {"cannot tell"}


def test_runs_that_diverged_count_in_no_mean_and_are_named() -> None:
    study = design()

    def lost(point: Point) -> float | None:
        wild = point.labels["seed"] == 4 and point.labels["arm"] == "cosine"
        return None if wild else loss_of(point)

    found = study.findings(BASE, measured_by(study, lost, seconds_of))
    assert sum("diverged at step 3 (loss nan)" in note for note in found.notes) == 4
    first = found.tables[0].rows[0]
    assert first[-2:] == (3, 1)
    assert set(verdicts(found.claims, CLAIMS).values()) == {"shown"}
    nothing = study.findings(BASE, measured_by(study, lambda point: None))
    assert set(verdicts(nothing.claims, CLAIMS).values()) <= {"cannot tell", "shown", ""}
    assert verdicts(nothing.claims, CLAIMS)["cosine"] == "cannot tell"


def test_arms_of_a_total_are_shown_as_many_tokens_from_one_stable_run() -> None:
    points = design(seeds=(1,)).points(BASE, nothing_made)
    rows: list[Measured] = measured_by(design(seeds=(1,)), loss_of)
    for one in rows:
        if one["arm"] in ("wsd", "cosine", "again", "merge", "separate"):
            assert one.outcome.tokens == one["tokens"]
    trunk = next(point.run for point in points if point.at(arm="trunk"))
    for point in points:
        if point.labels["arm"] in ("wsd", "plateau", "merge"):
            assert point.run.parent == trunk
        if point.labels["arm"] == "again":
            assert point.run.parent is not None
            assert point.run.parent.parent == trunk
    runs = [*with_parents(points)]
    assert len({run.identity for run in runs}) == len(runs) == len(points)
    merge = next(point.run for point in points if point.at(arm="merge", share=0.1))
    assert merge.starts == (90, 95, 100)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"decays": (0.1, 0.05)}, "decays"),
        ({"main": 0.3}, "main"),
        ({"totals": (100 * BATCH, 105 * BATCH)}, "totals"),
        ({"shapes": ({"shape": "linear_to"},)}, "shapes"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises((UserError, ValidationError)) as refused:
        design(**changes)
    assert field in str(refused.value)


def test_a_merge_of_more_checkpoints_than_steps_is_refused() -> None:
    with pytest.raises(UserError, match="4 checkpoints over a decay of 2 steps") as refused:
        design(totals=(50 * BATCH,), merged=(4,)).points(BASE, nothing_made)
    assert "allowed: 2 to 3" in str(refused.value)
