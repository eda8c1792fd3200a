"""Two-stage ablation: arms of one length and target, claims by paired differences."""

from __future__ import annotations

from typing import Any

import pytest

from artifacts.errors import UserError
from tests.trainer.experiments.designs.made_up import AVAILABLE, BASE, BATCH, Bench, shown
from trainer.experiments.design import whole_batches
from trainer.experiments.designs.stages import StagesDesign
from trainer.experiments.runs import RunSpec

TOKENS = 200 * BATCH


def design(**changes: Any) -> StagesDesign:
    facts = {"target": "sft", "tokens": TOKENS, "width": 64, "layers": 2, "seeds": (1, 2, 3)}
    return StagesDesign.model_validate({**facts, **changes})


def arm_of(run: RunSpec) -> str:
    tokens = shown(run).get("sft", 0)
    if not tokens:
        return "none"
    if run.parent is None:
        return "spread"
    return "after" if len(run.phases) == 2 else "decay"


TARGET = {"decay": 2.0, "after": 2.1, "spread": 2.2, "none": 3.0}
GENERAL = {"decay": 3.0, "after": 3.05, "spread": 3.0, "none": 2.99}


def formula(run: RunSpec) -> dict[str, float]:
    """Arms differ by constants; seeds by a level that is the same for all, and a little of their
    own.
    """
    arm = arm_of(run)
    own = 0.001 * ((run.seed * len(arm)) % 3 - 1)
    level = 0.3 * run.seed
    general = GENERAL[arm] + level + own
    return {"sft": TARGET[arm] + level + own, "web": general, "code": general, "math": 4.0 + level}


def test_all_arms_have_one_length_and_those_that_show_the_target_as_much_of_it() -> None:
    points = design().points(BASE, lambda run: None)
    assert len(points) == 3 * 4
    for point in points:
        tokens = shown(point.run)
        assert sum(tokens.values()) == pytest.approx(TOKENS)
        wanted = 0 if point.at(arm="none") else whole_batches(0.05 * TOKENS, BATCH)
        assert tokens.get("sft", 0) == pytest.approx(wanted)
    trunks = {p.run.parent.identity for p in points if p.run.parent is not None}
    assert len(trunks) == 3  # one for each seed


def test_after_the_decay_the_target_alone_is_shown_at_the_rate_the_decay_ended_with() -> None:
    (point,) = design(seeds=(1,), arms=("after", "none")).points(BASE, lambda run: None)[:1]
    decay, after = point.run.phases
    assert (decay.decay, after.decay, after.weights) == (True, False, {"sft": 1.0})
    schedule = point.run.train["schedule"]
    assert schedule["end"] * BATCH == point.run.from_step * BATCH + (decay.tokens or 0)
    assert schedule["end"] * BATCH == TOKENS - (after.tokens or 0)
    assert schedule["decay"] == {"final": 0.1}


def test_third_sources_are_shown_by_no_arm() -> None:
    points = design(third=("math",)).points(BASE, lambda run: None)
    assert all("math" not in shown(point.run) for point in points)
    assert points[0].run.phases[0].weights["web"] == pytest.approx(0.75 * 0.5)


def test_a_difference_beyond_the_margin_is_shown() -> None:
    bench = Bench(design(third=("math",)), formula)
    found = bench.design.findings(BASE, bench.measured())
    assert [claim.verdict for claim in found.claims] == ["shown"] * 4
    first = found.claims[0].figures
    assert first["estimate"] == pytest.approx(-0.1, abs=0.002)
    assert first["degrees"] == 2
    rows = {(row[0], row[1]): row[2] for row in found.tables[1].rows}
    assert rows[("in the decay − only after the decay", "general")] == pytest.approx(
        -0.05, abs=0.002
    )
    assert rows[("in the decay − not shown", "math")] == pytest.approx(0.0, abs=1e-9)
    epochs = found.facts["target"]["epochs"]
    assert epochs["none"] == 0
    assert epochs["spread"] == whole_batches(0.05 * TOKENS, BATCH) / AVAILABLE["sft"]


def test_what_is_worse_is_refuted() -> None:
    bench = Bench(design(), lambda run: {**formula(run), "sft": 5 - formula(run)["sft"]})
    # seeds' levels cancel in pairs, whichever their sign
    found = bench.design.findings(BASE, bench.measured())
    assert found.claims[0].verdict == "refuted"
    assert found.claims[1].verdict == "shown"


def test_one_seed_cannot_tell_and_a_diverged_run_is_named() -> None:
    bench = Bench(design(seeds=(1,)), formula)
    found = bench.design.findings(BASE, bench.measured())
    assert {claim.verdict for claim in found.claims} == {"cannot tell"}
    assert "fewer than two seeds" in found.claims[0].figures["reason"]
    bench = Bench(
        design(), lambda run: None if (arm_of(run), run.seed) == ("after", 2) else formula(run)
    )
    found = bench.design.findings(BASE, bench.measured())
    assert found.claims[0].figures["degrees"] == 1
    assert any("after, seed 2: diverged at step 7 (loss nan)" in note for note in found.notes)


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"target": "sfx"}, "design.target", "no such source"),
        ({"third": ("sft",)}, "design.third", "another than the target"),
        ({"third": ("books",)}, "design.third", "no documents are held out"),
        ({"third": ("web", "code", "math")}, "design", "nothing is left to train on"),
        ({"tokens": 3 * BATCH}, "design.tokens", "too short"),
    ],
)
def test_what_cannot_be_is_said(changes: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        design(**changes).points(BASE, lambda run: None)
    assert error.value.field == field
