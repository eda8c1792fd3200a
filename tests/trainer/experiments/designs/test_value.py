"""Short anneals: the score of a candidate against the default mixture and a generic control."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from artifacts.errors import UserError
from tests.trainer.experiments.designs.made_up import AVAILABLE, BASE, BATCH, Bench, shown
from trainer.experiments.designs.value import ValueDesign
from trainer.experiments.outcomes import Primary
from trainer.experiments.runs import RunSpec

SMALL = {"width": 64, "layers": 2, "trunk": 100 * BATCH, "anneal": 50 * BATCH}
LARGE = {"width": 128, "layers": 2, "trunk": 100 * BATCH, "anneal": 50 * BATCH}
GAIN = {"web": 0.0, "code": 0.1, "math": 0.2, "sft": -0.1}
"""What the share of a source in the anneal takes off every loss, for each 1."""


def design(**changes: Any) -> ValueDesign:
    facts = {"sizes": (SMALL,), "seeds": (1, 2, 3, 4)}
    return ValueDesign.model_validate({**facts, **changes})


def formula(run: RunSpec, signs: float = 1.0) -> dict[str, float]:
    level = 3.0 + 0.5 * run.seed
    shares = run.phases[-1].weights if run.parent else {}
    gain = signs * sum(GAIN[name] * share for name, share in shares.items())
    noise = 1e-4 * ((run.seed * 7 + len(shares)) % 5)
    return {name: level - gain - 0.5 * shares.get(name, 0.0) + noise for name in AVAILABLE}


def test_every_source_is_annealed_from_one_trunk_for_each_seed() -> None:
    points = design().points(BASE, lambda run: None)
    arms = {str(point.labels["arm"]) for point in points}
    assert arms == {"trunk", "default", "web", "code", "math", "sft"}
    assert len(points) == 4 * 6
    assert len({p.run.parent.identity for p in points if p.run.parent}) == 4
    for point in points:
        tokens = shown(point.run)
        if not point.at(arm="trunk"):
            assert sum(tokens.values()) == pytest.approx(150 * BATCH)
        if point.at(arm="sft"):
            assert tokens["sft"] == pytest.approx(0.3 * 50 * BATCH)
        if point.at(arm="web"):
            shares = point.run.phases[0].weights
            assert shares["web"] == pytest.approx(0.3 + 0.7 * 0.6)


def test_the_mixture_of_the_decay_may_be_the_default() -> None:
    points = design(default="decay").points(BASE, lambda run: None)
    (one,) = {p.run.phases[0].weights["sft"] for p in points if p.at(arm="default")}
    assert one == 0.2
    with pytest.raises(UserError, match="no decay whose mixture"):
        design(default="decay").points(replace(BASE, decay=None), lambda run: None)


def test_scores_are_differences_to_the_default_mixture_paired_by_seed() -> None:
    base = replace(BASE, primary=Primary(sources=("web",)))
    bench = Bench(design(), formula, base)
    found = bench.design.findings(base, bench.measured())
    scores = found.facts["sizes"]["64x2"]["candidates"]
    # in the slot stands the candidate for 30 % of the default mixture, of which 60 % is web
    default = sum(GAIN[name] * share for name, share in BASE.stable.weights.items())
    for name in ("code", "math", "sft"):
        expected = -0.3 * (GAIN[name] - default) + 0.5 * 0.3 * 0.6
        assert scores[name]["score"]["value"] == pytest.approx(expected, abs=5e-4)
        share = BASE.stable.weights.get(name, 0.0)
        extra = 0.3 * (1 - share) * 50 * BATCH
        assert scores[name]["extra_tokens"] == pytest.approx(extra)
        assert scores[name]["per_million_tokens"]["value"] == pytest.approx(
            scores[name]["score"]["value"] * 1e6 / extra
        )
    assert scores["sft"]["epochs"] == pytest.approx(0.3 * 50 * BATCH / AVAILABLE["sft"])


def test_a_candidate_is_judged_by_what_neither_it_nor_the_control_is_a_source_of() -> None:
    bench = Bench(design(), formula)
    found = bench.design.findings(BASE, bench.measured())
    verdicts = {claim.claim.split(":")[0]: claim for claim in found.claims}
    assert set(verdicts) == {"code", "math", "sft"}  # web is the control
    # code: elsewhere are math and sft, of which code and web leave the same share
    assert verdicts["code"].figures["estimate"] == pytest.approx(-0.3 * 0.1, abs=5e-4)
    assert verdicts["math"].figures["estimate"] == pytest.approx(-0.3 * 0.2, abs=5e-4)
    assert [verdicts[name].verdict for name in ("code", "math", "sft")] == [
        "shown",
        "shown",
        "refuted",
    ]


def test_the_cost_is_that_of_all_runs_beside_a_run_for_each() -> None:
    bench = Bench(design(seeds=(1, 2)), formula)
    found = bench.design.findings(BASE, bench.measured())
    each = 6.0 * 1000 * BATCH
    cost = found.facts["sizes"]["64x2"]["operations"]
    assert cost["anneal"] == 50 * each
    assert cost["trunk"] == 100 * each
    assert cost["all"] == 2 * (100 + 5 * 50) * each
    assert cost["separate"] == 2 * 5 * 150 * each


def test_another_size_ranks_alike_or_not() -> None:
    both = design(sizes=(SMALL, LARGE))
    alike = Bench(both, formula)
    found = alike.design.findings(BASE, alike.measured())
    stability = found.facts["rank_stability"]["128x2"]
    assert (stability["candidates"], stability["pairs"], stability["agree"]) == (4, 6, 6)
    assert stability["rank"]["value"] == 1.0
    assert {figure.name for figure in found.figures} == {"value", "value-ranks"}
    # own gains differ by candidate: without them the signs of all scores turn

    def turned(run: RunSpec) -> dict[str, float]:
        large = run.model["width"] == 128
        losses = formula(run)
        level = 3.0 + 0.5 * run.seed
        return {name: 2 * level - loss if large else loss for name, loss in losses.items()}

    other = Bench(both, turned)
    found = other.design.findings(BASE, other.measured())
    assert found.facts["rank_stability"]["128x2"]["agree"] == 0
    assert found.facts["rank_stability"]["128x2"]["rank"]["value"] == -1.0


def test_runs_that_diverged_are_named_and_one_seed_cannot_tell() -> None:
    def broken(run: RunSpec) -> dict[str, float] | None:
        return None if run.parent and run.phases[-1].weights.get("sft") else formula(run)

    bench = Bench(design(), broken)
    found = bench.design.findings(BASE, bench.measured())
    assert found.claims[-1].verdict == "cannot tell"
    assert sum("sft, seed" in note for note in found.notes) == 4
    assert found.facts["sizes"]["64x2"]["candidates"]["sft"]["score"] is None
    single = Bench(design(seeds=(1,)), formula)
    found = single.design.findings(BASE, single.measured())
    assert {claim.verdict for claim in found.claims} == {"cannot tell"}


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"candidates": ("sfx",)}, "design.candidates", "no such source"),
        ({"control": "books"}, "design.control", "no such source"),
        ({"sizes": (SMALL, SMALL)}, "design.sizes", "one shape"),
    ],
)
def test_what_cannot_be_is_said(changes: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        design(**changes).points(BASE, lambda run: None)
    assert error.value.field == field
