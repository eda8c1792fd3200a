"""Decayed losses foreseen: which runs are asked for, and what losses of a known law come to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from artifacts.errors import UserError
from tests.trainer.experiments.made_up import BASE, BATCH, measured_by, noise, nothing_made
from trainer.experiments.designs.forecast import ForecastDesign
from trainer.experiments.designs.forecast_findings import binomial_interval
from trainer.experiments.findings import Findings
from trainer.experiments.fits.annealing_law import AnnealingLaw
from trainer.experiments.runs import Point
from trainer.optimizer.schedules import DecaySpec, rate

DESIGN: dict[str, Any] = {
    "seeds": (1, 2, 3),
    "totals": tuple(BATCH * steps for steps in (100, 150, 200, 250)),
}
LAW = AnnealingLaw(base=2.0, scale=0.6, exponent=0.4, drop=0.5, memory=0.99)


def study(**changes: Any) -> ForecastDesign:
    return ForecastDesign.model_validate(DESIGN | changes)


def by_law(point: Point, deviation: float = 0.002, drift: float = 0.0) -> float:
    """The law's loss under the rates that a point's run had."""
    schedule, labels = study().schedule(BASE), point.labels
    if labels["arm"] == "plateau":
        last = int(labels["step"])
    else:
        last = int(labels["last"])
        decay = DecaySpec(shape=labels["shape"])  # type: ignore[arg-type]
        first = int(labels["first"])
        schedule = schedule.model_copy(update={"decay": decay})
        schedule = schedule.resolved(decay_start=first, end=last)
    rates = np.array([rate(schedule, step) for step in range(1, last + 1)])
    moved = drift * last if labels["arm"] == "wsd" else 0.0
    off = noise(*labels.values(), deviation=deviation)
    return LAW.predict(rates) + 0.1 * int(labels["seed"]) + off + moved


@pytest.fixture(scope="module")
def findings() -> Findings:
    design = study()
    return design.findings(BASE, measured_by(design, by_law))


def test_losses_of_the_law_are_foreseen(findings: Findings) -> None:
    assert [claim.verdict for claim in findings.claims] == ["shown", "shown"]
    others, past, plain = findings.tables[0].rows
    assert (others[0], others[1], plain[1]) == ("from all other decays", 24, 24)
    assert others[5] < 0.006
    assert others[5] < plain[5]
    held = others[6]
    assert isinstance(held, float)
    assert binomtest(round(held * 24), 24, 0.95).pvalue > 0.01
    assert isinstance(past[1], int)
    assert past[1] >= 12
    assert others[-1] == past[-1] == 0
    assert len(findings.tables[1].rows) == 24
    assert [len(panel.series) for panel in findings.figures[0].panels] == [4, 4]


def test_a_forecast_on_the_way_knows_nothing_that_comes_later() -> None:
    design = study(seeds=(1,))

    def later(point: Point) -> float:
        """Decays that end after step 160, and the stable run after it, come out otherwise."""
        end = int(point.labels.get("last", point.labels.get("step", 0)))
        return by_law(point) + 0.3 * (end > 160)

    kept, changed = (
        design.findings(BASE, measured_by(design, formula)).facts["past"]["1"]
        for formula in (by_law, later)
    )
    # the two decays to step 150, and the one to step 200 that begins after step 160
    assert kept["forecasts"][:3] == changed["forecasts"][:3]
    assert kept["measured"][:2] == changed["measured"][:2]
    assert kept["measured"][2] != changed["measured"][2]
    assert kept["forecasts"][-1] != changed["forecasts"][-1]


def test_decays_that_move_away_from_the_law_raise_the_alarm() -> None:
    design = study(totals=tuple(BATCH * steps for steps in range(60, 700, 40)), decays=(0.1,))

    def moving(point: Point) -> float:
        late = max(0, int(point.labels.get("last", 0)) - 260)
        return by_law(point, deviation=0.0005) + 4e-4 * late * (point.labels["arm"] == "wsd")

    found = design.findings(BASE, measured_by(design, moving))
    assert any("drift alarm" in note and " 0 below" in note for note in found.notes)
    assert found.tables[0].rows[1][-1] > 0


def test_what_diverged_is_left_out_and_one_run_has_no_bias() -> None:
    design = study(seeds=(1,))

    def lost(point: Point) -> float | None:
        return None if point.at(arm="wsd", share=0.2, tokens=250 * BATCH) else by_law(point)

    found = design.findings(BASE, measured_by(design, lost))
    assert found.tables[0].rows[0][1] == 7
    assert {claim.verdict for claim in found.claims} == {"cannot tell"}
    assert any("diverged" in note for note in found.notes)


def test_losses_that_no_decay_lowers_say_so() -> None:
    design = study()
    found = design.findings(BASE, measured_by(design, lambda point: 3.0))
    assert sum("nothing foreseen" in note for note in found.notes) == 6
    assert {claim.verdict for claim in found.claims} == {"cannot tell"}
    empty = design.findings(BASE, measured_by(design, lambda point: None))
    assert {claim.verdict for claim in empty.claims} == {"cannot tell"}


def test_every_decay_has_the_stable_loss_where_it_begins_and_where_it_ends() -> None:
    points = study(seeds=(4,)).points(BASE, nothing_made)
    stable = {point.labels["step"] for point in points if point.at(arm="plateau")}
    decays = [point for point in points if point.at(arm="wsd")]
    assert len(decays) == 8
    for point in decays:
        assert {point.labels["first"], point.labels["last"]} <= stable
        assert point.run.parent == decays[0].run.parent
    assert {20, 40, 60} <= stable


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"totals": (BATCH * 9,)}, "several others"), ({"decays": (0.2, 0.1)}, "values rise")],
)
def test_what_cannot_be_foreseen_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        study(**changes)


@pytest.mark.parametrize(("hits", "trials"), [(0, 7), (19, 20), (20, 20), (3, 9)])
def test_shares_have_the_exact_interval(hits: int, trials: int) -> None:
    expected = binomtest(hits, trials).proportion_ci(0.95, "exact")
    assert binomial_interval(hits, trials) == pytest.approx((expected.low, expected.high))
