"""Freezing: whole steps, pins, caps, and a past that no edit changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from mixtures.freeze.freeze import Plan, append_segment, branch, common_steps, freeze
from mixtures.freeze.plan_table import shown_nothing, table
from mixtures.loader.loader import Loader
from mixtures.order.interleave import (
    check_cursors,
    counts_at_end,
    counts_before,
    numbers_of,
    step_of,
)
from mixtures.order.sound_plan import load_plan
from mixtures.spec.spec import MixtureSpec, Phase
from tests.mixtures.every_window import due_before, sources_of

STABLE = Phase(name="stable", tokens=1500, weights={"web": 0.6, "code": 0.4})
DECAY = Phase(name="decay", tokens=900, decay=True, weights={"web": 0.3, "chat": 0.7})


def plan_of(shards: Any, *phases: Phase, length: int = 16, batch: int = 64, **rest: Any) -> Plan:
    return freeze(
        MixtureSpec(phases=phases, **rest),
        shards.sources,
        sequence_length=length,
        batch_tokens=batch,
        seed=3,
    )


def test_steps_round_up_to_whole_batches_and_both_figures_are_kept(shards: Any) -> None:
    plan = plan_of(shards, STABLE, DECAY)
    assert [(segment.asked_tokens, segment.steps) for segment in plan.segments] == [
        (1500, 24),
        (900, 15),
    ]
    assert (plan.steps, plan.tokens, plan.decay_step) == (39, 39 * 64, 24)
    rows = {(row.phase, row.source): row for row in table(plan)}
    assert rows["stable", "web"].asked_tokens == pytest.approx(900)
    assert sum(row.tokens for row in table(plan) if row.phase == "stable") == 24 * 64
    total = rows[None, "web"]
    assert total.tokens == rows["stable", "web"].tokens + rows["decay", "web"].tokens
    assert total.epochs == total.tokens / total.available


def test_sources_are_pinned_as_they_are(shards: Any) -> None:
    plan = plan_of(shards, STABLE, DECAY)
    assert plan.names == ("chat", "code", "web")
    for pinned in plan.sources:
        manifest = shards.sources[pinned.name].manifest
        assert [part.checksum for part in pinned.parts] == [
            part.checksum for part in manifest.parts
        ]
        own = plan.contexts[0].sources[plan.names.index(pinned.name)]
        assert pinned.packing == ("documents" if pinned.name == "chat" else "stream")
        assert own.windows == manifest.tokens // 16 or (
            pinned.name == "chat" and own.windows * 16 >= manifest.tokens
        )
    assert len(plan.sources[2].parts) > 1


def test_a_plan_survives_its_file_and_its_hash_is_that_of_the_bytes(
    shards: Any, tmp_path: Path
) -> None:
    plan = plan_of(
        shards, STABLE, DECAY.model_copy(update={"ramp_tokens": 300, "max_epochs": {"chat": 2.5}})
    )
    path = tmp_path / "plan.json"
    path.write_bytes(plan.to_json())
    again = load_plan(path)
    assert again == plan
    assert again.hash == plan.hash
    assert (
        again.to_json()
        == plan_of(
            shards,
            STABLE,
            DECAY.model_copy(update={"ramp_tokens": 300, "max_epochs": {"chat": 2.5}}),
        ).to_json()
    )
    assert plan_of(shards, STABLE).hash != plan.hash


@pytest.mark.parametrize(
    "damage",
    [
        lambda facts: facts.update(format="plan/9"),
        lambda facts: facts["segments"][1].update(first_step=23),
        lambda facts: facts["segments"][0]["start"].__setitem__(0, 7),
        lambda facts: facts["sources"].pop(),
        lambda facts: facts.pop("seed"),
        lambda facts: facts.update(extra=1),
        lambda facts: facts["sources"][0].update(tokens=1),
        lambda facts: facts["sources"][0].update(eos_id=1 << 20),
        lambda facts: facts["sources"][1]["parts"][0].update(tokens=1),
        lambda facts: facts["contexts"][0]["sources"][1].update(windows=0),
        lambda facts: facts["contexts"][0]["sources"][2].update(windows=1 << 53),
        lambda facts: facts["contexts"][1]["sources"][2].update(block_tokens=33),
        lambda facts: facts["contexts"][1]["sources"][0]["packed"].__setitem__(-1, 0),
        lambda facts: facts["contexts"][1]["sources"][0]["packed"].pop(),
        lambda facts: facts["contexts"][1]["sources"][2]["left"][0].update(last=1 << 53),
    ],
)
def test_a_damaged_plan_is_refused(
    shards: Any, tmp_path: Path, damage: Callable[[dict[str, Any]], object]
) -> None:
    longer = DECAY.model_copy(update={"name": "longer", "decay": False, "sequence_length": 32})
    facts = json.loads(
        plan_of(shards, STABLE, DECAY, longer, packing={"chat": "documents"}).to_json()
    )
    damage(facts)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(facts))
    with pytest.raises(UserError) as raised:
        load_plan(path)
    assert raised.value.file == str(path)


@pytest.mark.parametrize("content", [None, b"{", b"[]", b"\xff"])
def test_what_is_no_plan_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "plan.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError):
        load_plan(path)


def test_counts_that_do_not_follow_are_noticed(shards: Any) -> None:
    plan = plan_of(shards, STABLE, DECAY)
    check_cursors(plan)
    moved = plan.segments[1].model_copy(update={"cursors": (1, *plan.segments[1].cursors[1:])})
    with pytest.raises(UserError, match="do not follow"):
        check_cursors(plan.model_copy(update={"segments": (plan.segments[0], moved)}))


# -- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [0, 8, 100])
def test_a_batch_that_is_not_whole_windows_is_refused(shards: Any, batch: int) -> None:
    with pytest.raises(UserError, match="whole number of windows"):
        plan_of(shards, STABLE, batch=batch)


def test_a_source_without_shards_is_refused_with_the_nearest_name(shards: Any) -> None:
    with pytest.raises(UserError) as raised:
        plan_of(shards, Phase(name="a", tokens=100, weights={"chatt": 1.0}))
    assert raised.value.nearest == "chat"


def test_a_source_shorter_than_a_window_is_refused(shards: Any) -> None:
    with pytest.raises(UserError, match="less than one window"):
        plan_of(shards, Phase(name="a", tokens=100, weights={"tiny": 1.0}), length=512, batch=512)


def test_a_ramp_out_of_a_source_shorter_than_the_new_windows_is_refused(shards: Any) -> None:
    before = Phase(name="a", tokens=500, weights={"tiny": 0.5, "web": 0.5})
    longer = Phase(
        name="b", tokens=2000, weights={"web": 1.0}, sequence_length=128, batch_tokens=256
    )
    plan_of(shards, before, longer)
    with pytest.raises(UserError, match="tiny has less than one window") as raised:
        plan_of(shards, before, longer.model_copy(update={"ramp_tokens": 1000}))
    assert raised.value.field == "mixture.phases.b.ramp_tokens"


def test_shards_of_two_tokenizers_are_refused(shards: Any, shard_writer: Any) -> None:
    from tokenizer.shards.reader import open_source

    other = open_source(shard_writer("other", [[5] * 40], tokenizer="b"))
    with pytest.raises(UserError, match="different tokenizers"):
        freeze(
            MixtureSpec(phases=(Phase(name="a", tokens=100, weights={"web": 0.5, "other": 0.5}),)),
            {**shards.sources, "other": other},
            sequence_length=8,
            batch_tokens=8,
            seed=1,
        )


def test_a_weight_below_a_unit_is_refused(shards: Any) -> None:
    with pytest.raises(UserError, match="too small"):
        plan_of(shards, Phase(name="a", tokens=100, weights={"web": 1 - 1e-7, "code": 1e-7}))


def test_a_phase_cap_says_what_is_wanted_and_what_would_fit(shards: Any) -> None:
    available = shards.sources["chat"].manifest.tokens // 16 * 16
    phase = Phase(
        name="decay",
        tokens=available * 3,
        weights={"web": 0.5, "chat": 0.5},
        max_epochs={"chat": 1},
    )
    with pytest.raises(UserError) as raised:
        plan_of(shards, STABLE, phase, packing={"chat": "stream"})
    error = raised.value
    assert error.field == "mixture.phases.decay.max_epochs.chat"
    assert f"{available:,} in an epoch" in str(error.found)
    assert "1.50" in str(error.found)
    weight = float(str(error.fix).split("at most ")[1].split(",")[0])
    assert weight == pytest.approx(1 / 3, abs=0.01)
    fitting = phase.model_copy(
        update={"weights": {"web": 1 - weight + 0.005, "chat": weight - 0.005}}
    )
    assert plan_of(shards, STABLE, fitting, packing={"chat": "stream"}).steps


def test_a_cap_on_the_run_counts_all_phases(shards: Any) -> None:
    available = shards.sources["web"].manifest.tokens
    halves = [
        Phase(name=name, tokens=int(available * 0.7), weights={"web": 1.0})
        for name in ("one", "two")
    ]
    assert plan_of(shards, halves[0], max_epochs={"web": 1})
    with pytest.raises(UserError) as raised:
        plan_of(shards, *halves, max_epochs={"web": 1})
    assert raised.value.field == "mixture.max_epochs.web"
    assert plan_of(shards, *halves, max_epochs={"web": 1.5})


def test_no_window_is_shown_more_often_than_the_cap_allows(shards: Any) -> None:
    plan = plan_of(
        shards,
        STABLE,
        DECAY.model_copy(update={"tokens": 3000}),
        max_epochs={"web": 1.2, "chat": 2},
    )
    times = [np.zeros(source.tokens, np.int64) for source in plan.sources]
    loader = Loader(plan, shards.folders)
    for step in range(plan.steps):
        for _, _, source, start, tokens in loader.windows.of_step(step)[1].tolist():
            times[source][start : start + tokens] += 1
    for name, shown in zip(plan.names, times, strict=True):
        assert shown.max() <= {"web": 2, "chat": 2, "code": 1}[name]


# -- edits --------------------------------------------------------------------------------------


def windows(plan: Plan, first: int, last: int) -> list[tuple[str, int]]:
    """(source, window of that source) of the steps first to last - 1."""
    found = []
    for step in range(first, last):
        source, number = numbers_of(plan, step)
        found += [
            (plan.names[index], count)
            for index, count in zip(source.tolist(), number.tolist(), strict=True)
        ]
    return found


RAMP = DECAY.model_copy(update={"ramp_tokens": 500})
NEWS = Phase(name="news", tokens=700, weights={"tiny": 0.2, "web": 0.8}, ramp_tokens=200)


@pytest.mark.parametrize("step", [0, 1, 10, 24, 27, 33, 39])
def test_an_edit_leaves_every_step_before_it_as_it_was(shards: Any, step: int) -> None:
    plan = plan_of(shards, STABLE, RAMP)
    phase = NEWS if step else NEWS.model_copy(update={"ramp_tokens": 0})
    edited = append_segment(plan, phase, step, shards.sources)
    assert windows(edited, 0, step) == windows(plan, 0, step)
    assert edited.steps == step + 11
    check_cursors(edited)
    assert edited.agrees_with(plan.hash, step)
    assert not edited.agrees_with(plan.hash, step + 1)
    assert edited.agrees_with(edited.hash, edited.steps)
    assert common_steps(plan, edited) == step


def test_an_edit_of_an_edit_remembers_both(shards: Any) -> None:
    plan = plan_of(shards, STABLE, DECAY)
    second = append_segment(plan, NEWS, 20, shards.sources)
    third = append_segment(second, DECAY, 15)
    fourth = append_segment(second, DECAY, 25)
    assert third.agrees_with(plan.hash, 15)
    assert third.agrees_with(second.hash, 15)
    assert not third.agrees_with(plan.hash, 16)
    assert fourth.agrees_with(plan.hash, 20)
    assert fourth.agrees_with(second.hash, 25)
    assert not fourth.agrees_with(plan.hash, 21)


def test_a_ramp_after_a_cut_ramp_begins_where_it_was_cut(shards: Any) -> None:
    plan = plan_of(shards, STABLE, DECAY.model_copy(update={"ramp_tokens": 640}))
    edited = append_segment(plan, NEWS, 29, shards.sources)
    cut, ramp = edited.segments[1], edited.segments[2]
    assert (cut.steps, cut.ramp_steps) == (5, 10)
    halfway = [(first + last) / 2 for first, last in zip(cut.start, cut.end, strict=True)]
    assert ramp.start == pytest.approx([*halfway, 0], abs=1)


@pytest.mark.parametrize("name", ["tiny", "chat"])
def test_a_branch_may_show_a_source_that_the_plan_shows_only_in_a_later_context(
    shards: Any, name: str
) -> None:
    longer = DECAY.model_copy(update={"weights": {"web": 1.0}, "sequence_length": 32})
    new = Phase(name="new", tokens=640, weights={name: 0.5, "web": 0.5})
    later = append_segment(plan_of(shards, STABLE, longer), new, 30, shards.sources)
    early = branch(later, 5, [new], shards.sources)
    assert early.sources[-1] == later.sources[-1]
    assert windows(early, 0, 5) == windows(later, 0, 5)
    assert Loader(early, shards.folders).batch(early.steps - 1).tokens.size


def test_branches_of_equal_length_share_their_past_and_differ_after(shards: Any) -> None:
    plan = plan_of(shards, STABLE, DECAY)
    one = branch(plan, 24, [DECAY])
    other = branch(
        plan, 24, [Phase(name="decay", decay=True, tokens=900, weights={"web": 0.6, "code": 0.4})]
    )
    assert one.steps == other.steps == plan.steps
    assert windows(one, 0, 24) == windows(other, 0, 24)
    assert windows(one, 24, 39) == windows(plan, 24, 39)
    assert windows(other, 24, 39) != windows(one, 24, 39)
    assert one.hash != plan.hash


def test_what_is_appended_to_a_decay_begins_no_second_one_and_may_go_on_with_the_first(
    shards: Any,
) -> None:
    plan = plan_of(shards, STABLE, DECAY)
    again = Phase(name="again", decay=True, tokens=640, weights={"web": 1.0})
    with pytest.raises(UserError, match="the decay begins once") as raised:
        branch(plan, 30, [again])
    assert (raised.value.field, raised.value.found) == (
        "mixture.phases.again.decay",
        "a second decay; phase decay has begun it",
    )
    with pytest.raises(UserError, match="the decay begins once"):
        branch(plan, 30, [DECAY, again])
    assert branch(plan, 24, [again]).decay_step == branch(plan, 30, [DECAY]).decay_step == 24
    assert branch(plan, 30, [again.model_copy(update={"decay": False})]).decay_step == 24


def test_a_weight_that_comes_to_no_window_is_said_and_only_that(shards: Any) -> None:
    rare = {"web": 0.9999, "code": 0.0001, "chat": 0.0}
    plan = plan_of(shards, STABLE.model_copy(update={"weights": rare}), DECAY)
    rows = table(plan)
    assert [(row.source, row.tokens) for row in rows if row.phase == "stable"] == [
        ("code", 0),
        ("web", 24 * 64),
    ]
    assert shown_nothing(rows) == [
        "code in stable: a weight of 0.0001 asks for 0 tokens and comes to no window; it is not "
        "shown there"
    ]
    assert shown_nothing(table(plan_of(shards, STABLE, DECAY))) == []


def test_a_longer_plan_agrees_with_the_shorter_to_its_end(shards: Any) -> None:
    short, long = (
        plan_of(shards, STABLE),
        plan_of(shards, STABLE.model_copy(update={"tokens": 2000})),
    )
    assert common_steps(short, long) == short.steps
    assert common_steps(long, short) == short.steps
    assert windows(short, 0, short.steps) == windows(long, 0, short.steps)
    assert (
        common_steps(short, plan_of(shards, STABLE.model_copy(update={"weights": {"web": 1.0}})))
        == 0
    )


@pytest.mark.parametrize("step", [-1, 40])
def test_an_edit_outside_the_plan_is_refused(shards: Any, step: int) -> None:
    with pytest.raises(UserError, match="no such step"):
        append_segment(plan_of(shards, STABLE, DECAY), DECAY, step)


def test_a_long_ramp_becomes_pieces_that_meet(shards: Any) -> None:
    long = Phase(name="long", tokens=7 << 20, weights={"code": 1.0}, ramp_tokens=5 << 20)
    first = Phase(name="first", tokens=1 << 18, weights={"web": 1.0})
    plan = plan_of(shards, first, long, length=2, batch=1 << 19)
    ramp = plan.segments[1:-1]
    assert sum(segment.steps for segment in ramp) == 10
    assert len(ramp) == 10
    assert [segment.end for segment in ramp[:-1]] == [segment.start for segment in ramp[1:]]
    assert ramp[0].start == plan.segments[0].end
    assert ramp[-1].end == plan.segments[-1].start
    assert sum(segment.asked_tokens for segment in plan.segments[1:]) == 7 << 20
    half = counts_before(plan, 8) - counts_before(plan, 1)
    assert half.sum() == 7 << 18


# -- between sources ----------------------------------------------------------------------------

PHASES = st.lists(
    st.tuples(
        st.lists(st.integers(1, 100), min_size=3, max_size=3),
        st.integers(1, 4000),
        st.integers(0, 4000),
    ),
    min_size=1,
    max_size=4,
)


def random_plan(shards: Any, facts: list[tuple[list[int], int, int]]) -> Plan:
    phases = []
    for place, (weights, tokens, ramp) in enumerate(facts):
        shares = {
            name: weight / sum(weights)
            for name, weight in zip(("web", "code", "chat"), weights, strict=True)
        }
        phases.append(
            Phase(
                name=f"phase-{place}",
                tokens=tokens,
                weights=shares,
                ramp_tokens=min(ramp, tokens) if place else 0,
            )
        )
    return plan_of(shards, *phases)


@given(PHASES)
@settings(max_examples=40)
def test_in_a_segment_every_source_is_within_one_window_of_its_share_after_every_window(
    shards: Any, facts: list[tuple[list[int], int, int]]
) -> None:
    plan = random_plan(shards, facts)
    sequence = sources_of(plan, 0, 0, plan.steps * plan.batch_windows)
    counts = np.zeros(3, np.int64)
    for window, source in enumerate(sequence):
        place = divmod(window, plan.batch_windows)
        assert np.abs(counts - due_before(plan, *place)).max() < 1
        assert (counts == counts_before(plan, *place)).all()
        counts[source] += 1
    assert (counts == counts_at_end(plan, 0)).all()


@given(PHASES)
@settings(max_examples=40)
def test_over_the_run_what_segments_round_adds_up_to_less_than_a_window_each(
    shards: Any, facts: list[tuple[list[int], int, int]]
) -> None:
    plan = random_plan(shards, facts)
    due = np.zeros(3)
    for number, segment in enumerate(plan.segments):
        assert np.abs(np.array(segment.cursors) - due).max() < max(number, 1)
        due += segment.mix(plan.batch_windows).due(segment.steps * plan.batch_windows)
    assert np.abs(counts_at_end(plan, 0) - due).max() < len(plan.segments)


@given(PHASES, st.data())
@settings(max_examples=40)
def test_any_part_of_a_step_is_that_of_the_whole_run(
    shards: Any, facts: list[tuple[list[int], int, int]], data: st.DataObject
) -> None:
    plan = random_plan(shards, facts)
    whole = [numbers_of(plan, step) for step in range(plan.steps)]
    step = data.draw(st.integers(0, plan.steps - 1))
    first = data.draw(st.integers(0, plan.batch_windows))
    last = data.draw(st.integers(first, plan.batch_windows))
    source, number = numbers_of(plan, step, first, last)
    assert (source == whole[step][0][first:last]).all()
    assert (number == whole[step][1][first:last]).all()
    for window in range(first, last):
        assert step_of(plan, 0, int(whole[step][0][window]), int(whole[step][1][window])) == (
            step,
            window,
        )
    sources, numbers = (np.concatenate(column) for column in zip(*whole, strict=True))
    for index in range(3):
        assert numbers[sources == index].tolist() == list(range((sources == index).sum()))
        assert step_of(plan, 0, index, int((sources == index).sum())) is None
