"""The laws of a plan, over random plans: several window lengths, whole documents, ramps and
edits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mixtures.freeze.freeze import Plan, branch, freeze
from mixtures.inspect.accounting import documents_shown
from mixtures.inspect.trace import Tracer
from mixtures.loader.loader import Loader, open_streams
from mixtures.loader.windows import Windows
from mixtures.order.interleave import check_cursors, counts_before
from mixtures.spec.phase import PhaseSpec
from mixtures.spec.spec import MixtureSpec
from tests.mixtures.every_window import due_before, sources_of
from tests.mixtures.random_plans import (
    SEEDS,
    edited,
    edits,
    phases,
    pieces_of,
    plan_of,
    shortest_epochs,
    specs,
)


@given(specs(), SEEDS, st.none() | edits())
@settings(max_examples=120, deadline=None)
def test_after_every_step_each_token_was_shown_as_often_as_every_other_or_once_more(
    shards: Any, spec: MixtureSpec, seed: int, edit: Any
) -> None:
    plan = plan_of(shards, spec, seed)
    if edit is not None:
        plan = edited(shards, plan, edit)[1]
    check_cursors(plan)
    windows, always = Windows(plan, open_streams(plan, shards.folders)), shortest_epochs(plan)
    shown = [np.zeros(source.tokens, np.int64) for source in plan.sources]
    for step in range(plan.steps):
        length = plan.context_at(step)[1].sequence_length
        for _, place, source, start, tokens in windows.of_step(step)[1].tolist():
            assert place + tokens <= length
            shown[source][start : start + tokens] += 1
        for times, tokens in zip(shown, always, strict=True):
            assert times.max() - times[:tokens].min(initial=times.max()) <= 1


@given(specs(), SEEDS)
@settings(max_examples=60, deadline=None)
def test_at_every_window_each_source_is_within_one_window_of_its_share(
    shards: Any, spec: MixtureSpec, seed: int
) -> None:
    plan = plan_of(shards, spec, seed)
    for number, context in enumerate(plan.contexts):
        end = (
            plan.contexts[number + 1].first_step if number + 1 < len(plan.contexts) else plan.steps
        )
        sequence = sources_of(plan, number, 0, (end - context.first_step) * context.batch_windows)
        had = np.zeros(len(plan.sources), np.int64)
        for window, source in enumerate(sequence):
            step, inside = divmod(window, context.batch_windows)
            due = due_before(plan, context.first_step + step, inside)
            assert np.abs(had - due).max() < 1
            had[source] += 1


@given(st.integers(1, 64), st.integers(1, 64), st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_any_number_of_ranks_and_any_micro_batch_give_the_same_windows_in_the_same_order(
    shards: Any, world_size: int, rows: int, step: int
) -> None:
    spec = MixtureSpec(
        phases=(
            PhaseSpec(name="one", tokens=30_000, weights={"web": 0.5, "chat": 0.3, "code": 0.2}),
        )
    )
    plan = freeze(spec, shards.sources, sequence_length=8, batch_tokens=512, seed=5)
    step = step % plan.steps
    whole = Loader(plan, shards.folders).batch(step)
    dealt = []
    for rank in range(world_size):
        batch = Loader(plan, shards.folders, rank, world_size).batch(step)
        dealt += [
            batch.rows(first, min(first + rows, len(batch.tokens)))
            for first in range(0, len(batch.tokens), rows)
        ]
    for name in ("tokens", "targets", "weights", "positions", "documents", "source"):
        assert np.array_equal(
            np.concatenate([getattr(part, name) for part in dealt]), getattr(whole, name)
        )


@given(specs(), SEEDS, st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_a_run_that_is_resumed_reads_what_one_that_was_not_does(
    shards: Any, spec: MixtureSpec, seed: int, where: float
) -> None:
    plan = plan_of(shards, spec, seed)
    first = round(where * (plan.steps - 1))
    running = Loader(plan, shards.folders)
    for batch in running.batches(0, first):
        assert batch.tokens.size
    resumed = Loader(Plan.model_validate_json(plan.to_json()), shards.folders)
    for step in range(first, min(plan.steps, first + 5)):
        one, other = running.batch(step), resumed.batch(step)
        assert np.array_equal(one.tokens, other.tokens)
        assert np.array_equal(one.targets, other.targets)
        assert np.array_equal(one.pieces, other.pieces)


@given(specs(), SEEDS, edits(), st.none() | edits())
@settings(max_examples=60, deadline=None)
def test_editing_the_future_never_changes_the_past(
    shards: Any, spec: MixtureSpec, seed: int, first: Any, second: Any
) -> None:
    plan = plan_of(shards, spec, seed)
    before = Windows(plan, open_streams(plan, shards.folders))
    step, changed = edited(shards, plan, first)
    after = Windows(changed, open_streams(changed, shards.folders))
    assert all(pieces_of(before, each) == pieces_of(after, each) for each in range(step))
    assert changed.agrees_with(plan.hash, step)
    assert not changed.agrees_with(plan.hash, step + 1)
    if second is not None:
        other, again = edited(shards, changed, second)
        last = Windows(again, open_streams(again, shards.folders))
        assert all(pieces_of(after, each) == pieces_of(last, each) for each in range(other))
        assert again.agrees_with(plan.hash, min(step, other))


@given(
    phases(ramps=False, sources=("code", "tiny", "web")),
    phases(most=2, prefix="decay"),
    phases(most=2, ramps=False, prefix="edit"),
    st.floats(0, 1),
    SEEDS,
)
@settings(max_examples=40, deadline=None)
def test_what_is_reserved_for_the_decay_never_appears_before_it(
    shards: Any,
    stable: list[PhaseSpec],
    decay: list[PhaseSpec],
    other: list[PhaseSpec],
    where: float,
    seed: int,
) -> None:
    decay = [
        phase.model_copy(update={"decay": place == 0, "ramp_tokens": 0})
        for place, phase in enumerate(decay)
    ]
    spec = MixtureSpec(phases=(*stable, *decay), reserve={"chat": "decay"})
    plan = plan_of(shards, spec, seed)
    start = plan.decay_step
    assert start is not None
    step = round(where * start)
    plans = [
        plan,
        branch(
            plan,
            step,
            [phase.model_copy(update={"decay": place == 0}) for place, phase in enumerate(other)],
            shards.sources,
        ),
    ]
    reserved = {row["id"].hex() for row in shards.documents("chat")}
    for each in plans:
        tracer = Tracer(each, shards.folders)
        assert each.decay_step is not None
        for early in range(0, each.decay_step, max(1, each.decay_step // 20)):
            assert not {span.id for span in tracer.step(early)} & reserved
        if "chat" in each.names:
            assert counts_before(each, each.decay_step)[each.names.index("chat")] == 0


@given(specs(), SEEDS, st.none() | edits(), st.data())
@settings(max_examples=30, deadline=None)
def test_tracing_a_document_names_the_steps_whose_tokens_it_is(
    shards: Any, spec: MixtureSpec, seed: int, edit: Any, data: st.DataObject
) -> None:
    plan = plan_of(shards, spec, seed)
    if edit is not None:
        plan = edited(shards, plan, edit)[1]
    tracer = Tracer(plan, shards.folders)
    by_document: dict[str, list[Any]] = {}
    for step in range(plan.steps):
        for span in tracer.step(step):
            by_document.setdefault(span.id, []).append(span)
    every = [row["id"].hex() for name in plan.names for row in shards.documents(name)]
    for document in data.draw(st.lists(st.sampled_from(every), min_size=1, max_size=8)):
        assert tracer.document(document) == by_document.get(document, [])
    step = data.draw(st.integers(0, plan.steps))
    seen: dict[str, set[str]] = {name: set() for name in plan.names}
    for spans in by_document.values():
        for span in spans:
            if span.step < step:
                seen[span.source].add(span.id)
    assert documents_shown(plan, step, shards.folders) == {
        name: len(ids) for name, ids in seen.items()
    }
