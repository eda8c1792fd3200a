"""A study of batches: which runs it wants, and what made-up outcomes of a known law say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from artifacts.errors import UserError
from tests.trainer.experiments.designs.batch_runs import BASE, DESIGN, B, diverged, study
from trainer.experiments.design import Measured
from trainer.experiments.designs.batch.design import BatchDesign
from trainer.experiments.findings import Findings


def verdicts(findings: Findings) -> dict[str, str]:
    return {claim.claim: claim.verdict for claim in findings.claims}


def test_every_batch_is_looked_at_at_the_same_tokens_and_warms_up_over_as_many() -> None:
    for batch in DESIGN.batches:
        train = DESIGN.train(batch, 0.01)
        assert train["validate_every"] * batch == DESIGN.look_every
        assert train["schedule"]["warmup"] == max(10, 65_536 // batch)


def test_arms_share_their_runs_and_endings_go_on_from_them() -> None:
    points = DESIGN.points(BASE, lambda run: None)
    runs = {point.run.identity for point in points}
    # six batches: 3 seeds at the fixed rate, 2 at each of two others; 2 x 3 endings of 3 seeds
    assert len(runs) == 6 * (3 + 2 + 2) + 18
    endings = [point for point in points if point.at(arm="larger")]
    trunks = {point.run.identity for point in points if point.at(arm="fixed", batch=2048)}
    for point in endings:
        parent = point.run.parent
        assert parent is not None
        assert parent.identity in trunks
        assert parent.probes
        change = point.run.train["schedule"]["changes"][0]
        assert change["after"] == point.run.from_step
        assert change["factor"] ** 2 == pytest.approx(point.labels["factor"])
        assert point.run.phases[0].batch_tokens == 2048 * int(point.labels["factor"])
    watched = {point.run.identity for point in points if point.run.probes}
    assert watched == trunks


def test_the_exponent_of_a_known_law_lies_in_its_interval() -> None:
    findings = DESIGN.findings(BASE, study())
    for arm in ("fixed", "retuned"):
        law = findings.facts["arms"][arm]["fit"]["law"]
        interval = law["exponent"]
        assert law["determined"]
        assert law["b"] == pytest.approx(B, abs=0.5)
        assert interval["low"] < B < interval["high"]
    told = verdicts(findings)
    assert told["at rate 0.01 the best batch grows as the loss falls"] == "shown"
    assert told["the gradient noise scale grows as the loss falls"] == "shown"
    noise = findings.facts["noise_scale"]["exponent"]
    assert noise["value"] == pytest.approx(5.0, abs=0.3)  # of the mean loss over a stretch
    assert {rate["best"] for rate in findings.facts["best_rates"]} == {0.01}


def test_the_critical_batch_lies_between_what_recovers_and_what_does_not() -> None:
    for one in DESIGN.findings(BASE, study()).facts["critical_batch"]:
        assert (one["found"]["low"], one["found"]["high"]) == (2048 * 4, 2048 * 8)
        assert set(one["excess"]) == {"2", "4", "8"}


def test_small_batches_that_are_always_best_have_no_interior_minimum() -> None:
    findings = DESIGN.findings(BASE, study(monotone=True))
    assert findings.facts["arms"]["fixed"]["fit"]["law"] is None
    assert "no interior minimum" in findings.facts["arms"]["fixed"]["reason"]
    told = verdicts(findings)
    assert told["at rate 0.01 the best batch grows as the loss falls"] == "cannot tell"
    table = next(one for one in findings.tables if one.title.endswith("fixed rate"))
    critical = [row[-2] for row in table.rows if row[-2] is not None]
    assert critical
    assert any("no exponent is determined" in note for note in findings.notes)


def test_runs_that_diverged_count_up_to_there_and_are_named() -> None:
    measured = [
        diverged(one) if one.point.at(arm="fixed", batch=1024, seed=2) else one for one in study()
    ]
    findings = DESIGN.findings(BASE, measured)
    note = "fixed: batch 1,024 at rate 0.01, seed 2 diverged at step 99 (loss nan)"
    assert any(note in line for line in findings.notes)
    levels = findings.facts["arms"]["fixed"]["fit"]["levels"]
    assert 1024 not in {round(batch) for batch, _ in levels[-1]["tokens"]}
    assert findings.facts["arms"]["retuned"]["fit"]["law"] is not None


def test_a_rate_that_diverges_is_not_the_best_one() -> None:
    measured = [
        diverged(one, 0) if one.point.at(arm="retuned", batch=4096, peak=0.01) else one
        for one in study()
    ]
    findings = DESIGN.findings(BASE, measured)
    rate = next(one for one in findings.facts["best_rates"] if one["batch"] == 4096)
    assert rate["best"] in (0.005, 0.02)
    assert rate["note"]


def test_endings_without_a_loss_end_the_family_of_larger_batches() -> None:
    measured = [
        diverged(one, 0) if one.point.at(arm="larger", factor=4, seed=1) else one for one in study()
    ]
    first = DESIGN.findings(BASE, measured).facts["critical_batch"][0]
    assert first["found"]["recovered"] == 2
    assert first["reason"] == "an ending at 4 times the batch has no loss"


def test_one_seed_gives_no_interval_and_nothing_gives_findings_all_the_same() -> None:
    design = BatchDesign(
        batches=DESIGN.batches, tokens=DESIGN.tokens, seeds=(1,), retuned={"seeds": [1]}
    )
    findings = design.findings(BASE, study(design, noise=0.0))
    assert findings.facts["arms"]["fixed"]["fit"]["law"]["determined"] is False
    assert set(verdicts(findings).values()) == {"cannot tell"}
    empty: list[Measured] = []
    assert "0 batches" in design.findings(BASE, empty).facts["arms"]["fixed"]["reason"]
    lost = [diverged(one, 0) for one in study(design)]
    assert set(verdicts(design.findings(BASE, lost)).values()) == {"cannot tell"}


def test_figures_name_seeds_and_intervals_and_lie_on_one_axis() -> None:
    findings = DESIGN.findings(BASE, study())
    figures = {figure.name: figure for figure in findings.figures}
    assert set(figures) == {
        "batch-losses",
        "batch-equal-loss",
        "batch-against-loss",
        "batch-larger",
    }
    names = [series.name for series in figures["batch-against-loss"].panels[0].series]
    assert names == [
        "fewest tokens, fixed rate",
        "fewest tokens, retuned rate",
        "gradient noise scale",
        "critical batch, recovers up to",
        "MiniCPM on C4: 1.21e9 / L^6.24",
    ]
    for figure in findings.figures:
        assert "interval" in figure.caption or "mean" in figure.caption
        for panel in figure.panels:
            assert all(len(series.x) == len(series.y) for series in panel.series if series.x)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"batches": (4096, 2048, 1024)}, "design.batches"),
        ({"batches": (1000, 2048, 4096)}, "design.look_every"),
        ({"tokens": 100_000}, "design.tokens"),
        ({"retuned": {"peaks": (0.02, 0.01, 0.005)}}, "design.retuned.peaks"),
        ({"branching": {"batch": 512, "at": [65_536], "tokens": 65_536}}, "design.branching.batch"),
        ({"branching": {"batch": 1024, "at": [1000], "tokens": 65_536}}, "design.branching.at"),
        ({"branching": {"batch": 1024, "at": [65_536], "tokens": 1024}}, "design.branching.tokens"),
        (
            {"branching": {"batch": 1024, "at": [65_536], "tokens": 65_536, "seeds": [9]}},
            "design.branching.seeds",
        ),
        (
            {"branching": {"batch": 1024, "at": [65_536], "tokens": 65_536, "micro_batches": 3}},
            "design.branching.micro_batches",
        ),
    ],
)
def test_settings_that_do_not_fit_one_another_are_refused(
    changes: dict[str, Any], field: str
) -> None:
    facts = {"batches": (1024, 2048, 4096), "tokens": 262_144, **changes}
    with pytest.raises(UserError) as caught:
        BatchDesign.model_validate(facts)
    assert caught.value.field == field
    assert caught.value.fix


def test_advice_for_a_length_works_when_followed() -> None:
    with pytest.raises(UserError) as caught:
        BatchDesign(batches=(1024, 2048, 4096), tokens=100_000)
    assert caught.value.fix is not None
    tokens = int(caught.value.fix.removeprefix("give "))
    assert BatchDesign(batches=(1024, 2048, 4096), tokens=tokens).tokens == tokens


def test_fewer_than_three_batches_are_refused() -> None:
    with pytest.raises(ValidationError):
        BatchDesign(batches=(1024, 2048), tokens=65_536)
