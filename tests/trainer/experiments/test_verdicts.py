"""Verdicts: what shown and refuted mean for each claim, and how often they are wrong."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from artifacts.errors import UserError
from artifacts.statistics.estimates import Estimate, mean_of
from trainer.experiments.verdicts import Claim, Kind, judge

KINDS: list[Kind] = ["better", "worse", "equivalent", "not worse"]
ESTIMATES = st.builds(Estimate, st.floats(-0.2, 0.2), st.floats(1e-4, 0.1), st.integers(1, 20))


def one(kind: Kind, difference: Estimate, margin: float = 0.02) -> str:
    return judge([Claim("it", kind, difference, margin)])[0].conclusion


@given(ESTIMATES, st.floats(0.001, 0.1))
def test_a_verdict_is_the_interval_against_the_margin(difference: Estimate, m: float) -> None:
    low, high = difference.interval()
    if min(abs(abs(end) - m) for end in (low, high)) < 1e-9:
        return
    shown = {
        "better": high < -m,
        "worse": low > m,
        "equivalent": low > -m and high < m,
        "not worse": high < m,
    }
    refuted = {
        "better": low > -m,
        "worse": high < m,
        "equivalent": low > m or high < -m,
        "not worse": low > m,
    }
    for kind in KINDS:
        wanted = "shown" if shown[kind] else "refuted" if refuted[kind] else "cannot tell"
        assert one(kind, difference, m) == wanted, kind


@given(ESTIMATES, st.floats(0.001, 0.1))
def test_better_and_worse_are_each_others_mirror(difference: Estimate, margin: float) -> None:
    turned = difference.scaled(-1)
    assert one("better", difference, margin) == one("worse", turned, margin)
    assert one("equivalent", difference, margin) == one("equivalent", turned, margin)


def test_a_small_gain_refutes_a_large_one_and_is_not_worse() -> None:
    small = Estimate(-0.005, 0.001, 4)
    assert one("better", small) == "refuted"
    assert one("not worse", small) == "shown"
    assert one("equivalent", small) == "shown"
    assert one("better", small, margin=0.0) == "shown"


def test_a_family_needs_more_of_each_claim() -> None:
    close = Estimate(-0.031, 0.004, 6)  # alone it is shown
    assert one("better", close) == "shown"
    family = [Claim(f"claim {place}", "better", close) for place in range(3)]
    found = judge(family)
    assert {verdict.conclusion for verdict in found} == {"cannot tell"}
    assert found[0].adjusted == pytest.approx(3 * found[0].p)
    assert found[0].family == 3


def test_a_claim_without_an_estimate_counts_and_cannot_be_told() -> None:
    close = Claim("close", "better", Estimate(-0.031, 0.004, 6))
    missing = Claim("missing", "better", None, reason="the optimum lies at the grid's edge")
    found = judge([close, missing])
    assert found[1].conclusion == "cannot tell"
    assert found[0].adjusted == pytest.approx(2 * found[0].p)
    written = json.loads(json.dumps(found[1].to_json()))
    assert written["estimate"] is None
    assert written["reason"] == "the optimum lies at the grid's edge"


def test_json_holds_what_the_verdict_rests_on() -> None:
    found = judge([Claim("a", "better", Estimate(-0.1, 0.01, 4))])[0].to_json()
    assert found["low"] < found["estimate"] < found["high"] < -found["margin"]
    assert (found["verdict"], found["unit"], found["margin"]) == ("shown", "nats", 0.02)
    assert found["p"] == found["p_adjusted"] < 0.05


def test_runs_without_any_spread_are_decided() -> None:
    assert one("equivalent", mean_of([0.0, 0.0])) == "shown"
    assert one("better", mean_of([0.0, 0.0])) == "refuted"


@pytest.mark.parametrize("kind", KINDS)
def test_a_difference_at_the_margin_is_wrongly_decided_at_most_at_alpha(kind: Kind) -> None:
    """At the margin itself both conclusions about a claim are at most half alpha each."""
    truth = -0.02 if kind == "better" else 0.02
    draw, decided = np.random.default_rng(8), 0
    for _ in range(1000):
        decided += one(kind, mean_of(draw.normal(truth, 0.01, 4).tolist())) != "cannot tell"
    assert decided <= stats.binom.ppf(0.999, 1000, 0.05)


def test_the_chance_of_any_wrong_conclusion_in_a_family_stays_at_alpha() -> None:
    draw, wrong = np.random.default_rng(9), 0
    for _ in range(600):
        family = [
            Claim(str(place), "better", mean_of(draw.normal(0.0, 1.0, 4).tolist()), 0.0)
            for place in range(5)
        ]
        wrong += any(verdict.conclusion != "cannot tell" for verdict in judge(family))
    assert wrong <= stats.binom.ppf(0.999, 600, 0.05)
    assert wrong > 0


def test_claims_that_cannot_be_are_refused() -> None:
    with pytest.raises(UserError, match="says why"):
        Claim("a", "better", None)
    with pytest.raises(UserError, match="without a margin"):
        Claim("a", "equivalent", Estimate(0, 1, 2), 0.0)
    with pytest.raises(UserError, match="a margin is a distance"):
        Claim("a", "better", Estimate(0, 1, 2), math.nan)
    claim = Claim("a", "better", Estimate(0, 1, 2))
    with pytest.raises(UserError, match="names of their own"):
        judge([claim, claim])
    with pytest.raises(UserError, match="alpha"):
        judge([claim], alpha=1.0)
