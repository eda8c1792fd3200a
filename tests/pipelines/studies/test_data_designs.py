"""Experiments about data carried out on a small recipe: stages, value and mixtures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mixtures.inspect.accounting import realised
from pipelines.studies.experiment import load_experiment
from pipelines.studies.study import StudyOutcome, run_study
from pipelines.studies.written import ASKED, FINDINGS
from trainer.checkpoints.checkpoint import at_step
from trainer.checkpoints.recorded import plan_of

pytestmark = pytest.mark.slow

Write = Callable[..., Path]
BATCH = 512
SMALL = {"width": 32, "layers": 1, "warmup": 2}


def carried_out(path: Path) -> StudyOutcome:
    return run_study(load_experiment(path), str(path.parent / "runs"), workers=1)


def test_arms_of_two_stages_show_the_same_of_the_target(written: Write, bench: Path) -> None:
    design = {**SMALL, "target": "instructions", "tokens": 20 * BATCH, "decay": 0.3, "seeds": [1]}
    found = carried_out(written("stages", design))
    assert {one["arm"] for one in found.points} == {"decay", "after", "spread", "none"}
    shown, last_rates = {}, {}
    for one in found.points:
        assert one.outcome.tokens == 20 * BATCH
        folder = bench / "runs" / "trained" / "studies" / "runs" / one.outcome.key
        checkpoint = at_step(str(folder), one.outcome.steps)
        plan = plan_of(checkpoint)
        rows = {row.source: row.tokens for row in realised(plan, plan.steps)}
        shown[one["arm"]] = rows.get("instructions", 0)
        last_rates[one["arm"]] = checkpoint.state.schedule["end"]
    assert shown["none"] == 0
    assert shown["decay"] == shown["after"] == 3 * BATCH
    # spread over every step, a window more or less
    assert abs(shown["spread"] - 3 * BATCH) <= 64
    assert last_rates == {"decay": 20, "after": 17, "spread": 20, "none": 20}
    assert [claim.verdict for claim in found.findings.claims] == ["cannot tell"] * 4
    losses = found.findings.facts["losses"]
    assert losses["decay"]["instructions"][1] < losses["none"]["instructions"][1]
    assert b"Held-out documents" in found.folder.read(FINDINGS)
    assert b'"held_out":[{"documents"' in found.folder.read(ASKED)
    assert carried_out(written("stages", design)).made == ()


def test_sources_are_valued_from_one_trunk(written: Write) -> None:
    size = {"width": 32, "layers": 1, "trunk": 4 * BATCH, "anneal": 4 * BATCH}
    found = carried_out(written("value", {"sizes": [size], "seeds": [1, 2], "warmup": 2}))
    # the stable mixture is web alone, so web in the slot is the default mixture: one run
    assert len(found.made) == 2 * (1 + 2)
    scores = found.findings.facts["sizes"]["32x1"]["candidates"]
    assert set(scores) == {"web", "instructions"}
    assert all(one["score"]["degrees"] == 1 for one in scores.values())
    cost = found.findings.facts["sizes"]["32x1"]["operations"]
    assert cost["separate"] == cost["all"] + 2 * cost["trunk"]
    assert scores["web"]["score"]["value"] == 0.0


def test_mixtures_are_drawn_and_verified(written: Write) -> None:
    design = {
        **SMALL,
        "trunk": 4 * BATCH,
        "decay": 2 * BATCH,
        "train": 4,
        "test": 6,
        "proposed": 1,
        "verify_seeds": [2],
    }
    path = written("mixtures", design, primary={"sources": ["web", "instructions"]})
    found = carried_out(path)
    arms = [one["arm"] for one in found.points]
    assert arms.count("train") == 4
    assert arms.count("proposed 1") == 1
    ranked = found.findings.facts["ranked"]
    assert set(ranked) == {"primary", "web", "instructions"}
    assert len(ranked["primary"]["measured"]) == 6
    again = carried_out(path)
    assert again.made == ()
    assert again.folder.read(FINDINGS) == found.folder.read(FINDINGS)
