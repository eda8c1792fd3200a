"""What is measured of held-out shards: whole documents, the same texts whatever the tokenizer."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from mixtures.loader.fill import FIRST, LENGTH, PLACE, ROW
from tests.trainer import loop_runs
from tests.trainer.loop_corpus import Corpus, code, web, write_shards
from tests.trainer.loop_runs import MIXED, STABLE, run
from tokenizer.encode import Tokenizer
from tokenizer.train import TrainConfig, train
from trainer.checkpoints.checkpoint import STATE, Checkpoint, CheckpointState, at_step, load
from trainer.checkpoints.weights import model_of
from trainer.evaluation.documents import GROUPS, Documents, groups, windows
from trainer.evaluation.held_out import BYTES_PER_TOKEN, HeldOut, held_out, validate
from trainer.loop.branch import START, branch
from trainer.loop.metrics import read_series
from trainer.objectives.losses import token_bytes

WINDOW = loop_runs.LENGTH


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Short documents, long ones of several windows, and one longer than everything measured."""
    return [*web(21, 120), *code(22, 60), " ".join(web(23, 20)), " ".join(web(24, 300))]


@pytest.fixture(scope="module")
def twice(
    texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[Path, Tokenizer]]:
    """The same documents under two tokenizers, the coarser one first."""
    folder = tmp_path_factory.mktemp("twice")
    made = []
    for pieces in (560, 320):
        model = folder / f"{pieces}.model"
        train([pa.array(texts, pa.large_string())], TrainConfig(vocab_size=pieces), model)
        tokenizer = Tokenizer.load(model)
        tokens = tokenizer.encode(pa.array(texts, pa.large_string()), eos=True)
        made.append((write_shards(folder / str(pieces), "web", tokens, None, tokenizer), tokenizer))
    return made


def measured_texts(found: HeldOut, tokenizer: Tokenizer) -> list[list[str]]:
    """The documents of each group, out of the targets of its batch."""
    said = []
    for batch in found.batches["web"]:
        places = np.lexsort((batch.pieces[:, FIRST],))
        pieces = [
            batch.targets[row, place : place + tokens]
            for row, place, _, _, tokens in batch.pieces[places].tolist()
        ]
        whole = np.concatenate(pieces).tolist()
        said.append(tokenizer.decode_tokens(whole).split("</s>")[:-1])
    return said


@pytest.mark.parametrize("most", [1, 6, 40, None])
def test_two_tokenizers_are_measured_on_the_same_texts(
    texts: list[str], twice: list[tuple[Path, Tokenizer]], most: int | None
) -> None:
    found = [
        held_out({"web": folder}, tokenizer, sequence_length=WINDOW, windows=most)
        for folder, tokenizer in twice
    ]
    groups_of = [
        measured_texts(one, tokenizer) for one, (_, tokenizer) in zip(found, twice, strict=True)
    ]
    assert groups_of[0] == groups_of[1]
    measured = [text for group in groups_of[0] for text in group]
    assert set(measured) <= set(texts)
    assert len(measured) == found[0].documents["web"] == found[1].documents["web"]
    size = sum(len(text.encode()) for text in measured)
    if most is None:
        assert sorted(measured) == sorted(texts)
    else:
        budget = most * WINDOW * BYTES_PER_TOKEN
        assert budget <= size < 2 * budget
        assert max(len(text.encode()) for text in measured) <= budget
    for one, (_, tokenizer) in zip(found, twice, strict=True):
        sizes = token_bytes(tokenizer)
        targets = [batch.targets[batch.weights > 0] for batch in one.batches["web"]]
        assert sum(int(sizes[part].sum()) for part in targets) == size


def test_a_source_of_one_long_document_is_measured_all_the_same(tmp_path: Path) -> None:
    text = " ".join(web(25, 50))
    model = tmp_path / "tokenizer.model"
    train([pa.array([text], pa.large_string())], TrainConfig(vocab_size=320), model)
    tokenizer = Tokenizer.load(model)
    tokens = tokenizer.encode(pa.array([text], pa.large_string()), eos=True)
    folder = write_shards(tmp_path / "web", "web", tokens, None, tokenizer)
    found = held_out({"web": folder}, tokenizer, sequence_length=WINDOW, windows=1)
    assert measured_texts(found, tokenizer) == [[text]]


def test_a_source_without_documents_is_refused(tmp_path: Path, corpus: Corpus) -> None:
    empty = corpus.tokenizer.encode(pa.array([], pa.large_string()), eos=True)
    folder = write_shards(tmp_path / "web", "web", empty, None, corpus.tokenizer)
    with pytest.raises(UserError, match="do not fill a document"):
        held_out({"web": folder}, corpus.tokenizer, sequence_length=WINDOW)


@given(
    st.lists(st.tuples(st.integers(1, 90), st.integers(0, 300)), min_size=1, max_size=60),
    st.integers(2, 40),
)
@pytest.mark.law
def test_groups_and_windows_hold_every_token_once(
    sizes: list[tuple[int, int]], length: int
) -> None:
    tokens, size = np.array(sizes, np.int64).T
    starts = np.cumsum(tokens + 3) - tokens  # documents between them were passed by
    documents = Documents(starts, tokens, size)
    parts = list(groups(documents))
    assert len(parts) <= max(1, min(GROUPS, len(sizes)))
    assert len(sizes) > GROUPS or len(parts) == len(sizes)
    assert np.concatenate([part.starts for part in parts]).tolist() == starts.tolist()
    if len(sizes) > GROUPS and size.sum():
        most = size.sum() / GROUPS + size.max()
        assert all(part.bytes.sum() <= most for part in parts)
    for part in parts:
        pieces = windows(part, length)
        assert (pieces[:, PLACE] + pieces[:, LENGTH] <= length).all()
        assert (np.lexsort((pieces[:, PLACE], pieces[:, ROW])) == np.arange(len(pieces))).all()
        shown = np.concatenate(
            [np.arange(first, first + n) for first, n in pieces[:, [FIRST, LENGTH]].tolist()]
        )
        wanted = np.concatenate(
            [
                np.arange(first, first + n)
                for first, n in zip(part.starts.tolist(), part.tokens.tolist(), strict=True)
            ]
        )
        assert sorted(shown.tolist()) == sorted(wanted.tolist())
        for row in range(int(pieces[-1, ROW]) + 1):
            inside = pieces[pieces[:, ROW] == row]
            ends = np.cumsum(inside[:, LENGTH])
            assert inside[:, PLACE].tolist() == [0, *ends[:-1].tolist()]


def test_validation_is_the_same_for_other_micro_batches_and_other_names(
    corpus: Corpus, whole: Path
) -> None:
    model = model_of(at_step(whole, STABLE))
    once, again = (
        validate(
            model, corpus.held_out, corpus.tokenizer, sequence_length=WINDOW, windows=5, rows=rows
        )
        for rows in (1, 8)
    )
    for source, loss in once.items():
        assert again[source].nats == pytest.approx(loss.nats, rel=1e-6)
        assert (again[source].tokens, again[source].bytes) == (loss.tokens, loss.bytes)
    named = {f"{name}-validation": folder for name, folder in corpus.held_out.items()}
    rerun = validate(model, named, corpus.tokenizer, sequence_length=WINDOW, windows=5, rows=8)
    assert rerun == again


def test_a_line_of_validation_has_the_documents_and_the_loss_of_each_group(whole: Path) -> None:
    for line in read_series(whole, "validation"):
        for found in line["sources"].values():
            tokens, losses = np.array(found["groups"]).T
            assert found["documents"] >= len(tokens) > 1
            assert tokens.sum() == found["tokens"]
            assert (tokens * losses).sum() / tokens.sum() == pytest.approx(found["loss"])


def former(folder: Path, copy: Path) -> Checkpoint:
    """The last stable checkpoint of a run, copied alone, as one that recorded no rule."""
    shutil.copytree(folder, copy)
    for path in (copy / "checkpoints").glob("step-*"):
        if path.name != f"step-{STABLE:08d}":
            shutil.rmtree(path)
    found = at_step(copy, STABLE)
    recorded = {**found.state.settings}
    del recorded["validation_rule"]
    state = CheckpointState.model_validate({**found.state.model_dump(), "settings": recorded})
    Path(found.folder, STATE).write_bytes(state.to_json())
    return load(found.folder)


@pytest.mark.slow
def test_a_training_that_began_with_windows_goes_on_and_branches_with_them(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    old = former(whole, tmp_path / "old")
    run(corpus, tmp_path / "old")
    last = read_series(tmp_path / "old", "validation")[-1]
    measured = held_out(
        corpus.held_out, corpus.tokenizer, sequence_length=WINDOW, windows=6, rule="windows"
    )
    for name, found in last["sources"].items():
        batches = measured.batches[name]
        assert all(len(batch.tokens) == 1 for batch in batches)
        assert found["tokens"] == sum(float(batch.weights.sum()) for batch in batches)
        assert found.keys() == {"tokens", "loss", "bits_per_byte"}
        assert not math.isclose(
            found["tokens"], read_series(whole, "validation")[-1]["sources"][name]["tokens"]
        )
    # what it writes now goes on with them too
    assert (
        at_step(tmp_path / "old", loop_runs.STABLE + loop_runs.DECAY).state.settings[
            "validation_rule"
        ]
        == "windows"
    )
    comparison = branch(
        old, {"again": [MIXED]}, corpus.folders, tmp_path / "branches", validation=corpus.held_out
    )
    for name, found in last["sources"].items():
        assert comparison.losses["again"][name].to_json() == found
        assert comparison.measured[START][name].documents is None
