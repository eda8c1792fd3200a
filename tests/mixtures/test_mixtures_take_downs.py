"""Take-downs in a plan: they move nothing, agree up to the first step that shows a document, and are
carried along by edits and branches.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from mixtures.freeze.freeze import Plan, branch, freeze
from mixtures.freeze.take_downs import recorded, unrecorded
from mixtures.inspect.trace import Tracer, trace_document
from mixtures.loader.loader import Loader
from mixtures.order.sound_plan import load_plan
from mixtures.spec.spec import MixtureSpec, Phase
from tests.mixtures.conftest import Shards

STABLE = Phase(name="stable", tokens=4000, weights={"web": 0.6, "code": 0.4})
DECAY = Phase(name="decay", tokens=2000, decay=True, weights={"web": 0.5, "chat": 0.5})


def plan_over(shards: Shards) -> Plan:
    spec = MixtureSpec(phases=(STABLE, DECAY))
    return freeze(spec, shards.sources, sequence_length=32, batch_tokens=256, seed=7)


@pytest.fixture
def own(shards: Any, tmp_path: Path) -> Shards:
    """Shards of which documents may be taken down."""
    folders = {name: tmp_path / name for name in shards.folders}
    for name, folder in shards.folders.items():
        shutil.copytree(folder, folders[name])
    return Shards(folders)


@given(
    st.lists(
        st.tuples(st.sampled_from(["web", "code", "chat"]), st.integers(0, 10_000)),
        min_size=1,
        max_size=3,
    )
)
def test_what_is_taken_down_changes_no_step_before_the_first_that_shows_it(
    shards: Any, tmp_path_factory: pytest.TempPathFactory, chosen: list[tuple[str, int]]
) -> None:
    place = tmp_path_factory.mktemp("own")
    own = Shards({name: place / name for name in shards.folders})
    for name, folder in shards.folders.items():
        shutil.copytree(folder, own.folders[name])
    before = plan_over(own)
    first, tracer = before.steps, Tracer(before, own.folders)
    for name, number in chosen:
        rows = own.documents(name)
        document = rows[number % len(rows)]["id"].hex()  # type: ignore[attr-defined]
        first = min([first, *(span.step for span in tracer.document(document))])
        own.remove(name, document)
    assert plan_over(own).hash == before.hash

    new = unrecorded(before, own.sources)
    assert {(one.source, one.id) for one in new} == {
        (name, own.documents(name)[number % len(own.documents(name))]["id"].hex())  # type: ignore[attr-defined]
        for name, number in chosen
    }
    after = recorded(before, new, first)
    assert after.agrees_with(before.hash, first)
    assert not after.agrees_with(before.hash, first + 1) or first == before.steps
    assert unrecorded(after, own.sources) == ()
    shown, masked = Loader(before, shards.folders), Loader(after, own.folders)
    for step in range(max(0, first - 2), min(first + 2, before.steps)):
        one, other = shown.batch(step), masked.batch(step)
        assert (one.pieces == other.pieces).all()
        same = np.array_equal(one.targets, other.targets) and np.array_equal(
            one.tokens, other.tokens
        )
        assert same or step >= first
        assert step != first or not same
    shutil.rmtree(place)


def test_a_plan_without_take_downs_is_written_as_ever(own: Shards, tmp_path: Path) -> None:
    plan = plan_over(own)
    assert "take_downs" not in json.loads(plan.to_json())
    own.remove("web", trace_first(plan, own))
    other = recorded(plan, unrecorded(plan, own.sources), 0)
    (tmp_path / "plan.json").write_bytes(other.to_json())
    assert load_plan(tmp_path / "plan.json") == other
    assert load_plan(tmp_path / "plan.json").hash == other.hash != plan.hash


def trace_first(plan: Plan, shards: Shards) -> str:
    spans = Tracer(plan, shards.folders).step(3)
    return next(span.id for span in spans if span.source == "web")


def test_a_trace_says_what_was_shown_before_and_what_is_masked_after(own: Shards) -> None:
    plan = plan_over(own)
    document = trace_first(plan, own)
    spans = trace_document(plan, own.folders, document)
    assert not any(span.masked for span in spans)
    own.remove("web", document)
    assert all(span.masked for span in trace_document(plan, own.folders, document))
    tracer = Tracer(plan, own.folders, shown_before=plan.steps)
    assert tracer.document(document) == spans
    last = spans[-1].step
    (one,) = unrecorded(plan, own.sources)
    kept = recorded(plan, [one.model_copy(update={"from_step": last, "kept": True})], last)
    (exposure,) = Tracer(kept, own.folders).exposures([document])
    assert set(exposure.steps) == {span.step for span in spans if span.step < last}
    assert set(exposure.masked_steps) == {last}
    assert exposure.tokens + exposure.masked_tokens == sum(span.stop - span.start for span in spans)


def test_a_branch_and_an_edit_carry_the_take_downs_of_their_plan(own: Shards) -> None:
    plan = plan_over(own)
    own.remove("web", trace_first(plan, own))
    (one,) = unrecorded(plan, own.sources)
    kept = recorded(plan, [one.model_copy(update={"from_step": 9, "kept": True})], 9)
    for step, masked_from in ((12, 9), (6, 6)):
        other = branch(kept, step, [DECAY], own.sources)
        assert [(each.id, each.from_step, each.kept) for each in other.take_downs] == [
            (one.id, masked_from, True)
        ]
        assert other.agrees_with(kept.hash, step)
        assert other.agrees_with(plan.hash, min(step, 9))
        assert not other.agrees_with(plan.hash, min(step, 9) + 1)


@pytest.mark.parametrize(
    ("facts", "field"), [({"row": 10_000}, "row"), ({"from_step": 99}, "from_step")]
)
def test_a_take_down_that_cannot_be_of_the_plan_is_damage(
    own: Shards, tmp_path: Path, facts: dict[str, int], field: str
) -> None:
    plan = plan_over(own)
    own.remove("web", trace_first(plan, own))
    (one,) = unrecorded(plan, own.sources)
    (tmp_path / "plan.json").write_bytes(
        recorded(plan, [one.model_copy(update=facts)], 0).to_json()
    )
    with pytest.raises(UserError, match="the plan is damaged") as raised:
        load_plan(tmp_path / "plan.json")
    assert raised.value.field == f"take_downs.0.{field}"
