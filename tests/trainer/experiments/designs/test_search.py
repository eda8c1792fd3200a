"""A search: which trials it wants, that it goes on to the same ones, and what it says of a known
valley.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from tests.trainer.experiments.designs.batch_runs import BASE
from trainer.experiments.design import Measured
from trainer.experiments.designs.search import trials as proposing
from trainer.experiments.designs.search.design import SearchDesign
from trainer.experiments.designs.search.space import PAPER, Range, Space, Values, first_points
from trainer.experiments.designs.search.trials import Trial, censored, proposals
from trainer.experiments.findings import Findings
from trainer.experiments.outcomes import Diverged, Losses, Outcome
from trainer.experiments.runs import Point, RunSpec

SMALL = SearchDesign(
    trials=14, first=8, round=3, alike=8, best=3, search_seed=5, tokens_per_parameter=1.0
)
LOG_V = math.log(BASE.vocab_size)


def loss_of(run: RunSpec) -> float | None:
    """A valley in the rate and the deviation; rates above 0.04 diverge; longer runs are better."""
    lr, std = run.train["schedule"]["peak"], run.model["init_std"]
    if lr > 0.04:
        return None
    valley = 3 + 0.1 * math.log(lr / 0.01) ** 2 + 0.02 * math.log(std / 0.08) ** 2
    return valley + 0.002 * math.sin(37.0 * run.seed) - 1e-7 * run.tokens


def outcome(run: RunSpec) -> Outcome:
    loss = loss_of(run)
    return Outcome(
        key=str(abs(hash(run.identity)) % 10**8),
        steps=1,
        tokens=run.tokens,
        own_tokens=run.tokens,
        operations=1.0,
        parameters=1,
        total_parameters=1,
        losses={} if loss is None else {"web": Losses(nats=loss)},
        diverged=Diverged(step=7, reason="loss nan") if loss is None else None,
    )


def carried_out(design: SearchDesign, kills: int = 0) -> list[Point]:
    """All points in the end; with ``kills`` a few runs at a time, nothing remembered between calls."""
    made: dict[str, Outcome] = {}
    while True:
        points = design.points(BASE, lambda run: made.get(run.identity))
        missing = [point.run for point in points if point.run.identity not in made]
        if not missing:
            return points
        if kills:
            proposing._proposals.cache_clear()
        for run in missing[: 10 if kills else None]:
            made[run.identity] = outcome(run)


def measured(design: SearchDesign) -> list[Measured]:
    return [Measured(point, outcome(point.run)) for point in carried_out(design)]


@pytest.fixture(scope="module")
def search() -> list[Measured]:
    return measured(SMALL)


def trials(points: list[Measured]) -> list[Measured]:
    return [one for one in points if one.point.at(stage="trial")]


def test_a_search_that_is_killed_goes_on_to_the_same_trials(search: list[Measured]) -> None:
    again = carried_out(SMALL, kills=1)
    assert [point.run.identity for point in again] == [one.point.run.identity for one in search]


def test_rounds_of_fixed_size_depend_on_outcomes_alone(search: list[Measured]) -> None:
    made: dict[str, Outcome] = {}
    sizes = []
    for _ in range(4):
        points = SMALL.points(BASE, lambda run: made.get(run.identity))
        sizes.append(sum(point.at(stage="trial") for point in points))
        made.update({point.run.identity: outcome(point.run) for point in points})
    assert sizes == [8, 11, 14, 14]
    other = SMALL.model_copy(update={"search_seed": 6})
    first = [point.labels["lr"] for point in other.points(BASE, lambda run: None)]
    assert first[0] != trials(search)[0]["lr"]


def test_trials_have_the_settings_and_the_tokens_that_their_labels_say(
    search: list[Measured],
) -> None:
    one = trials(search)[3]
    run = one.point.run
    assert run.train["schedule"]["peak"] == one["lr"]
    assert {name: run.model[name] for name in ("scale_depth", "scale_emb", "init_std")} == {
        name: one[name] for name in ("scale_depth", "scale_emb", "init_std")
    }
    longer = next(other for other in search if other.point.at(stage="longer", trial=3))
    assert longer.point.run.tokens == pytest.approx(2 * run.tokens, rel=0.1)
    assert [phase.decay for phase in run.phases] == [False, True]
    assert run.phases[1].tokens == pytest.approx(0.1 * run.tokens, rel=0.2)


def test_the_best_few_and_the_papers_values_are_confirmed_under_seeds_of_their_own(
    search: list[Measured],
) -> None:
    best = sorted(trials(search), key=lambda one: loss_of(one.point.run) or LOG_V)[:3]
    confirmed = [one for one in search if one.point.at(stage="confirm")]
    names = list(dict.fromkeys(str(one["name"]) for one in confirmed))
    assert names == [*(f"trial {one['trial']}" for one in best), "paper"]
    assert len(confirmed) == 4 * 3
    assert {int(one["seed"]) for one in confirmed} == {2, 3, 4}
    paper = next(one for one in confirmed if one["name"] == "paper")
    assert Values(*(float(paper[name]) for name in Values._fields)) == PAPER


def test_the_search_comes_near_the_valley(search: list[Measured]) -> None:
    proposed = [float(one["lr"]) for one in trials(search)[8:]]
    assert min(abs(math.log(lr / 0.01)) for lr in proposed) < 0.3


def test_findings_give_a_flat_set_and_no_single_best(search: list[Measured]) -> None:
    findings = SMALL.findings(BASE, search)
    flat = findings.facts["flat_set"]
    assert flat["best"] in flat["confirmed"]
    assert any("no single best" in note for note in findings.notes)
    told = {claim.claim: claim for claim in findings.claims}
    paper = told["the paper's values are not worse than the best that was confirmed"]
    assert paper.verdict == "shown"
    assert "difference" not in paper.figures
    assert findings.facts["importances"]["fANOVA"]["lr"] > 0.5
    assert set(findings.facts["importances"]) == {"PED-ANOVA", "fANOVA"}


def test_diverged_trials_are_told_ln_v_and_named(search: list[Measured]) -> None:
    lost = [one for one in trials(search) if one.outcome.diverged is not None]
    assert lost
    findings = SMALL.findings(BASE, search)
    for one in lost:
        note = f"trial {one['trial']} diverged (loss nan at step 7)"
        assert any(line.startswith(note) for line in findings.notes)
    assert censored(None, 512) == censored(9.0, 512) == math.log(512)
    assert censored(3.0, 512) == 3.0


def test_ranks_at_more_tokens_agree_where_losses_do(search: list[Measured]) -> None:
    findings = SMALL.findings(BASE, search)
    claim = next(one for one in findings.claims if one.claim.startswith("ranks at 1 and 2"))
    assert findings.facts["agreement"]["spearman"]["value"] == pytest.approx(1.0)
    assert claim.verdict == "shown"
    turned = [
        Measured(
            one.point,
            one.outcome.model_copy(
                update={"losses": {"web": Losses(nats=9 - loss)}, "diverged": None}
            ),
        )
        if one.point.at(stage="longer") and (loss := loss_of(one.point.run)) is not None
        else one
        for one in search
    ]
    claim = SMALL.findings(BASE, turned).claims[1]
    assert claim.verdict == "refuted"


def test_the_journal_is_one_that_optuna_opens_and_the_same_every_time(
    search: list[Measured], tmp_path: Path
) -> None:
    files = SMALL.files(BASE, search)
    assert files == SMALL.files(BASE, search)
    (name,) = files
    path = tmp_path / name
    path.write_bytes(files[name])
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(path)))
    study = optuna.load_study(study_name="search", storage=storage)
    assert len(study.trials) == SMALL.trials
    for trial, one in zip(study.trials, trials(search), strict=True):
        assert trial.params == {name: one[name] for name in Values._fields}
        assert trial.value == pytest.approx(loss_of(one.point.run) or LOG_V)
        assert trial.user_attrs["run"] == one.outcome.key
    study.optimize(lambda trial: trial.suggest_float("lr", 0.002, 0.05, log=True), n_trials=1)
    assert len(study.trials) == SMALL.trials + 1


def test_figures_have_slices_of_every_value_with_the_papers_beside(search: list[Measured]) -> None:
    figures = {figure.name: figure for figure in SMALL.findings(BASE, search).figures}
    assert set(figures) == {"search-slices", "search-course", "search-importances", "search-ranks"}
    panels = figures["search-slices"].panels
    assert [panel.title for panel in panels] == list(Values._fields)
    rules = [series.x for panel in panels for series in panel.series if series.style == "rule"]
    assert rules == [(value,) for value in PAPER]
    for figure in figures.values():
        assert "interval" in figure.caption


def test_when_everything_diverges_the_papers_values_are_confirmed_alone() -> None:
    design = SearchDesign(trials=4, first=4, alike=4, best=2, tokens_per_parameter=1.0)
    lost = {"losses": {}, "diverged": Diverged(step=1, reason="loss inf")}
    gone: dict[str, Outcome] = {}
    points: list[Point] = []
    for _ in range(3):
        points = design.points(BASE, lambda run: gone.get(run.identity))
        for point in points:
            gone[point.run.identity] = outcome(point.run).model_copy(update=lost)
    names = {point.labels["name"] for point in points if point.at(stage="confirm")}
    assert names == {"paper"}
    findings: Findings = design.findings(
        BASE, [Measured(point, gone[point.run.identity]) for point in points]
    )
    assert findings.facts["flat_set"] is None
    assert {claim.verdict for claim in findings.claims} == {"cannot tell"}
    assert findings.figures == ()
    assert SMALL.findings(BASE, []).facts["trials"] == []


def test_proposals_lie_inside_and_do_not_depend_on_what_asks_for_them() -> None:
    space = Space()
    told = [
        Trial(number, values, 3 + math.log(values.lr / 0.01) ** 2)
        for number, values in enumerate(first_points(space, 8, 0))
    ]
    one = proposals(space, told, 2, seed=3)
    proposing._proposals.cache_clear()
    assert proposals(space, told, 2, seed=3) == one
    assert proposals(space, told, 2, seed=4) != one
    for values in one:
        assert space.within(values) == values


@given(st.floats(1e-6, 1e3), st.floats(1.01, 1e3), st.floats(0, 1))
def test_a_share_of_a_range_is_found_again(low: float, ratio: float, share: float) -> None:
    one = Range(low=low, high=low * ratio)
    value = one.at(share)
    assert one.low <= value <= one.high
    assert one.share(value) == pytest.approx(share, abs=1e-3 / math.log(ratio))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"first": 12}, "design.first"),
        ({"trials": 8}, "design.trials"),
        ({"alike": 32}, "design.alike"),
        ({"alike": 2}, "design.alike"),
        ({"confirm_seeds": [1, 2, 3]}, "design.confirm_seeds"),
        ({"space": {"lr": {"low": 0.1, "high": 0.01}}}, "design.space"),
    ],
)
def test_stages_that_do_not_fit_are_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(UserError) as caught:
        SearchDesign.model_validate(changes)
    assert caught.value.field == field
    assert caught.value.fix


def test_without_optuna_a_search_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from artifacts import extras

    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "optuna" else object())
    with pytest.raises(UserError, match=r"windtunnel\[experiments\]"):
        SMALL.points(BASE, lambda run: None)
