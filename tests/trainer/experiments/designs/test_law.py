"""Sizes by lengths: endings of one stable run each, a law with its interval, or why there is none."""

from __future__ import annotations

import random

import pytest

from artifacts.errors import UserError
from tests.trainer.experiments.designs.made_up import BASE, Bench
from trainer.experiments.design import Measured
from trainer.experiments.designs.law import LawDesign
from trainer.experiments.findings import Findings
from trainer.experiments.outcomes import Diverged
from trainer.experiments.runs import RunSpec

SIZES = [{"width": width, "layers": 2} for width in (32, 48, 64, 96, 128)]
LENGTHS = (20_480, 40_960, 81_920, 163_840, 327_680)
TRUTH = {"E": 1.5, "A": 40.0, "alpha": 0.5, "B": 300.0, "beta": 0.45}


def parameters(run: RunSpec) -> int:
    width = int(run.model["width"])
    return 23 * width * width


def loss(run: RunSpec, noise: float) -> dict[str, float]:
    tokens = run.tokens + run.from_step * BASE.train.batch_tokens
    draw = random.Random(f"{run.model['width']} {run.seed} {tokens} {noise}")
    exact = (
        TRUTH["E"]
        + TRUTH["A"] * parameters(run) ** -TRUTH["alpha"]
        + TRUTH["B"] * tokens ** -TRUTH["beta"]
    )
    return dict.fromkeys(("web", "code", "math"), exact * (1 + draw.gauss(0.0, noise)))


def measured(design: LawDesign, noise: float = 1e-3, lost: int = 0) -> list[Measured]:
    rows = Bench(design, lambda run: loss(run, noise)).measured()
    changed = []
    for place, one in enumerate(rows):
        outcome = one.outcome.model_copy(
            update={
                "parameters": parameters(one.point.run),
                "total_parameters": parameters(one.point.run) + 512 * one.point.run.model["width"],
                **({"diverged": Diverged(step=2, reason="nan")} if place < lost else {}),
            }
        )
        changed.append(Measured(one.point, outcome))
    return changed


def design(**changes: object) -> LawDesign:
    return LawDesign.model_validate({"sizes": SIZES, "lengths": LENGTHS, "warmup": 2, **changes})


def found(chosen: LawDesign, **changes: float) -> Findings:
    return chosen.findings(BASE, measured(chosen, **changes))  # type: ignore[arg-type]


def test_a_known_law_is_recovered_with_an_interval_that_holds_it() -> None:
    findings = found(design())
    for name, value in TRUTH.items():
        interval = findings.facts["intervals"][name]
        assert interval["low"] <= value <= interval["high"], name
    assert findings.facts["alpha"] == pytest.approx(TRUTH["alpha"], rel=0.1)
    assert findings.facts["interval"]["kind"] is not None
    assert {one.verdict for one in findings.claims} == {"shown"}
    assert {row[0] for row in findings.tables[1].rows} == {"code", "math", "web"}


def test_endings_share_one_stable_run_of_a_size_and_a_seed() -> None:
    chosen = design(seeds=(1, 2), cosine_corners=False)
    points = chosen.points(BASE, lambda run: None)
    trunks = {point.run.parent.identity for point in points if point.run.parent}
    assert (len(points), len(trunks)) == (5 * 5 * 2, 5 * 2)
    batch = BASE.train.batch_tokens
    for point in points:
        run = point.run
        whole = run.from_step * batch + run.tokens
        assert whole == point.labels["tokens"]
        assert run.tokens == -(-whole // 10 // batch) * batch or run.tokens >= 0.1 * whole


def test_too_few_points_say_which_constants_are_not_determined() -> None:
    findings = found(design(sizes=SIZES[:3], lengths=LENGTHS[:3], seeds=(1, 2)))
    facts = findings.facts
    assert not all(facts["determined"].values())
    assert set(facts["undetermined_because"]) == {
        name for name, determined in facts["determined"].items() if not determined
    }
    assert "Not determined by these runs" in findings.tables[0].note


def test_runs_without_a_loss_are_counted_and_the_rest_is_fitted() -> None:
    findings = found(design(), lost=2)
    assert any(note.startswith("2 runs diverged") for note in findings.notes)
    assert findings.facts["points"] == 73


def test_nothing_left_to_fit_is_said() -> None:
    findings = found(design(cosine_corners=False), lost=75)
    assert any(note.startswith("No law is fitted") for note in findings.notes)


def test_a_value_that_stands_twice_is_refused() -> None:
    with pytest.raises(UserError, match="each value once"):
        design(lengths=(20_480, 20_480))
