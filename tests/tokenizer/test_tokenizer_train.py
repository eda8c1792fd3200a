"""Training: same sample same bytes, nothing skipped, errors with figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from tokenizer.encode import Tokenizer
from tokenizer.sentences import SentenceCounts, sentences
from tokenizer.train import TrainConfig, train, train_model
from tokenizer.vocabulary import CONTROL

LINE = st.lists(
    st.sampled_from(
        [
            "a",
            "the ",
            "   ",
            "\n",
            "\r\n",
            "\t",
            "\x00",
            "\u2581",
            "\u2585",
            "春",
            "\u2580",
            "😀",
            "word",
        ]
    ),
    max_size=30,
).map("".join)
LEFT_OUT = str.maketrans("", "", "\n\r\t\x00\u2581\u2585")


def cut(
    documents: list[str], limit: int, longest: int = 1 << 20
) -> tuple[list[str], SentenceCounts]:
    counts = SentenceCounts()
    found = sentences([pa.array(documents, pa.large_string())], limit, longest, counts)
    return [sentence.decode() for sentence in found], counts


@settings(deadline=None, max_examples=60)
@given(documents=st.lists(LINE, max_size=5), limit=st.integers(8, 40))
def test_sentences_hold_all_text_but_the_characters_left_out(
    documents: list[str], limit: int
) -> None:
    found, counts = cut(documents, limit)
    assert "".join(found) == "".join(documents).translate(LEFT_OUT)
    assert all(0 < len(sentence.encode()) <= limit for sentence in found)
    assert counts.reserved_characters == sum(
        text.count(mark) for text in documents for mark in "\x00\u2581\u2585"
    )
    assert (counts.documents, counts.sentences) == (len(documents), len(found))


def test_a_long_line_is_cut_before_a_run_of_spaces() -> None:
    found, counts = cut(["one two   three four"], 12)
    assert found == ["one two", "   three", " four"]
    assert counts.long_lines_split == 2


def test_a_long_document_is_cut_at_a_character_and_counted() -> None:
    found, counts = cut(["春天来了", "ok"], 64, longest=7)
    assert found == ["春天", "ok"]
    assert (counts.documents_cut, counts.bytes_cut) == (1, 6)


def test_a_slice_of_a_column_is_cut_alone() -> None:
    column = pa.array(["zero", "one\ntwo", "three"], pa.large_string())[1:2]
    assert list(sentences([column], 64, 64, SentenceCounts())) == [b"one", b"two"]


def test_the_same_sample_gives_the_same_bytes_however_it_is_chunked(
    texts: pa.LargeStringArray, tokenizer: Tokenizer
) -> None:
    model, _ = train_model(
        (texts[start : start + 37] for start in range(0, len(texts), 37)),
        TrainConfig(vocab_size=640, reserved=4),
    )
    assert model == tokenizer.model


def test_the_model_does_not_depend_on_the_machines_threads(
    texts: pa.LargeStringArray, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    assert train_model([texts], TrainConfig(vocab_size=640, reserved=4))[0] == tokenizer.model


def test_a_line_longer_than_the_limit_still_teaches_its_words(texts: pa.LargeStringArray) -> None:
    long_line = pa.array(["quixotic zephyr " * 400], pa.large_string())
    config = TrainConfig(vocab_size=640, max_sentence_bytes=256)
    model, counts = train_model([texts, long_line], config)
    assert counts.long_lines_split > 0
    assert len(Tokenizer.load(model).encode_text(" quixotic")) == 1


def test_fixed_ids_stand_where_minicpm_has_them(tokenizer: Tokenizer) -> None:
    names = [tokenizer.processor.id_to_piece(token) for token in range(11)]
    assert names == [
        "<unk>",
        "<s>",
        "</s>",
        "<User>",
        "<AI>",
        "<System>",
        "<Tool>",
        *(f"<reserved_{number}>" for number in range(4)),
    ]
    assert (tokenizer.vocabulary.kinds[1:11] == CONTROL).all()


def test_a_corpus_full_of_marks_teaches_no_piece_that_collides_with_them(
    texts: pa.LargeStringArray,
) -> None:
    hostile = pa.array(["<s>a</s> <User> <AI> <unk> <reserved_0> <0x41>"] * 400, pa.large_string())
    model, _ = train_model([texts, hostile], TrainConfig(vocab_size=640, reserved=4))
    tokenizer = Tokenizer.load(model)
    ids = tokenizer.encode(hostile)
    assert not (tokenizer.vocabulary.kinds[ids.values.to_numpy()] == CONTROL).any()
    assert tokenizer.decode(ids).equals(hostile)


def test_runs_of_spaces_tabs_and_line_ends_are_single_ids(tokenizer: Tokenizer) -> None:
    assert [
        len(tokenizer.encode_text(text)) for text in ["  ", "    ", " " * 8, " " * 16, "\n", "\t"]
    ] == [1] * 6


def test_digits_are_split(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode_text("128128")) == 6


def test_the_report_states_real_and_rounded_sizes(
    texts: pa.LargeStringArray, tmp_path: Path
) -> None:
    report = train([texts], TrainConfig(vocab_size=610, round_to=64), tmp_path / "m")
    assert (report.vocab_size, report.padded_vocab_size) == (610, 640)
    assert report.learned_pieces + report.fixed_pieces == report.vocab_size
    assert report.model_hash == Tokenizer.load(tmp_path / "m").hash
    assert report.counts.documents == len(texts)


def test_too_large_a_vocabulary_names_the_most_the_sample_gives(texts: pa.LargeStringArray) -> None:
    with pytest.raises(UserError, match="at most") as raised:
        train_model([texts[:5]], TrainConfig(vocab_size=50_000))
    assert raised.value.fix is not None
    most = next(
        int(word.rstrip(",")) for word in raised.value.fix.split() if word.rstrip(",").isdigit()
    )
    train_model([texts[:5]], TrainConfig(vocab_size=most))


def test_too_small_a_vocabulary_names_what_characters_need() -> None:
    many = pa.array(["".join(chr(0x4E00 + number) for number in range(900))], pa.large_string())
    with pytest.raises(UserError, match="single characters"):
        train_model([many], TrainConfig(vocab_size=400, character_coverage=1.0))


def test_no_room_for_learned_pieces_is_an_error(texts: pa.LargeStringArray) -> None:
    with pytest.raises(UserError, match="no room"):
        train_model([texts], TrainConfig(vocab_size=300, reserved=100))


@pytest.mark.parametrize("documents", [[], [""], ["\n\x00"]])
def test_a_sample_without_text_is_an_error(documents: list[str]) -> None:
    with pytest.raises(UserError, match="no text"):
        train_model([pa.array(documents, pa.large_string())], TrainConfig(vocab_size=400))


def test_a_symbol_named_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="twice"):
        TrainConfig(vocab_size=400, user_symbols=("\n", "<AI>"))


def test_the_sample_may_be_an_iterator_read_once(texts: pa.LargeStringArray) -> None:
    def once() -> Iterator[pa.LargeStringArray]:
        yield texts

    model, counts = train_model(once(), TrainConfig(vocab_size=500))
    assert counts.bytes == int(np.sum([len(text.encode()) for text in texts.to_pylist()]))
    assert Tokenizer.load(model).vocab_size == 500
