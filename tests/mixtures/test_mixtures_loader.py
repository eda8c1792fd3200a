"""Batches: equal to a naive gather over the documents, for any rank, from any step."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from mixtures.freeze.freeze import Plan, append_segment, freeze
from mixtures.freeze.pinning import cut, pin
from mixtures.inspect.check_plan import check_plan
from mixtures.loader.loader import Batch, Loader
from mixtures.plan.format import Packing
from mixtures.spec.spec import MixtureSpec, Phase
from tokenizer.shards.manifest import MANIFEST_NAME, read_manifest
from tokenizer.shards.reader import open_source
from tokenizer.shards.take_down import Place, take_down

EOS, BOS = 2, 1
STABLE = Phase(name="stable", tokens=6000, weights={"web": 0.6, "code": 0.4})
DECAY = Phase(
    name="decay",
    tokens=6000,
    decay=True,
    weights={"web": 0.3, "chat": 0.6, "tiny": 0.1},
    ramp_tokens=1000,
)


def plan_of(
    shards: Any, *phases: Phase, length: int = 32, batch: int = 256, bos: bool = True, **rest: Any
) -> Plan:
    spec = MixtureSpec(phases=phases or (STABLE, DECAY), **rest)
    return freeze(spec, shards.sources, sequence_length=length, batch_tokens=batch, seed=7, bos=bos)


def alone(
    folder: Path,
    length: int,
    bos: bool = True,
    windows: int | None = None,
    packing: Packing = "stream",
) -> tuple[Plan, Loader]:
    """A plan that shows one source once, a window per step."""
    source = open_source(folder)
    epoch = cut(pin("own", source, packing, 1), source, length, None, length).windows
    spec = MixtureSpec(
        phases=(Phase(name="all", tokens=(windows or epoch) * length, weights={"own": 1.0}),),
        packing={"own": packing},
    )
    plan = freeze(
        spec, {"own": source}, sequence_length=length, batch_tokens=length, seed=1, bos=bos
    )
    return plan, Loader(plan, {"own": folder})


def same(one: Batch, other: Batch) -> bool:
    return all(
        getattr(one, field.name).dtype == getattr(other, field.name).dtype
        and np.array_equal(getattr(one, field.name), getattr(other, field.name))
        for field in fields(Batch)
    )


def joined(parts: list[Batch]) -> dict[str, np.ndarray]:
    """Batches one behind the other; lengths as gaps."""
    out = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Batch)
        if field.name != "lengths"
    }
    out["lengths"] = np.concatenate([np.diff(part.lengths) for part in parts])
    firsts = np.cumsum([0, *(len(part.tokens) for part in parts)])
    out["pieces"] = np.concatenate(
        [
            part.pieces + np.array([first, 0, 0, 0, 0])
            for part, first in zip(parts, firsts, strict=False)
        ]
    )
    return out


class Naive:
    """A source as Python lists: token by token its document, its number in the document, and
    whether it is a target.
    """

    def __init__(
        self, documents: list[dict[str, Any]], removed: frozenset[str] = frozenset()
    ) -> None:
        self.stream: list[tuple[int, int, int, bool]] = []
        for number, row in enumerate(documents):
            gone = row["id"].hex() in removed
            for place, token in enumerate(row["tokens"]):
                spans = row["trainable"]
                target = not gone and (
                    spans is None or any(span["start"] <= place < span["end"] for span in spans)
                )
                self.stream.append((EOS if gone else token, number, place, target))

    def row(self, pieces: list[tuple[int, int]], length: int, bos: bool) -> dict[str, list[Any]]:
        """A row of (start, tokens) pieces and padding, read token by token."""
        out: dict[str, list[Any]] = {
            name: [] for name in ("tokens", "targets", "weights", "positions", "documents")
        }
        document, position = -1, 0

        def put(token: int, target: int, weight: bool, new: bool) -> None:
            nonlocal document, position
            document, position = (document + 1, 0) if new else (document, position + 1)
            for name, value in zip(
                out, (token, target, float(weight), position, document), strict=True
            ):
                out[name].append(value)

        for start, tokens in pieces:
            follows = False  # the place before was another document's EOS
            for place in range(start, start + tokens):
                target, _, number, wanted = self.stream[place]
                first = number == 0
                before = self.stream[place - 1][0] if place else EOS
                if bos:
                    put(BOS if first else before, target, wanted, place == start or first)
                else:
                    put(
                        EOS if first else before,
                        target,
                        wanted and not first,
                        place == start or follows,
                    )
                follows = first
        while len(out["tokens"]) < length:
            put(EOS, EOS, False, len(out["tokens"]) == sum(tokens for _, tokens in pieces))
        return out


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("length", [1, 32, 60])
def test_every_batch_is_a_naive_gather(shards: Any, length: int, bos: bool) -> None:
    plan = (
        plan_of(shards, length=length, batch=length * 8, bos=bos)
        if length > 1
        else plan_of(shards, length=1, batch=40, bos=bos)
    )
    loader = Loader(plan, shards.folders)
    naive = {name: Naive(shards.documents(name)) for name in plan.names}
    assert {source.packing for source in plan.sources} == {"stream", "documents"}
    for step in range(0, plan.steps, 3):
        batch = loader.batch(step)
        borders = []
        for row, source in enumerate(batch.source.tolist()):
            pieces = [
                (start, tokens) for at, _, _, start, tokens in batch.pieces.tolist() if at == row
            ]
            wanted = naive[plan.names[source]].row(pieces, length, bos)
            for name, values in wanted.items():
                assert getattr(batch, name)[row].tolist() == values, (step, row, name)
            borders += [
                row * length + place for place in range(length) if wanted["positions"][place] == 0
            ]
        assert batch.lengths.tolist() == [*borders, len(batch.tokens) * length]
    assert batch.tokens.dtype == batch.targets.dtype == batch.positions.dtype == np.int32
    assert (batch.weights.dtype, batch.documents.dtype, batch.source.dtype) == (
        np.float32,
        np.int32,
        np.int32,
    )


def test_bos_is_the_input_of_a_documents_first_token(shard_writer: Any) -> None:
    folder = shard_writer("own", [[10, 11], [20, 21, 22], [30]])
    _, loader = alone(folder, 9, windows=1)
    tokens = [token for row in open_source(folder).table(0).to_pylist() for token in row["tokens"]]
    batch = loader.batch(0)
    assert batch.targets[0].tolist() == tokens
    assert batch.tokens[0].tolist() == [
        BOS,
        *(BOS if token == EOS else token for token in tokens[:-1]),
    ]
    assert batch.weights[0].tolist() == [1] * 9
    begins = [0, *(place + 1 for place, token in enumerate(tokens[:-1]) if token == EOS)]
    assert batch.lengths.tolist() == [*begins, 9]
    assert [batch.positions[0, place] for place in begins] == [0, 0, 0]


def test_without_bos_no_document_predicts_the_next(shard_writer: Any) -> None:
    folder = shard_writer("own", [[10, 11], [20, 21, 22], [30]])
    _, loader = alone(folder, 9, bos=False, windows=1)
    batch = loader.batch(0)
    assert ((batch.tokens == EOS) == (batch.weights == 0)).all()
    assert (batch.tokens != BOS).all()


def test_an_epoch_predicts_every_token_once(shard_writer: Any) -> None:
    documents = [list(range(10 * number + 3, 10 * number + 3 + number % 9)) for number in range(40)]
    folder = shard_writer("own", documents, part_tokens=50)
    plan, loader = alone(folder, 7)
    places = [
        loader.batch(step).pieces[0, 3] + np.flatnonzero(loader.batch(step).weights[0])
        for step in range(plan.steps)
    ]
    assert len(open_source(folder).manifest.parts) > 2
    assert sorted(np.concatenate(places)) == list(range(plan.steps * 7))


@pytest.mark.parametrize("window", [3, 8, 40])
def test_an_epoch_of_whole_documents_predicts_every_token_once_and_cuts_only_long_ones(
    shard_writer: Any, window: int
) -> None:
    documents = [[50 + number] * (number % 17) for number in range(60)]
    folder = shard_writer("own", documents, part_tokens=200)
    plan, loader = alone(folder, window, packing="documents")
    seen = np.zeros(plan.sources[0].tokens, np.int64)
    borders = np.cumsum(
        [0, *(len(row["tokens"]) for part in range(5) for row in rows_of(folder, part))]
    )
    for step in range(plan.steps):
        batch = loader.batch(step)
        for _, place, _, start, tokens in batch.pieces.tolist():
            seen[start : start + tokens] += 1
            whole = start in borders and start + tokens in borders
            assert (
                whole
                or borders[np.searchsorted(borders, start, "right") - 1] + window
                < borders[np.searchsorted(borders, start, "right")]
            )
            if start in borders:
                assert batch.tokens[0, place] == BOS
    assert (seen == 1).all()


def rows_of(folder: Path, part: int) -> list[dict[str, Any]]:
    source = open_source(folder)
    return source.table(part).to_pylist() if part < len(source.manifest.parts) else []


@given(st.integers(1, 8), st.integers(0, 40))
@settings(max_examples=30)
def test_any_number_of_ranks_reads_the_same_global_batch(
    shards: Any, world_size: int, step: int
) -> None:
    plan = plan_of(shards)
    whole = joined([Loader(plan, shards.folders).batch(step)])
    parts = joined(
        [Loader(plan, shards.folders, rank, world_size).batch(step) for rank in range(world_size)]
    )
    assert whole.keys() == parts.keys()
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)


@given(st.integers(0, 40), st.integers(1, 8))
@settings(max_examples=20)
def test_micro_batches_are_the_batch_cut(shards: Any, step: int, rows: int) -> None:
    batch = Loader(plan_of(shards), shards.folders).batch(step)
    parts = joined([batch.rows(first, min(first + rows, 8)) for first in range(0, 8, rows)])
    whole = joined([batch])
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)


def test_reading_ahead_gives_the_same_batches(shards: Any) -> None:
    plan = plan_of(shards)
    loader = Loader(plan, shards.folders, 1, 3)
    step = 5
    for step, batch in enumerate(Loader(plan, shards.folders, 1, 3).batches(5, plan.steps), 5):
        assert same(batch, loader.batch(step))
    assert step == plan.steps - 1


def test_a_batch_depends_on_nothing_read_before(shards: Any) -> None:
    plan = plan_of(shards)
    running = Loader(plan, shards.folders)
    batches = [running.batch(step) for step in range(plan.steps)]
    for step in (40, 0, 23, 24, 25, plan.steps - 1):
        assert same(Loader(plan, shards.folders).batch(step), batches[step])
    again = Loader(Plan.model_validate_json(plan.to_json()), shards.folders)
    assert same(again.batch(30), batches[30])


def test_an_edited_plan_reads_the_same_batches_up_to_the_edit(shards: Any) -> None:
    plan = plan_of(shards, STABLE)
    edited = append_segment(plan, DECAY, 15, shards.sources)
    one, other = Loader(plan, shards.folders), Loader(edited, shards.folders)
    names = [[plan.names[index] for index in batch.source] for batch in map(one.batch, range(15))]
    for step in range(15):
        assert np.array_equal(one.batch(step).tokens, other.batch(step).tokens)
        assert names[step] == [edited.names[index] for index in other.batch(step).source]


def test_shares_hold_against_the_recipes_own_weights(shards: Any) -> None:
    phase = Phase(name="one", tokens=32 * 600, weights={"web": 0.62, "code": 0.27, "chat": 0.11})
    plan = plan_of(shards, phase, batch=32, packing={"chat": "stream"})
    source = np.concatenate(
        [Loader(plan, shards.folders).batch(step).source for step in range(plan.steps)]
    )
    for name, weight in (("web", 0.62), ("code", 0.27), ("chat", 0.11)):
        had = np.cumsum(source == plan.names.index(name))
        assert np.abs(had - weight * np.arange(1, 601)).max() < 1


def test_whole_documents_get_more_windows_for_their_padding(shards: Any) -> None:
    weights = {"web": 0.3, "chat": 0.7}
    chat = (
        plan_of(shards, Phase(name="one", tokens=32, weights={"chat": 1.0}), batch=32)
        .contexts[0]
        .sources[0]
    )
    plan = plan_of(
        shards, Phase(name="one", tokens=32 * round(chat.windows / 0.7), weights=weights), batch=32
    )
    shown = dict.fromkeys(plan.names, 0)
    for step in range(plan.steps):
        for _, _, source, _, tokens in Loader(plan, shards.folders).batch(step).pieces.tolist():
            shown[plan.names[source]] += tokens
    padded = chat.windows * 32 - shards.sources["chat"].manifest.tokens
    assert padded > 100
    assert shown["chat"] / sum(shown.values()) == pytest.approx(0.7, abs=0.01)


def test_a_document_taken_down_is_never_shown_and_keeps_its_length(
    shards: Any, shard_writer: Any
) -> None:
    documents = [[100 + number] * (5 + number) for number in range(12)]
    folder = shard_writer("own", documents, part_tokens=60)
    plan, loader = alone(folder, 10)
    before = [loader.batch(step) for step in range(plan.steps)]
    own = type(shards)({"own": folder})
    gone = own.documents("own")[3]
    own.remove("own", gone["id"].hex())
    naive = Naive(own.documents("own"), frozenset({gone["id"].hex()}))
    after = Loader(plan, {"own": folder})
    changed = 0
    for step in range(plan.steps):
        batch = after.batch(step)
        assert not np.isin(gone["tokens"][0], [batch.tokens, batch.targets]).any()
        wanted = naive.row([(int(batch.pieces[0, 3]), 10)], 10, True)
        assert all(getattr(batch, name)[0].tolist() == values for name, values in wanted.items())
        assert np.array_equal(batch.positions, before[step].positions)
        changed += not np.array_equal(batch.tokens, before[step].tokens)
    assert changed


def test_without_bos_a_document_taken_down_is_no_target_either(
    shards: Any, shard_writer: Any
) -> None:
    folder = shard_writer("own", [[100 + number] * 6 for number in range(9)])
    own = type(shards)({"own": folder})
    gone = own.documents("own")[3]
    own.remove("own", gone["id"].hex())
    plan, loader = alone(folder, 7, bos=False)
    shown = [
        array
        for step in range(plan.steps)
        for array in (loader.batch(step).tokens, loader.batch(step).targets)
    ]
    assert not np.isin(gone["tokens"][0], shown)


def test_pieces_say_where_what_was_left_stands_in_a_row(shards: Any, shard_writer: Any) -> None:
    folder = shard_writer("own", [[100 + number] * 5 for number in range(24)])
    phases = [
        Phase(
            name=str(length),
            tokens=160,
            weights={"own": 1.0},
            sequence_length=length,
            batch_tokens=length,
        )
        for length in (8, 32)
    ]
    spec = MixtureSpec(phases=tuple(phases), packing={"own": "documents"})
    plan = freeze(spec, {"own": open_source(folder)}, sequence_length=8, batch_tokens=8, seed=1)
    assert plan.contexts[1].sources[0].left
    stream = [
        token for row in type(shards)({"own": folder}).documents("own") for token in row["tokens"]
    ]
    for batch in (Loader(plan, {"own": folder}).batch(step) for step in range(plan.steps)):
        targets = np.full(batch.targets.shape, EOS)
        for row, place, _, first, tokens in batch.pieces.tolist():
            targets[row, place : place + tokens] = stream[first : first + tokens]
        assert np.array_equal(batch.targets, targets)


# -- refusals -----------------------------------------------------------------------------------


def test_other_shards_than_the_plan_pins_are_refused(shard_writer: Any) -> None:
    plan, _ = alone(shard_writer("own", [[5, 6, 7]] * 20), 8)
    other = shard_writer("other", [[5, 6, 8]] * 20)
    with pytest.raises(UserError, match="not what the plan was frozen with"):
        Loader(plan, {"own": other})
    fewer = shard_writer("fewer", [])
    with pytest.raises(UserError, match="fewer parts"):
        Loader(plan, {"own": fewer})
    with pytest.raises(UserError, match="another tokenizer"):
        Loader(plan, {"own": shard_writer("foreign", [[5, 6, 7]] * 20, tokenizer="b")})


def test_a_part_shorter_than_the_manifest_says_is_refused(shard_writer: Any) -> None:
    folder, shorter = shard_writer("own", [[5, 6, 7]] * 20), shard_writer("shorter", [[5, 6]] * 20)
    plan, _ = alone(folder, 8)
    (folder / "part-00000.arrow").write_bytes((shorter / "part-00000.arrow").read_bytes())
    with pytest.raises(UserError, match="not as long as the manifest says"):
        Loader(plan, {"own": folder}).batch(0)


@pytest.mark.parametrize("bos", [True, False])
def test_a_damaged_token_that_is_not_in_the_vocabulary_is_refused(
    shard_writer: Any, bos: bool
) -> None:
    folder = shard_writer("own", [[5, 6, 777]] * 20)
    plan, loader = alone(folder, 8, bos=bos)
    part = folder / plan.sources[0].parts[0].file
    intact = part.read_bytes()
    place = intact.index(np.array([5, 6, 777], np.uint16).tobytes()) + 4
    part.write_bytes(intact[:place] + np.uint16(1000).tobytes() + intact[place + 2 :])
    with pytest.raises(UserError, match="not in the vocabulary") as raised:
        list(loader.batches(0, plan.steps))
    assert raised.value.file == str(part)


@pytest.mark.parametrize("beyond", [0, 1 << 70])
def test_a_tombstone_of_a_row_that_is_not_there_is_named_and_shows_everything(
    shard_writer: Any, beyond: int
) -> None:
    folder = shard_writer("own", [[5, 6, 7]] * 20)
    plan, loader = alone(folder, 8)
    part = plan.sources[0].parts[0]
    take_down(folder, [Place("00" * 16, part.file, part.rows + beyond)], "asked for")
    with pytest.raises(UserError, match="tombstone") as raised:
        check_plan(plan, {"own": folder})
    assert raised.value.field == "tombstones"
    assert same(Loader(plan, {"own": folder}).batch(0), loader.batch(0))


def test_a_count_that_no_plan_can_hold_is_refused(shard_writer: Any) -> None:
    folder = shard_writer("own", [[5, 6, 7]] * 20)
    manifest = read_manifest(folder)
    part = manifest.parts[0].model_copy(update={"bytes": 1 << 60})
    (folder / MANIFEST_NAME).write_bytes(
        manifest.model_copy(update={"parts": (part, *manifest.parts[1:])}).to_json()
    )
    with pytest.raises(UserError) as raised:
        alone(folder, 8)
    assert raised.value.field == "parts.bytes"


def test_two_threads_read_one_after_the_other(
    shard_writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, loader = alone(shard_writer("own", [[5, 6, 7]] * 20), 8)
    both, of_step, met = threading.Barrier(2), loader.windows.of_step, []

    def meeting(*facts: int) -> Any:
        try:
            met.append(both.wait(timeout=0.1))
        except threading.BrokenBarrierError:
            both.reset()
        return of_step(*facts)

    monkeypatch.setattr(loader.windows, "of_step", meeting)
    other = threading.Thread(target=loader.batch, args=(1,))
    other.start()
    loader.batch(0)
    other.join()
    assert not met


def test_a_missing_folder_or_source_is_refused(shards: Any, tmp_path: Path) -> None:
    plan = plan_of(shards, STABLE)
    with pytest.raises(UserError) as raised:
        Loader(plan, {"web": shards.folders["web"], "cod": shards.folders["code"]})
    assert raised.value.nearest == "cod"
    with pytest.raises(UserError, match="no readable source"):
        Loader(plan, {"web": shards.folders["web"], "code": tmp_path / "nothing"})


@pytest.mark.parametrize(("rank", "world_size"), [(0, 0), (1, 1), (-1, 2), (0, 9)])
def test_ranks_without_a_window_are_refused(shards: Any, rank: int, world_size: int) -> None:
    with pytest.raises(UserError, match="every rank"):
        Loader(plan_of(shards), shards.folders, rank, world_size)


def test_steps_outside_the_plan_are_refused(shards: Any) -> None:
    plan = plan_of(shards)
    loader = Loader(plan, shards.folders)
    for step in (-1, plan.steps):
        with pytest.raises(UserError, match="no such step"):
            loader.batch(step)


def test_reading_batches_loads_neither_curation_libraries_nor_torch(root: Path) -> None:
    heavy = ["datatrove", "dask", "distributed", "polars", "fasttext", "torch", "sentencepiece"]
    code = f"import sys, mixtures.loader.loader, mixtures.inspect.trace; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
