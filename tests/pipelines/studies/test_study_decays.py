"""Studies of decays carried out on a small recipe: runs, tables, what must be exact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.studies.drawing import drawn
from pipelines.studies.experiment import load_experiment
from pipelines.studies.study import StudyOutcome, run_study
from tests.conftest import TRAINED

pytestmark = pytest.mark.slow

Write = Callable[..., Path]
BATCH = 512
SMALL = [
    *(entry for entry in TRAINED if not entry.startswith("model=")),
    "model={preset: tiny, width: 16, layers: 1, heads: 1, kv_heads: 1, head_dim: 16, ff: 40,"
    " dim_model_base: 16}",
    "train.schedule.warmup=1",
    "train.validate_every=4",
    "train.validation_windows=2",
]


def carried_out(path: Path) -> StudyOutcome:
    return run_study(load_experiment(path), str(path.parent / "runs"), workers=1)


def test_schedules_of_matched_lengths(written: Write) -> None:
    found = carried_out(
        written(
            "schedule",
            {
                "totals": [10 * BATCH, 20 * BATCH],
                "decays": [0.1, 0.2],
                "shapes": [{"shape": "multi_step"}],
                "shape_decays": [0.2],
                "merged": [2],
                "seeds": [1, 2],
            },
            set=SMALL,
        )
    )
    claims = {claim.claim: claim for claim in found.findings.claims}
    same = next(claim for name, claim in claims.items() if "bit for bit" in name)
    assert (same.verdict, same.figures["equal seeds"]) == ("shown", "1, 2")
    ledger = found.findings.facts["cost"]
    assert ledger["operations"]["ratio"] == ledger["formula"]
    assert set(ledger["seconds"]) == {"1", "2"}
    by_key = {one.outcome.key: one for one in found.points}
    trunk = next(one for one in found.points if one.point.at(arm="trunk", seed=1))
    plateau = next(
        one for one in found.points if one.point.at(arm="plateau", seed=1, share=0.2, tokens=10240)
    )
    place = trunk.outcome.course.tokens.index(plateau.outcome.tokens)
    course = {name: losses[place] for name, losses in trunk.outcome.course.losses.items()}
    assert {name: loss.nats for name, loss in plateau.outcome.losses.items()} == course
    assert len(by_key) == len(found.points) == 2 * (1 + 2 * 9 + 1 + 1 + 1)
    again = [one for one in found.points if one["arm"] == "again"]
    assert {one.outcome.tokens for one in again} == {20 * BATCH}
    assert {one.outcome.own_tokens for one in again} == {10 * BATCH}
    for figure in found.findings.figures:
        assert drawn(figure)[f"{figure.name}.svg"].startswith(b"<?xml")


def test_gradients_through_a_decay(written: Write) -> None:
    found = carried_out(
        written(
            "dynamics",
            {
                "tokens": 20 * BATCH,
                "share": 0.2,
                "before": 4 * BATCH,
                "micro_batches": 2,
                "window": 2,
                "looks": 2,
                "seeds": [1, 2],
            },
            set=SMALL,
        )
    )
    lines = found.points[0].outcome.probes["dynamics"]
    assert [line["step"] for line in lines] == [*range(13, 21)]
    assert lines[0]["cosine"] is None
    assert all(line["independent_cosine"] is not None for line in lines)
    assert all(row[1] is not None for row in found.findings.tables[0].rows)
    assert len(found.findings.claims) == 10
    assert not any(claim.figures.get("reason") for claim in found.findings.claims)
    assert drawn(found.findings.figures[0])


def test_decayed_losses_are_foreseen(written: Write) -> None:
    totals = [steps * BATCH for steps in (10, 15, 20)]
    design = {"totals": totals, "decays": [0.2, 0.4], "peak": 0.02, "seeds": [1, 2]}
    found = carried_out(written("forecast", design, set=SMALL))
    rows = found.findings.tables[0].rows
    noted = [note for note in found.findings.notes if "nothing foreseen from all" in note]
    assert rows[0][1] == 6 * (2 - len(noted))
    assert rows[2][1] == 12
    assert drawn(found.findings.figures[0])
