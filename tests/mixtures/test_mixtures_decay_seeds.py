"""Seeds of a decay: disjoint from the trunk and from one another, each a plan like any other."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from mixtures.freeze.decay_seeds import seed_notes, seed_rooms
from mixtures.freeze.edit import Change, append, changed
from mixtures.freeze.freeze import Plan, branch, common_steps, freeze
from mixtures.freeze.plan_phases import check_rules_held, planned_phases
from mixtures.freeze.plan_table import table
from mixtures.freeze.repetitions import check_repetitions, epochs_touched
from mixtures.inspect.accounting import documents_shown, realised
from mixtures.inspect.check_plan import check_plan
from mixtures.inspect.trace import Tracer
from mixtures.loader.loader import Loader, open_streams
from mixtures.loader.windows import Windows
from mixtures.order.interleave import (
    check_cursors,
    counts_at_end,
    passed_over,
    step_behind,
    step_of,
    tokens_shown,
)
from mixtures.order.sound_plan import load_plan
from mixtures.spec.phase import PhaseSpec
from mixtures.spec.spec import MixtureSpec
from tests.mixtures.random_plans import LENGTHS, SEEDS, plan_of

WEB = PhaseSpec(name="stable", tokens=1024, weights={"web": 1.0})
DECAY = PhaseSpec(name="decay", decay=True, tokens=1024, weights={"web": 0.75, "code": 0.25})
WITH_TINY = DECAY.model_copy(update={"weights": {"web": 0.5, "code": 0.25, "tiny": 0.25}})


@st.composite
def trunks(draw: st.DrawFn) -> MixtureSpec:
    """A stable phase or two, the second perhaps in other windows."""
    weights = draw(st.sampled_from([{"web": 1.0}, {"web": 0.5, "chat": 0.5}, {"chat": 1.0}]))
    phases = [PhaseSpec(name="one", tokens=draw(st.integers(1, 1500)), weights=weights)]
    if draw(st.booleans()):
        length = draw(st.sampled_from(LENGTHS))
        phases.append(
            PhaseSpec(
                name="two",
                tokens=draw(st.integers(1, 800)),
                weights=weights,
                sequence_length=length,
                batch_tokens=length * draw(st.integers(1, 4)),
            )
        )
    packing = draw(st.sampled_from(["stream", "documents"]))
    shown = {name for phase in phases for name in phase.weights}
    return MixtureSpec(phases=tuple(phases), packing=dict.fromkeys(sorted(shown), packing))


@st.composite
def endings(draw: st.DrawFn) -> list[PhaseSpec]:
    """A decay, perhaps with a phase after it that it fades into, perhaps in other windows."""
    length = draw(st.none() | st.sampled_from(LENGTHS))
    batch = None if length is None else length * draw(st.integers(1, 4))
    shares = st.sampled_from([{"web": 1.0}, {"web": 0.6, "code": 0.4}, {"chat": 0.9, "code": 0.1}])
    phases = []
    for number in range(draw(st.integers(1, 2))):
        tokens = draw(st.integers(1, 800))
        phases.append(
            PhaseSpec(
                name=f"decay-{number}",
                decay=number == 0,
                tokens=tokens,
                weights=draw(shares),
                ramp_tokens=draw(st.integers(0, tokens)) if number else 0,
                sequence_length=length if number == 0 else None,
                batch_tokens=batch if number == 0 else None,
            )
        )
    return phases


def planned(
    shards: Any, spec: MixtureSpec, where: float, phases: list[PhaseSpec], seed: int
) -> Any:
    """The trunk's plan, a step of it, and the plans of as many seeds as fit, at most three."""
    trunk = plan_of(shards, spec, seed)
    step = round(where * trunk.steps)
    first = branch(trunk, step, phases, shards.sources)
    fit = [room.seeds for room in seed_rooms(first, step) if room.seeds is not None]
    assume(all(fit))
    count = min([3, *fit])
    seeds = [branch(trunk, step, phases, shards.sources, ahead=ahead) for ahead in range(count)]
    return trunk, step, first, seeds


def places(shards: Any, plan: Plan, first: int, last: int) -> list[Counter[int]]:
    """By source, how often each place of its stream is a target in some steps."""
    windows = Windows(plan, open_streams(plan, shards.folders))
    shown: list[Counter[int]] = [Counter() for _ in plan.sources]
    for step in range(first, last):
        for _, _, source, start, tokens in windows.of_step(step)[1].tolist():
            shown[source].update(range(start, start + tokens))
    return shown


@given(trunks(), st.floats(0, 1), endings(), SEEDS)
@settings(max_examples=40, deadline=None)
def test_seeds_share_no_window_with_one_another_or_the_trunk(
    shards: Any, spec: MixtureSpec, where: float, phases: list[PhaseSpec], seed: int
) -> None:
    trunk, step, first, seeds = planned(shards, spec, where, phases, seed)
    assert seeds[0].to_json() == first.to_json()
    before = places(shards, first, 0, step)
    each = [places(shards, plan, step, plan.steps) for plan in seeds]
    for room in seed_rooms(first, step):
        source = first.names.index(room.source)
        if room.whole:
            continue
        shown = [before[source], *(seen[source] for seen in each)]
        for number, own in enumerate(shown):
            assert max(own.values(), default=1) == 1
            for other in shown[:number]:
                assert not own.keys() & other.keys()
    for ahead, plan in enumerate(seeds):
        assert plan.agrees_with(trunk.hash, step)
        assert tokens_shown(plan, plan.steps).tolist() == tokens_shown(first, first.steps).tolist()
        assert [row.tokens for row in table(plan)] == [row.tokens for row in table(first)]
        assert common_steps(first, plan) == (first.steps if ahead == 0 else step)


@given(trunks(), st.floats(0, 1), endings(), SEEDS, st.integers(0, 2))
@settings(max_examples=20, deadline=None)
def test_a_seeds_plan_is_read_counted_and_traced_like_any_other(
    shards: Any, spec: MixtureSpec, where: float, phases: list[PhaseSpec], seed: int, ahead: int
) -> None:
    _, step, _, seeds = planned(shards, spec, where, phases, seed)
    plan = seeds[min(ahead, len(seeds) - 1)]
    again = Plan.model_validate_json(plan.to_json())
    assert (again, again.hash) == (plan, plan.hash)
    check_cursors(again)
    check_plan(again, shards.folders)
    other, loader = Loader(again, shards.folders), Loader(plan, shards.folders)
    for place in (plan.steps - 1, step):
        assert np.array_equal(other.batch(place).tokens, loader.batch(place).tokens)
    tracer = Tracer(plan, shards.folders)
    spans = [span for each in range(plan.steps) for span in tracer.step(each)]
    documents = {span.id for span in spans}
    for document in sorted(documents)[:: max(1, len(documents) // 8)]:
        assert tracer.document(document) == [span for span in spans if span.id == document]
    shown = documents_shown(plan, plan.steps, shards.folders)
    for name in plan.names:
        assert shown[name] == len({span.id for span in spans if span.source == name})
        assert [row.tokens for row in realised(plan, plan.steps) if row.source == name] == [
            tokens_shown(plan, plan.steps)[plan.names.index(name)]
        ]


@given(trunks(), endings(), SEEDS, st.sampled_from(LENGTHS))
@settings(max_examples=20, deadline=None)
def test_windows_that_were_passed_over_stay_so_in_contexts_that_begin_later(
    shards: Any, spec: MixtureSpec, phases: list[PhaseSpec], seed: int, length: int
) -> None:
    _, step, _, seeds = planned(shards, spec, 1.0, phases, seed)
    plan = seeds[-1]
    each = [places(shards, one, 0, one.steps) for one in seeds]
    more = PhaseSpec(
        name="more",
        tokens=length * 20,
        weights={room.source: 1.0 for room in seed_rooms(plan, step)[:1]},
        sequence_length=length,
        batch_tokens=length,
    )
    longer = append(plan, plan.steps, [more], shards.sources)
    check_cursors(longer)
    source = longer.names.index(next(iter(more.weights)))
    assume(not longer.contexts[-1].sources[source].epoch > 0)
    begun = longer.segments[-1].first_step
    order = Windows(longer, open_streams(longer, shards.folders)).orders(len(longer.contexts) - 1)
    fresh = order[source].head + order[source].left_rows
    batch = longer.contexts[-1].batch_windows
    shown = places(shards, longer, begun, min(longer.steps, begun + fresh // batch))
    for seen in each:
        assert not shown[source].keys() & seen[source].keys()


@pytest.fixture(scope="module")
def trunk(shards: Any) -> Plan:
    spec = MixtureSpec(phases=(WEB,), packing=dict.fromkeys(["web"], "stream"))
    return freeze(spec, shards.sources, sequence_length=16, batch_tokens=128, seed=4)


def test_the_plan_says_what_each_source_passes_over_and_nothing_where_nothing_is(
    shards: Any, trunk: Plan
) -> None:
    first = branch(trunk, 8, [DECAY], shards.sources)
    third = branch(trunk, 8, [DECAY], shards.sources, ahead=2)
    rooms = {room.source: room for room in seed_rooms(first, 8)}
    assert (rooms["web"].windows, rooms["code"].windows) == (48, 16)
    facts = json.loads(third.to_json())["segments"]
    passed = dict(zip(third.names, facts[1]["passed"], strict=True))
    assert passed == {"web": 96, "code": 32}
    assert "passed" not in facts[0]
    assert b"passed" not in first.to_json() + trunk.to_json()
    assert passed_over(third, 0).tolist() == list(facts[1]["passed"])
    assert passed_over(third, 0, 8).tolist() == [0, 0]
    cut = branch(third, 12, [DECAY.model_copy(update={"decay": False, "name": "after"})])
    assert cut.segments[1].passed == third.segments[1].passed
    assert counts_at_end(cut, 0).tolist() == [
        passed + tokens // 16
        for passed, tokens in zip(passed_over(cut, 0), tokens_shown(cut, cut.steps), strict=True)
    ]
    check_cursors(cut)


def test_a_window_passed_over_has_no_step_and_is_behind_from_the_decay_on(
    shards: Any, trunk: Plan
) -> None:
    second = branch(trunk, 8, [DECAY], shards.sources, ahead=1)
    web = second.names.index("web")
    shown = [step_of(second, 0, web, number) for number in range(64 + 48 + 48)]
    assert None not in shown[:64]
    assert shown[64:112] == [None] * 48
    assert [place[0] for place in shown[112:] if place] == sorted(place[0] for place in shown[112:])
    assert {step_behind(second, 0, web, number) for number in range(64, 112)} == {8}
    assert step_behind(second, 0, web, 63) == 7
    assert step_behind(second, 0, web, 160) is None
    assert step_of(branch(trunk, 8, [DECAY], shards.sources), 0, web, 64) is not None


def test_a_source_that_is_shown_whole_gives_seeds_another_order_of_the_same(
    shards: Any, trunk: Plan
) -> None:
    first, second = (branch(trunk, 8, [WITH_TINY], shards.sources, ahead=n) for n in (0, 1))
    room = next(room for room in seed_rooms(first, 8) if room.source == "tiny")
    assert room.whole
    assert room.seeds is None
    epochs = -(-room.windows // room.epoch)
    tiny = second.names.index("tiny")
    assert second.segments[-1].passed[tiny] == epochs * room.epoch
    own = [places(shards, plan, 8, plan.steps)[tiny] for plan in (first, second)]
    assert own[0].keys() == own[1].keys()
    assert set(own[0].values()) == set(own[1].values()) == {room.windows // room.epoch, epochs}
    order = [
        [
            piece[3]
            for step in range(8, plan.steps)
            for piece in Windows(plan, open_streams(plan, shards.folders)).of_step(step)[1].tolist()
            if piece[2] == tiny
        ]
        for plan in (first, second)
    ]
    assert order[0] != order[1]
    assert [sentence.split(":")[0] for sentence in seed_notes(first, 8)] == ["tiny"]
    assert seed_notes(branch(trunk, 8, [DECAY], shards.sources), 8) == []


def test_repetitions_count_the_epochs_of_which_something_is_shown(shards: Any, trunk: Plan) -> None:
    first, second = (branch(trunk, 8, [WITH_TINY], shards.sources, ahead=n) for n in (0, 1))
    tiny = first.names.index("tiny")
    touched = epochs_touched(first, tiny)
    assert epochs_touched(second, tiny) == touched > 1
    assert epochs_touched(second, second.names.index("web")) == 1
    for times, fits in ((touched, True), (touched - 1, False)):
        capped = second.changed(rules=second.rules.model_copy(update={"max_repetitions": times}))
        if fits:
            check_repetitions(capped)
            check_rules_held(capped)
        else:
            with pytest.raises(UserError, match="a document of tiny more often"):
                check_repetitions(capped)


def test_what_does_not_hold_the_seeds_is_refused_with_the_numbers(shards: Any, trunk: Plan) -> None:
    first = branch(trunk, 8, [DECAY], shards.sources)
    rooms = {room.source: room for room in seed_rooms(first, 8)}
    most = min(room.unseen // room.windows for room in rooms.values())
    assert most > 1
    branch(trunk, 8, [DECAY], shards.sources, ahead=most - 1)
    with pytest.raises(UserError) as refused:
        branch(trunk, 8, [DECAY], shards.sources, ahead=most)
    worst = min(rooms.values(), key=lambda room: room.seeds or 0)
    said = str(refused.value)
    assert f"{worst.source} does not hold what {most + 1} seeds need" in said
    assert f"{worst.windows * (most + 1):,} windows of 16 tokens needed" in said
    assert f"{worst.unseen:,} of {worst.epoch:,} are unseen after step 8" in said
    assert f"up to {most} seeds" in said
    fix = refused.value.fix or ""
    weight = float(fix.split("to at most ")[1].split(",")[0])
    lowered = {**DECAY.weights, worst.source: weight}
    rest = next(name for name in lowered if name != worst.source)
    lowered[rest] = 1 - weight
    eased = branch(trunk, 8, [DECAY.model_copy(update={"weights": lowered})], shards.sources)
    room = next(room for room in seed_rooms(eased, 8) if room.source == worst.source)
    assert room.windows * (most + 1) <= room.unseen + most + 1


def test_after_the_first_epoch_nothing_is_unseen(shards: Any) -> None:
    spec = MixtureSpec(phases=(WEB.model_copy(update={"weights": {"tiny": 1.0}}),))
    trunk = freeze(spec, shards.sources, sequence_length=4, batch_tokens=16, seed=4)
    ending = DECAY.model_copy(update={"weights": {"tiny": 1.0}, "tokens": 16})
    assert [room.unseen for room in seed_rooms(branch(trunk, 60, [ending]), 60)] == [0]
    with pytest.raises(UserError, match="0 of") as refused:
        branch(trunk, 60, [ending], ahead=1)
    assert "ask for" not in (refused.value.fix or "")


def test_an_ending_that_changes_its_windows_has_one_seed(shards: Any, trunk: Plan) -> None:
    after = DECAY.model_copy(update={"name": "after", "decay": False, "sequence_length": 32})
    branch(trunk, 8, [DECAY, after], shards.sources)
    with pytest.raises(UserError, match="windows of one length") as refused:
        branch(trunk, 8, [DECAY, after], shards.sources, ahead=1)
    assert refused.value.field == "mixture.phases.after.sequence_length"
    branch(trunk, 8, [after.model_copy(update={"decay": True})], shards.sources, ahead=1)
    with pytest.raises(UserError, match="counted from 0"):
        branch(trunk, 8, [DECAY], shards.sources, ahead=-1)


def test_edits_keep_what_is_passed_over_or_are_refused(shards: Any, trunk: Plan) -> None:
    second = branch(trunk, 8, [DECAY], shards.sources, ahead=1)
    longer = changed(second, 10, Change(lengthen={"decay": 128}), shards.sources)
    assert longer.steps == second.steps + 1
    assert passed_over(longer, 0).tolist() == passed_over(second, 0).tolist()
    assert common_steps(second, longer) >= 10
    check_cursors(longer)
    for step in (3, 8):
        with pytest.raises(UserError, match="inside that decay only"):
            changed(second, step, Change(lengthen={"decay": 128}), shards.sources)
    assert not append(second, 8, [DECAY], shards.sources).segments[-1].passed
    skips = changed(second, 3, Change(skip=1), shards.sources)
    assert skips.segments == second.segments
    assert [part.first_step for part in planned_phases(second)] == [0, 8]


def test_a_plan_that_passes_over_other_windows_than_it_counts_is_refused(
    shards: Any, trunk: Plan, tmp_path: Path
) -> None:
    facts = json.loads(branch(trunk, 8, [DECAY], shards.sources, ahead=1).to_json())
    for passed in ([1, 2], [0, 0], [16], [16, -1]):
        facts["segments"][1]["passed"] = passed
        (tmp_path / "plan.json").write_text(json.dumps(facts))
        with pytest.raises(UserError, match=r"follow from its segments|damaged"):
            check_cursors(load_plan(tmp_path / "plan.json"))
    unknown = {**facts["segments"][1], "skipped_over": [16, 16]}
    facts["segments"][1] = unknown
    (tmp_path / "plan.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match="damaged"):  # as an earlier release says of this field
        load_plan(tmp_path / "plan.json")
