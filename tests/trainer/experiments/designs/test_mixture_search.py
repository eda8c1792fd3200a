"""Mixtures of a decay: spaces and draws, proposals by a regression, trials, and what they are worth."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from tests.trainer.experiments.designs.made_up import AVAILABLE, BASE, BATCH, Bench, shown
from trainer.experiments.designs.mixtures.design import MixturesDesign
from trainer.experiments.designs.mixtures.proposals import APART, proposals
from trainer.experiments.designs.mixtures.space import Space, distance, rounded
from trainer.experiments.designs.mixtures.trials import trials
from trainer.experiments.fits.mixture_proposals import Bounds
from trainer.experiments.outcomes import Primary
from trainer.experiments.runs import RunSpec

BEST = {"web": 0.3, "code": 0.3, "math": 0.1, "sft": 0.3}
EVERY = replace(BASE, primary=Primary(sources=tuple(AVAILABLE)))


def design(**changes: Any) -> MixturesDesign:
    facts = {
        "trunk": 40 * BATCH,
        "decay": 40 * BATCH,
        "width": 64,
        "train": 24,
        "test": 16,
        "proposed": 2,
        "least": dict.fromkeys(AVAILABLE, 0.02),
        "most": dict.fromkeys(AVAILABLE, 0.9),
    }
    return MixturesDesign.model_validate({**facts, **changes})


def formula(run: RunSpec) -> dict[str, float]:
    """Losses lowest at one mixture; those of a source fall with its share besides."""
    if run.parent is None:
        return dict.fromkeys(AVAILABLE, 5.0)
    shares = {name: run.phases[0].weights.get(name, 0.0) for name in AVAILABLE}
    away = sum((math.sqrt(shares[name]) - math.sqrt(BEST[name])) ** 2 for name in AVAILABLE)
    level = 3.0 + 0.2 * run.seed + 1e-4 * ((37 * run.seed + round(1e6 * shares["web"])) % 7)
    return {name: level + 0.5 * away - 0.1 * (shares[name] - 0.25) for name in AVAILABLE}


def test_a_space_keeps_to_its_bounds_and_adds_to_one() -> None:
    space = Space(("a", "b", "c"), (0.6, 0.3, 0.1), Bounds((0.1, 0.0, 0.05), (0.5, 0.9, 0.4)))
    for mixture in [space.default, *(space.most_of(name) for name in space.names)]:
        assert math.fsum(mixture) == pytest.approx(1.0, abs=1e-12)
        for share, low, high in zip(mixture, space.bounds.least, space.bounds.most, strict=True):
            assert low - 1e-6 <= share <= high + 1e-6
    assert space.default[0] == 0.5
    assert space.most_of("b") == (0.1, 0.85, 0.05)  # what the others have to have stays theirs
    draws = space.draws(50, 3)
    assert draws == space.draws(50, 3) != space.draws(50, 4)
    others = space.draws(20, 4, beside=draws)
    every = [*draws, *others]
    assert all(
        distance(one, other) >= 0.01 - 1e-6
        for place, one in enumerate(every)
        for other in every[:place]
    )
    narrow = Space(("a", "b"), (0.5, 0.5), Bounds((0.49, 0.49), (0.51, 0.51)))
    with pytest.raises(UserError, match="no room for so many"):
        narrow.draws(10, 1)


@given(st.lists(st.floats(1e-6, 1), min_size=2, max_size=8))
def test_rounded_shares_are_millionths_that_add_to_one(weights: list[float]) -> None:
    shares = np.array(weights) / sum(weights)
    found = rounded(shares)
    assert sum(round(share * 10**6) for share in found) == 10**6
    assert np.abs(np.array(found) - shares).max() <= len(weights) * 1e-6


def test_mixtures_drawn_are_decays_of_one_trunk_under_the_caps() -> None:
    points = design(epochs=2).points(EVERY, lambda run: None)
    drawn = [point for point in points if point.labels["arm"] in ("train", "test")]
    assert len(drawn) == 24 + 16
    assert len({point.run.parent.identity for point in drawn if point.run.parent}) == 1
    assert len({point.run.identity for point in drawn}) == 40
    for point in points:
        for name, tokens in shown(point.run).items():
            assert tokens <= 2 * AVAILABLE[name]
    # what the trunk has shown of a source is not there any more
    scarce = replace(EVERY, available={**AVAILABLE, "math": 20 * BATCH})
    for point in design().points(scarce, lambda run: None):
        assert shown(point.run).get("math", 0) <= 20 * BATCH
        assert point.labels["share math"] <= (20 - 8 - 1) / 40 + 1e-6


def test_what_is_verified_follows_from_the_losses_of_the_drawn() -> None:
    bench = Bench(design(), formula, EVERY)
    measured = bench.measured()
    assert bench.rounds == 2  # the drawn and the baselines, then those proposed
    arms = {str(one["arm"]) for one in measured}
    assert arms == {"train", "test", "default", "own share", "proposed 1", "proposed 2"}
    seeds = {one["seed"] for one in measured if one["arm"] == "proposed 1"}
    assert seeds == {2, 3, 4}
    (best,) = {
        tuple(float(one[f"share {name}"]) for name in sorted(AVAILABLE))
        for one in measured
        if one["arm"] == "proposed 1"
    }
    truth = tuple(BEST[name] for name in sorted(AVAILABLE))
    assert distance(best, truth) < 0.15
    found = bench.design.findings(EVERY, measured)
    verdicts = [claim.verdict for claim in found.claims]
    assert verdicts == ["shown"] * 3
    ranked = found.facts["ranked"]["primary"]
    by_model = {one["model"]: one["rank_correlation"]["value"] for one in ranked["models"]}
    assert by_model["gaussian"] > 0.9 > by_model["own share"]
    assert len(ranked["measured"]) == 16
    names = {figure.name for figure in found.figures}
    assert names == {"mixtures-predicted", "mixtures-ranks", "mixtures-verified"}


def test_a_loss_that_is_the_own_share_is_not_ranked_better() -> None:
    def own(run: RunSpec) -> dict[str, float]:
        share = run.phases[0].weights.get("web", 0.0) if run.parent else 0.0
        return dict.fromkeys(AVAILABLE, 4 - share)

    bench = Bench(design(own="web"), own, EVERY)
    found = bench.design.findings(EVERY, bench.measured())
    assert found.claims[0].verdict != "shown"
    rows = {(row[0], row[1]): row[2] for row in found.tables[0].rows}
    assert rows[("primary", "share of web")] == 1.0


def test_proposals_lie_apart_and_few_losses_propose_nothing() -> None:
    space = Space(("a", "b"), (0.5, 0.5), Bounds((0.0, 0.0), (1.0, 1.0)))
    mixtures = space.draws(12, 1)
    losses = [(share - 0.7) ** 2 for share, _ in mixtures]
    found = proposals(space, tuple(mixtures), tuple(losses), 3, 0.0, 2)
    assert abs(found[0].mixture[0] - 0.7) < 0.05
    assert all(
        distance(one.mixture, other.mixture) >= APART
        for place, one in enumerate(found)
        for other in found[:place]
    )
    assert [one.loss for one in found] == sorted(one.loss for one in found)
    assert proposals(space, tuple(mixtures[:3]), tuple(losses[:3]), 3, 0.0, 2) == ()


def test_mixtures_that_diverged_are_in_no_fit() -> None:
    def broken(run: RunSpec) -> dict[str, float] | None:
        decay = run.parent is not None and run.seed == 1
        return None if decay and run.phases[0].weights.get("web", 0) > 0.5 else formula(run)

    bench = Bench(design(), broken, EVERY)
    found = bench.design.findings(EVERY, bench.measured())
    assert any(note.startswith("train: ") and "diverged" in note for note in found.notes)
    assert len(found.facts["proposed"]) == 2
    every = Bench(design(), lambda run: None if run.parent else formula(run), EVERY)
    found = every.design.findings(EVERY, every.measured())
    assert {claim.verdict for claim in found.claims} == {"cannot tell"}
    assert found.facts["proposed"] == []
    assert any("none was proposed" in note for note in found.notes)


def test_trials_are_the_same_for_whoever_asks_with_the_same_losses() -> None:
    space = Space(("a", "b", "c"), (0.4, 0.3, 0.3), Bounds((0.05,) * 3, (0.9,) * 3))
    first = trials(space, [], 4, 3, 1)
    assert len(first) == 4
    losses = [abs(mixture[0] - 0.6) for mixture in first]
    second = trials(space, losses, 4, 3, 1)
    assert second[:4] == first
    assert len(second) == 8
    assert trials(space, losses[:3], 4, 3, 1) == first  # a round that is not ended
    other = trials(space, [1 - loss for loss in losses], 4, 3, 1)
    assert other[4:] != second[4:]
    losses += [abs(mixture[0] - 0.6) for mixture in second[4:]]
    third = trials(space, losses, 4, 3, 1)
    assert len(third) == 12 == len(trials(space, [*losses, 1.0, 1.0, 1.0, 1.0], 4, 3, 1))
    assert min(abs(mixture[0] - 0.6) for mixture in third[8:]) <= min(losses[:4])


def test_optuna_searches_beside_and_its_best_is_verified() -> None:
    bench = Bench(design(optuna={"rounds": 2, "size": 4}), formula, EVERY)
    measured = bench.measured()
    trial = [one for one in measured if one["arm"] == "trial"]
    assert [one["number"] for one in trial] == list(range(8))
    best = min(trial, key=lambda one: EVERY.primary.of(one.outcome) or math.inf)
    searched = [one for one in measured if one["arm"] == "searched"]
    assert {one["seed"] for one in searched} == {2, 3, 4}
    assert {one["share web"] for one in searched} == {best["share web"]}
    found = bench.design.findings(EVERY, measured)
    assert any(row[0] == "searched" for row in found.tables[1].rows)


def test_held_out_mixtures_are_judged_at_a_larger_size_too() -> None:
    larger = {"width": 128, "layers": 3, "trunk": 60 * BATCH, "decay": 20 * BATCH}

    def turned(run: RunSpec) -> dict[str, float]:
        """At the larger size the order of mixtures is the other way round."""
        losses = formula(run)
        return {n: 10 - loss for n, loss in losses.items()} if run.model["layers"] == 3 else losses

    bench = Bench(design(larger=larger), turned, EVERY)
    measured = bench.measured()
    at_size = [one for one in measured if one["arm"] == "larger"]
    held_out = [one for one in measured if one["arm"] == "test"]
    assert [one["share web"] for one in at_size] == [one["share web"] for one in held_out]
    assert {one.outcome.tokens for one in at_size} == {80 * BATCH}
    ranked = bench.design.findings(EVERY, measured).facts["ranked"]
    for model, other in zip(
        ranked["primary"]["models"], ranked["primary at 128x3"]["models"], strict=True
    ):
        expected = -model["rank_correlation"]["value"]
        assert other["rank_correlation"]["value"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"prior": {"web": 1.0, "sfx": 1.0}}, "design.prior", "no such source"),
        ({"prior": {"web": 1.0}, "least": {}, "most": {}}, "design.prior", "at least two"),
        ({"least": {"books": 0.1}}, "design.least", "no mixture has"),
        ({"own": "books"}, "design.own", "share of a source that mixtures have"),
        ({"least": dict.fromkeys(AVAILABLE, 0.3)}, None, "no mixture lies within"),
    ],
)
def test_what_cannot_be_is_said(changes: dict[str, Any], field: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        design(**changes).points(EVERY, lambda run: None)
    assert field is None or error.value.field == field
