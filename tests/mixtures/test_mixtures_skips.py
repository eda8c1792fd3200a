"""Steps that make no update: their windows pass by without a target, all else is shown as it would
have been.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from mixtures.freeze.edit import Change, changed
from mixtures.freeze.freeze import branch, common_steps
from mixtures.freeze.skips import skipped
from mixtures.inspect.accounting import documents_shown, realised
from mixtures.inspect.trace import Tracer
from mixtures.loader.loader import Loader
from mixtures.plan.format import Plan, Skip
from mixtures.spec.phase import Phase
from tests.mixtures.random_plans import plan_of, specs
from tests.mixtures.test_mixtures_edit import BATCH, plan

STEPS = 20
OTHER = Phase(name="other", tokens=4 * BATCH, weights={"web": 1.0})


def spans(made: Plan) -> list[tuple[int, int]]:
    return [(one.first_step, one.last_step) for one in made.skipped]


@given(spec=specs(), data=st.data())
def test_a_skipped_step_has_no_target_and_the_others_are_as_before(
    shards: Any, spec: Any, data: st.DataObject
) -> None:
    before = plan_of(shards, spec)
    step = data.draw(st.integers(0, before.steps - 1))
    steps = data.draw(st.integers(1, before.steps - step))
    made = skipped(before, step, steps)
    assert Plan.model_validate_json(made.to_json()) == made
    assert (made.steps, common_steps(before, made)) == (before.steps, step)
    assert made.agrees_with(before.hash, step)
    assert not made.agrees_with(before.hash, step + 1)
    assert realised(made, made.steps) == realised(before, before.steps)
    loaders = [Loader(one, shards.folders) for one in (before, made)]
    for place in sorted({0, step - 1, step, step + steps - 1, step + steps}):
        if 0 <= place < made.steps:
            old, new = (loader.batch(place) for loader in loaders)
            inside = step <= place < step + steps
            assert made.skips(place) == inside
            assert np.array_equal(new.weights, old.weights * (not inside))
            for name in ("tokens", "targets", "positions", "documents", "pieces"):
                assert np.array_equal(getattr(new, name), getattr(old, name))


@given(st.lists(st.tuples(st.integers(0, STEPS - 1), st.integers(1, 6)), min_size=1, max_size=5))
def test_stretches_that_touch_are_one_and_all_their_steps_are_skipped(
    shards: Any, asked: list[tuple[int, int]]
) -> None:
    made = plan(shards)
    asked = [(step, min(steps, STEPS - step)) for step, steps in asked]
    for step, steps in asked:
        made = skipped(made, step, steps)
    expected = {place for step, steps in asked for place in range(step, step + steps)}
    assert {step for step in range(STEPS) if made.skips(step)} == expected
    borders = [border for one in spans(made) for border in one]
    assert borders == sorted(set(borders))
    assert len(made.history) == len(asked)


def test_a_plan_that_skips_nothing_says_nothing_of_it(shards: Any) -> None:
    assert b"skipped" not in plan(shards).to_json()
    assert b"skipped" in skipped(plan(shards), 3, 1).to_json()


def test_what_comes_after_a_branch_is_said_anew_and_an_edit_keeps_what_is_skipped(
    shards: Any,
) -> None:
    made = skipped(plan(shards), 4, 8)
    left = branch(made, 6, [OTHER], shards.sources)
    assert spans(left) == [(4, 6)]
    edit = Change(drop=("code",), skip=1)
    later = changed(made, 6, edit, shards.sources)
    assert spans(later) == [(4, 12)]
    assert later.agrees_with(made.hash, 6)
    assert [ancestor.steps for ancestor in later.history] == [4, 6]
    assert spans(changed(plan(shards), 6, edit, shards.sources)) == [(6, 7)]
    ended = changed(made, 6, Change(decay=2 * BATCH), shards.sources)
    assert (ended.steps, spans(ended)) == (8, [(4, 8)])


def test_no_step_that_is_skipped_has_shown_a_document(shards: Any) -> None:
    before = plan(shards)
    made = skipped(before, 2, 3)
    document = Tracer(before, shards.folders).step(3)[0].id
    steps = [
        {span.step for span in Tracer(one, shards.folders).document(document)}
        for one in (before, made)
    ]
    assert 3 in steps[0]
    assert steps[1] == steps[0] - {2, 3, 4}
    (exposure,) = Tracer(made, shards.folders).exposures([document])
    assert set(exposure.steps) == steps[1]


def test_a_trace_of_a_skipped_step_says_so(shards: Any) -> None:
    before = plan(shards)
    spans = Tracer(skipped(before, 2, 3), shards.folders).step(3)
    assert [span.skipped for span in spans] == [True] * len(spans)
    assert not any(span.skipped for span in Tracer(before, shards.folders).step(3))


@given(spec=specs(), data=st.data())
def test_documents_that_pass_by_in_skipped_steps_are_not_counted_as_shown(
    shards: Any, spec: Any, data: st.DataObject
) -> None:
    made = plan_of(shards, spec)
    for _ in range(data.draw(st.integers(0, 3))):
        step = data.draw(st.integers(0, made.steps - 1))
        made = skipped(made, step, data.draw(st.integers(1, made.steps - step)))
    end = data.draw(st.integers(0, made.steps))
    seen: dict[str, set[str]] = {name: set() for name in made.names}
    tracer = Tracer(made, shards.folders)
    for step in range(end):
        for span in tracer.step(step):
            if not span.skipped:
                seen[span.source].add(span.id)
    assert documents_shown(made, end, shards.folders) == {
        name: len(ids) for name, ids in seen.items()
    }


@pytest.mark.parametrize(("step", "steps"), [(0, 0), (0, STEPS + 1), (19, 2), (STEPS, 1)])
def test_only_steps_of_the_plan_are_skipped(shards: Any, step: int, steps: int) -> None:
    with pytest.raises(UserError, match="can be skipped") as error:
        skipped(plan(shards), step, steps)
    assert error.value.field == "change.skip"
    assert error.value.fix


@pytest.mark.parametrize(
    "stretches", [[(3, 2), (4, 1)], [(3, 2), (5, 1)], [(6, 1), (2, 1)], [(19, 2)]]
)
def test_a_plan_with_stretches_that_are_out_of_order_is_damaged(
    shards: Any, stretches: list[tuple[int, int]]
) -> None:
    facts = plan(shards).model_dump()
    facts["skipped"] = [Skip(first_step=first, steps=steps) for first, steps in stretches]
    with pytest.raises(ValueError, match="not apart and in order"):
        Plan.model_validate(facts)
