"""Learning rates over widths: which runs, where the optimum lies, and what cannot be told."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from artifacts.errors import UserError
from tests.trainer.experiments.designs.made_up import BASE, Bench
from trainer.experiments.designs.learning_rate import Arm, LearningRateDesign
from trainer.experiments.findings import Findings
from trainer.experiments.runs import RunSpec

PEAKS = (0.00125, 0.0025, 0.005, 0.01, 0.02, 0.04)
WIDTHS = (64, 128, 256)


def design(**changes: object) -> LearningRateDesign:
    return LearningRateDesign.model_validate(
        {"widths": WIDTHS, "peaks": PEAKS, "tokens": 100_000, "warmup": 5, **changes}
    )


def multiplier(run: RunSpec) -> float:
    return float(run.model["width"] / run.model["dim_model_base"])


def bowl(run: RunSpec, best: float = 0.01) -> dict[str, float]:
    """A loss with its least at ``best`` where the parameterisation is on, at a rate that falls with
    width where it is off; a seed shifts it a little.
    """
    width, peak = run.model["width"], run.train["schedule"]["peak"]
    off = multiplier(run) == 1 and width > min(WIDTHS)
    least = best * (min(WIDTHS) / width if off else 1.0) * (1 + 0.02 * (run.seed - 2))
    distance = math.log2(peak / least)
    return dict.fromkeys(("web", "code", "math"), 3.0 - 0.1 * math.log(width) + 0.02 * distance**2)


def found(design: LearningRateDesign, formula: object = bowl) -> Findings:
    return design.findings(BASE, Bench(design, formula).measured())  # type: ignore[arg-type]


def verdict(findings: Findings, words: str) -> str:
    (one,) = [claim for claim in findings.claims if words in claim.claim]
    return one.verdict


def test_an_optimum_that_stays_is_shown_to_and_one_that_falls_is_not() -> None:
    findings = found(design())
    assert (
        verdict(findings, "on: the best rate moves by at most one grid step, width 64 to 256")
        == "shown"
    )
    assert (
        verdict(findings, "on: the best rate moves by at most one grid step, width 64 to 128")
        == "shown"
    )
    assert (
        verdict(findings, "off: the best rate moves by at most one grid step, width 64 to 256")
        == "refuted"
    )
    assert verdict(findings, "off: at width 256 the best rate of width 64 costs more") == "shown"
    best = findings.facts["optima"]
    assert best["on"]["256"]["optimum"] == pytest.approx(0.01, rel=0.01)
    assert best["off"]["256"]["optimum"] == pytest.approx(0.0025, rel=0.2)


def test_off_is_the_base_width_equal_to_each_width_and_all_else_the_same() -> None:
    points = design().points(BASE, lambda run: None)
    on, off = (
        [p for p in points if p.at(arm=arm, width=256, peak=0.01, seed=1)] for arm in ("on", "off")
    )
    changed = {**on[0].run.model, "dim_model_base": 256}
    assert on[0].run.model["dim_model_base"] == 64
    assert off[0].run.model == changed
    assert on[0].run.model_copy(update={"model": changed}) == off[0].run


def test_further_seeds_run_at_the_best_rates_only_and_once_these_are_known() -> None:
    chosen = design(arms={"off": Arm(transfer=False, seeds=(1,), more_seeds=(2, 3), best=3)})
    before = chosen.points(BASE, lambda run: None)
    assert len(before) == 3 * len(PEAKS)
    bench = Bench(chosen, bowl)
    measured = bench.measured()
    assert bench.rounds == 2
    later = {
        width: {one["peak"] for one in measured if one["seed"] == 2 and one["width"] == width}
        for width in WIDTHS
    }
    assert later[64] == {0.005, 0.01, 0.02}
    assert later[256] == {0.00125, 0.0025, 0.005, 0.01}  # its best, and that of width 64


def test_a_best_value_at_the_edge_is_said_with_the_next_to_run() -> None:
    findings = found(design(), lambda run: bowl(run, best=0.2))
    assert (
        verdict(findings, "on: the best rate moves by at most one grid step, width 64 to 128")
        == "cannot tell"
    )
    reason = findings.claims[0].figures["reason"]
    assert "high end of the grid; run 0.08 next" in reason
    assert any("run 0.08 next" in note for note in findings.notes)


def test_runs_that_diverge_count_as_worse_than_all_and_are_no_dots() -> None:
    findings = found(
        design(), lambda run: None if run.train["schedule"]["peak"] > 0.03 else bowl(run)
    )
    assert findings.facts["optima"]["on"]["256"]["optimum"] == pytest.approx(0.01, rel=0.02)
    assert "runs diverged" in findings.figures[0].caption
    assert any("diverged count as worse" in note for note in findings.notes)
    dots = [one for one in findings.figures[0].panels[0].series if one.style == "points"]
    assert all(0.04 not in one.x for one in dots)


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"widths": (128, 64)}, "widths"), ({"peaks": (0.01, 0.01, 0.02)}, "peaks")],
)
def test_a_grid_that_does_not_rise_is_refused_by_field(
    changes: dict[str, object], field: str
) -> None:
    with pytest.raises(UserError, match="a grid rises") as error:
        design(**changes)
    assert field in str(error.value)


def test_what_carrying_a_rate_over_costs_is_judged_by_the_margin_of_the_file() -> None:
    chosen = design()
    measured = Bench(chosen, bowl).measured()
    primary = BASE.primary.model_copy(update={"unit": "bits_per_byte"})
    findings = chosen.findings(replace(BASE, loss_margin=5.0, primary=primary), measured)
    (one,) = [one for one in findings.facts["verdicts"] if "costs more" in one["claim"]]
    assert (one["margin"], one["unit"]) == (5.0, "bits_per_byte")


def test_where_every_run_diverges_nothing_can_be_told() -> None:
    findings = found(design(), lambda run: None)
    assert {claim.verdict for claim in findings.claims} == {"cannot tell"}


@pytest.mark.parametrize(
    ("seeds", "more_seeds", "field"), [((1, 1), (), "seeds"), ((1, 2), (2, 3), "more_seeds")]
)
def test_a_seed_counts_once(
    seeds: tuple[int, ...], more_seeds: tuple[int, ...], field: str
) -> None:
    arm = {"transfer": True, "seeds": seeds, "more_seeds": more_seeds}
    with pytest.raises(UserError) as refused:
        design(arms={"on": arm})
    assert refused.value.field == f"design.arms.on.{field}"


def test_tokens_that_leave_a_phase_none_are_refused() -> None:
    with pytest.raises(UserError, match="leave none"):
        design(tokens=1).points(BASE, lambda run: None)
