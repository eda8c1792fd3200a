"""Edits of a plan: what was shown stays, what comes changes as said, and the rules of the plan
outlive the edit.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from mixtures.freeze.edit import Change, append, changed_weights, rest
from mixtures.freeze.freeze import Plan, freeze
from mixtures.freeze.plan_phases import check_rules_held, nearest_caps, planned_phases
from mixtures.freeze.plan_table import table
from mixtures.order.interleave import counts_before
from mixtures.spec.phase import Phase
from mixtures.spec.spec import MixtureSpec
from tests.mixtures.random_plans import plan_of, specs

LENGTH, BATCH = 16, 64


def plan(shards: Any, **rules: Any) -> Plan:
    """10 steps of web and code, 6 that move over to more code, 4 of decay."""
    phases = [
        {"name": "stable", "tokens": 10 * BATCH, "weights": {"web": 0.75, "code": 0.25}},
        {
            "name": "later",
            "tokens": 6 * BATCH,
            "weights": {"web": 0.5, "code": 0.5},
            "ramp_tokens": 4 * BATCH,
        },
        {
            "name": "decay",
            "decay": True,
            "tokens": 4 * BATCH - 7,
            "weights": {"web": 0.4, "code": 0.3, "chat": 0.3},
        },
    ]
    spec = MixtureSpec.model_validate({"phases": phases, **rules})
    return freeze(spec, shards.sources, sequence_length=LENGTH, batch_tokens=BATCH, seed=3)


def shape(made: Plan) -> list[tuple[str, int, int, int]]:
    return [
        (part.phase.name, part.first_step, part.last_step, part.ramp_steps)
        for part in planned_phases(made)
    ]


def weights(made: Plan) -> list[dict[str, float]]:
    return [
        {name: round(weight, 9) for name, weight in part.phase.weights.items()}
        for part in planned_phases(made)
    ]


@settings(max_examples=40, deadline=None)
@given(spec=specs(), part=st.floats(0, 1))
def test_what_is_left_of_a_plan_planned_again_has_the_same_phases_steps_and_tokens(
    shards: Any, spec: MixtureSpec, part: float
) -> None:
    before = plan_of(shards, spec)
    step = min(round(part * before.steps), before.steps - 1)
    left = rest(before, step, Change())
    assert [phase.name for phase in left] == [
        one.phase.name for one in planned_phases(before) if one.last_step > step
    ]
    again = append(before, step, left, shards.sources)
    assert (again.steps, again.tokens) == (before.steps, before.tokens)
    assert (counts_before(again, step) == counts_before(before, step)).all()
    assert sum(segment.asked_tokens for segment in again.segments) == sum(
        segment.asked_tokens for segment in before.segments
    )
    assert [row.source for row in table(again)] == [row.source for row in table(before)]


def test_planned_phases_are_the_phases_the_plan_was_made_of(shards: Any) -> None:
    made = plan(shards)
    assert shape(made) == [("stable", 0, 10, 0), ("later", 10, 16, 4), ("decay", 16, 20, 0)]
    assert [part.phase.tokens for part in planned_phases(made)] == [
        10 * BATCH,
        6 * BATCH,
        4 * BATCH - 7,
    ]


def test_dropping_a_source_holds_for_the_rest_of_the_phase_and_others_keep_their_proportions(
    shards: Any,
) -> None:
    before = plan(shards)
    made = append(before, 4, rest(before, 4, Change(drop=("code",))), shards.sources)
    assert shape(made) == [
        ("stable", 0, 4, 0),
        ("stable", 4, 10, 0),
        ("later", 10, 16, 4),
        ("decay", 16, 20, 0),
    ]
    assert weights(made)[1:3] == [{"web": 1.0}, {"web": 0.5, "code": 0.5}]
    code = made.names.index("code")
    assert (
        counts_before(made, 10)[code]
        == counts_before(made, 4)[code]
        == counts_before(before, 4)[code]
    )


def test_a_weight_is_set_for_a_source_that_is_there_or_new_and_the_others_share_the_rest(
    shards: Any,
) -> None:
    before = plan(shards)
    made = append(before, 4, rest(before, 4, Change(weights={"tiny": 0.2})), shards.sources)
    assert weights(made)[1] == {"web": 0.6, "code": 0.2, "tiny": 0.2}
    assert made.names == (*before.names, "tiny")
    decay = planned_phases(before)[2].phase
    assert changed_weights(decay, Change(drop=("chat",), weights={"code": 0.5})) == {
        "web": 0.5,
        "code": 0.5,
    }


def test_a_change_in_the_middle_of_a_ramp_ramps_on_from_the_shares_reached(shards: Any) -> None:
    before = plan(shards)
    made = append(before, 12, rest(before, 12, Change(weights={"code": 0.9})), shards.sources)
    assert shape(made)[1:3] == [("later", 10, 12, 2), ("later", 12, 16, 2)]
    cut, on = (segment for segment in made.segments if segment.ramp_steps)
    reached = [
        start + (end - start) * cut.steps / cut.ramp_steps
        for start, end in zip(cut.start, cut.end, strict=True)
    ]
    assert all(abs(one - other) <= 1 for one, other in zip(on.start, reached, strict=False))


def test_lengthening_adds_tokens_to_a_phase_and_moves_those_behind_it(shards: Any) -> None:
    before = plan(shards)
    made = append(
        before,
        3,
        rest(before, 3, Change(lengthen={"stable": 5 * BATCH, "decay": 8})),
        shards.sources,
    )
    assert shape(made)[-2:] == [("later", 15, 21, 4), ("decay", 21, 26, 0)]
    over = append(
        before, 20, rest(before, 20, Change(lengthen={"decay": 2 * BATCH})), shards.sources
    )
    assert shape(over)[-1] == ("decay", 16, 22, 0)


def test_a_decay_that_begins_takes_the_place_of_all_that_was_to_come(shards: Any) -> None:
    before = plan(shards)
    made = append(
        before, 7, rest(before, 7, Change(weights={"chat": 0.2}, decay=5 * BATCH)), shards.sources
    )
    assert shape(made) == [("stable", 0, 7, 0), ("decay", 7, 12, 0)]
    assert (made.decay_step, weights(made)[1]) == (7, {"web": 0.6, "code": 0.2, "chat": 0.2})


@pytest.mark.parametrize(
    ("step", "change", "message", "found"),
    [
        (4, Change(drop=("chat",)), "not shown in phase stable", "chat"),
        (
            4,
            Change(drop=("web", "code")),
            "do not come to a whole",
            "1 for no other source of phase stable",
        ),
        (4, Change(weights={"web": 1.5}), "share of the tokens", "1.5"),
        (
            4,
            Change(weights={"chat": 1.0}),
            "do not come to a whole",
            "0 for web, code of phase stable",
        ),
        (12, Change(lengthen={"stable": 64}), "no phase stable from here on", "stable=64"),
        (4, Change(lengthen={"later": 0}), "lengthened by tokens", "later=0"),
        (18, Change(decay=64), "has begun already", "step 19"),
        (20, Change(drop=("chat",)), "nothing is left", "step 21, after the plan's end"),
        (20, Change(), "nothing comes after", None),
        (21, Change(), "no such step", "21"),
    ],
)
def test_a_change_that_does_not_fit_says_what_is_wrong_and_what_to_do(
    shards: Any, step: int, change: Change, message: str, found: str | None
) -> None:
    with pytest.raises(UserError, match=message) as error:
        rest(plan(shards), step, change)
    assert (None if error.value.found is None else str(error.value.found)) == found
    assert error.value.fix or error.value.allowed


# -- rules --------------------------------------------------------------------------------------


def test_a_cap_of_a_phase_counts_what_the_phase_showed_before_the_edit(shards: Any) -> None:
    epoch = shards.sources["code"].manifest.tokens // LENGTH * LENGTH
    phase = {
        "name": "stable",
        "tokens": 2 * epoch,
        "weights": {"web": 0.6, "code": 0.4},
        "max_epochs": {"code": 0.9},
    }
    spec = MixtureSpec.model_validate({"phases": [phase]})
    before = freeze(spec, shards.sources, sequence_length=LENGTH, batch_tokens=BATCH, seed=3)
    half = before.steps // 2
    with pytest.raises(UserError, match="more often than its cap allows") as error:
        append(before, half, rest(before, half, Change(weights={"code": 0.8})), shards.sources)
    assert error.value.field == "mixture.phases.stable.max_epochs.code"
    assert (
        append(
            before, half, rest(before, half, Change(weights={"code": 0.45})), shards.sources
        ).steps
        == before.steps
    )


def test_an_edit_keeps_to_the_plans_reserves_and_held_out_sources(shards: Any) -> None:
    made = plan(shards, reserve={"chat": "decay"}, hold_out=["tiny"])
    for name, message in (("chat", "reserved for the decay"), ("tiny", "held out")):
        with pytest.raises(UserError, match=message):
            append(made, 4, rest(made, 4, Change(weights={name: 0.1})), shards.sources)
    begun = append(made, 4, rest(made, 4, Change(weights={"chat": 0.1}, decay=64)), shards.sources)
    assert "chat" in planned_phases(begun)[-1].phase.weights


def test_the_rules_of_a_whole_plan_are_checked_again_from_the_file_alone(shards: Any) -> None:
    made = plan(shards, max_epochs={"web": 2})
    check_rules_held(made)
    for rules, message in (
        ({"max_epochs": {"web": 0.01}}, "more often than its cap"),
        ({"hold_out": ("code",)}, "held out"),
        ({"reserve": {"chat": "other"}}, "reserved for the phase or branch other"),
    ):
        broken = made.model_copy(update={"rules": made.rules.model_copy(update=rules)})
        with pytest.raises(UserError, match=message):
            check_rules_held(broken)
    check_rules_held(
        made.model_copy(
            update={"rules": made.rules.model_copy(update={"reserve": {"chat": "other"}})}
        ),
        branch="other",
    )


def test_the_nearest_cap_is_the_one_of_which_most_is_used_by_the_phases_end(shards: Any) -> None:
    made = plan(shards, max_epochs={"web": 2, "code": 1}, max_repetitions=3)
    caps = nearest_caps(made)
    assert caps["stable", "web"].field == "mixture.max_epochs.web"
    assert caps["decay", "chat"].field == "mixture.max_repetitions"
    rows = {(row.phase, row.source): row for row in table(made)}
    for (name, source), cap in caps.items():
        assert rows[name, source].cap == cap
        assert cap.used == cap.shown / cap.tokens
    assert caps["stable", "web"].shown < caps["later", "web"].shown < caps["decay", "web"].shown
    assert rows["decay", "chat"].padding > 0 == rows["decay", "web"].padding
    assert (
        Phase.model_validate(planned_phases(made)[0].phase.model_dump())
        == planned_phases(made)[0].phase
    )
