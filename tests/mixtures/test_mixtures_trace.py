"""Provenance: a step's documents, a document's steps, and how far each source has come."""

from __future__ import annotations

from typing import Any

import pytest

from artifacts.errors import UserError
from mixtures.freeze.freeze import Plan, freeze
from mixtures.inspect.accounting import documents_shown, realised
from mixtures.inspect.trace import Tracer, trace_document, trace_step
from mixtures.loader.loader import Loader
from mixtures.spec.spec import MixtureSpec, Phase
from tests.mixtures.every_window import sources_of


@pytest.fixture(scope="module")
def plan(shards: Any) -> Plan:
    phases = (
        Phase(name="stable", tokens=9000, weights={"web": 0.6, "code": 0.4}),
        Phase(
            name="decay",
            tokens=9000,
            decay=True,
            weights={"web": 0.2, "chat": 0.6, "tiny": 0.2},
            ramp_tokens=2000,
        ),
    )
    return freeze(
        MixtureSpec(phases=phases), shards.sources, sequence_length=32, batch_tokens=256, seed=7
    )


def test_a_steps_documents_are_its_tokens(shards: Any, plan: Plan) -> None:
    texts = {
        (name, row["id"].hex()): row["tokens"]
        for name in plan.names
        for row in shards.documents(name)
    }
    loader = Loader(plan, shards.folders)
    for step in (0, 20, plan.steps - 1):
        batch = loader.batch(step)
        shown: list[list[int]] = [[] for _ in range(plan.batch_windows)]
        for span in trace_step(plan, step, shards.folders):
            assert span.step == step
            assert span.place == len(shown[span.window])
            shown[span.window] += texts[span.source, span.id][span.start : span.stop]
        for row, tokens in enumerate(shown):
            # whole documents may leave padding
            assert batch.targets[row].tolist() == tokens + [2] * (32 - len(tokens))
            assert not batch.weights[row, len(tokens) :].any()


def test_the_ranks_of_a_step_are_its_documents_dealt_out(shards: Any, plan: Plan) -> None:
    tracer = Tracer(plan, shards.folders)
    whole = tracer.step(plan.steps - 3)
    assert [span for rank in range(3) for span in tracer.step(plan.steps - 3, rank, 3)] == whole


def test_part_and_row_lead_to_the_document(shards: Any, plan: Plan) -> None:
    for span in trace_step(plan, plan.steps - 1, shards.folders):
        source = shards.sources[span.source]
        number = [part.file for part in source.manifest.parts].index(span.part)
        assert source.table(number)["id"][span.row].as_py().hex() == span.id


def test_tracing_documents_gives_back_what_tracing_steps_gave(shards: Any, plan: Plan) -> None:
    every = [span for step in range(plan.steps) for span in trace_step(plan, step, shards.folders)]
    by_document: dict[str, list[Any]] = {}
    for span in every:
        by_document.setdefault(span.id, []).append(span)
    again = [span for span in every if span.source == "tiny"]
    # shown in more than one epoch
    assert len({(span.id, span.start) for span in again}) < len(again)
    for document in list(by_document)[::9] + sorted({span.id for span in again}):
        assert trace_document(plan, shards.folders, document) == by_document[document]


def test_a_document_the_plan_does_not_reach_has_no_steps(shards: Any) -> None:
    short = freeze(
        MixtureSpec(phases=(Phase(name="short", tokens=64, weights={"web": 1.0}),)),
        shards.sources,
        sequence_length=32,
        batch_tokens=64,
        seed=7,
    )
    shown = {span.id for span in trace_step(short, 0, shards.folders)}
    unseen = next(
        row["id"].hex() for row in shards.documents("web") if row["id"].hex() not in shown
    )
    assert trace_document(short, shards.folders, unseen) == []


def test_realised_counts_what_was_shown(shards: Any, plan: Plan) -> None:
    for step in (0, 17, plan.steps):
        sources = sources_of(plan, 0, 0, step * plan.batch_windows)
        for index, progress in enumerate(realised(plan, step)):
            assert progress.source == plan.names[index]
            assert progress.tokens == int((sources == index).sum()) * 32
            assert progress.epochs == progress.tokens / 32 / plan.contexts[0].sources[index].windows
    assert realised(plan, plan.steps)[plan.names.index("tiny")].epochs > 2


def test_documents_shown_are_those_that_tracing_names(shards: Any, plan: Plan) -> None:
    seen: dict[str, set[str]] = {name: set() for name in plan.names}
    tracer = Tracer(plan, shards.folders)
    for step in range(plan.steps):
        if step % 9 == 0:
            assert documents_shown(plan, step, shards.folders) == {
                name: len(ids) for name, ids in seen.items()
            }
        for span in tracer.step(step):
            seen[span.source].add(span.id)
    assert documents_shown(plan, plan.steps, shards.folders) == {
        name: len(ids) for name, ids in seen.items()
    }
    assert all(seen.values())


def test_an_exposure_counts_what_was_shown_until_a_step(shards: Any, plan: Plan) -> None:
    tracer = Tracer(plan, shards.folders)
    half = plan.steps // 2
    every = [span for step in range(half) for span in tracer.step(step)]
    ids = sorted({span.id for span in every})[::7]
    for found in tracer.exposures(ids, until_step=half):
        own = [span for span in every if span.id == found.id]
        assert found.steps == tuple(sorted({span.step for span in own}))
        assert found.tokens == sum(span.stop - span.start for span in own)
        assert (found.source, found.part, found.row) == (own[0].source, own[0].part, own[0].row)


@pytest.mark.parametrize("document", ["", "xyz", "00" * 15, "00" * 16])
def test_an_unknown_id_is_refused(shards: Any, plan: Plan, document: str) -> None:
    with pytest.raises(UserError) as raised:
        trace_document(plan, shards.folders, document)
    assert raised.value.field == "id"


def test_steps_and_folders_outside_the_plan_are_refused(shards: Any, plan: Plan) -> None:
    with pytest.raises(UserError, match="no such step"):
        trace_step(plan, plan.steps, shards.folders)
    with pytest.raises(UserError, match="no such step"):
        realised(plan, plan.steps + 1)
    with pytest.raises(UserError, match="no folder"):
        trace_step(plan, 0, {"web": shards.folders["web"]})
