"""Encoding keeps every text and gives SentencePiece's ids."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sentencepiece as spm
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from tokenizer.encode import Tokenizer, token_type
from tokenizer.vocabulary import CONTROL, pair_set
from tokenizer.words import mark_cuts

HOSTILE = [
    "", " ", "   ", " a", "a ", "\u2581", "\u2581\u2581 \u2581a", "a\u2581b", "\r\n", "\t\t x",
    "\x00", "a\x00b", "\ufeffx", "x\ufeff", "<s>", "</s>", "<unk>", "<User>hi<AI>ho</s>",
    "<reserved_0>", "<0x41>", "\u2585", "\u2047", "😀👩‍👩‍👧", "e\u0301", "\ue000", "\U0010ffff",
    "\u2028", " " * 33 + "b", "\n" * 9, "1234567890", "   \n   \t ",
]  # fmt: skip
PIECES = st.sampled_from(
    [
        "the river",
        "The ",
        "春天",
        "来了",
        "    ",
        " ",
        "\n",
        "\t",
        "\u2581",
        "<AI>",
        "</s>",
        "width",
        "x",
        "7",
        "😀",
        "\x00",
    ]
)
TEXT = st.lists(
    st.one_of(PIECES, st.text(st.characters(exclude_categories=["Cs"]), max_size=6)), max_size=20
).map("".join)


def column(texts: list[str]) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def oracle(tokenizer: Tokenizer, text: str) -> list[int]:
    """SentencePiece's own ids; U+2581, which it would turn into a space, as its three bytes."""
    mark = tokenizer.vocabulary.byte_ids[list("\u2581".encode())].tolist()
    parts: list[list[int]] = [tokenizer.processor.encode(part) for part in text.split("\u2581")]
    return parts[0] + [token for part in parts[1:] for token in mark + part]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_comes_back_and_holds_no_control_mark(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode_text(text)
    assert tokenizer.decode_tokens(ids) == text
    assert tokenizer.decode_tokens(ids, controls=False) == text
    assert not (tokenizer.vocabulary.kinds[ids] == CONTROL).any()
    assert ids == oracle(tokenizer, text)


@settings(deadline=None, max_examples=60)
@given(documents=st.lists(TEXT, max_size=6))
def test_any_column_comes_back_with_sentencepiece_ids(
    tokenizer: Tokenizer, documents: list[str]
) -> None:
    encoded = tokenizer.encode(column(documents))
    assert tokenizer.decode(encoded).to_pylist() == documents
    assert encoded.to_pylist() == [oracle(tokenizer, text) for text in documents]


@settings(deadline=None, max_examples=60)
@given(documents=st.lists(TEXT, max_size=6), window=st.integers(1, 40))
def test_ids_do_not_depend_on_the_window(
    tokenizer: Tokenizer, documents: list[str], window: int
) -> None:
    windowed = Tokenizer(tokenizer.model, window)
    windowed.__dict__["vocabulary"] = tokenizer.vocabulary
    assert windowed.encode(column(documents)).equals(tokenizer.encode(column(documents)))


def test_real_documents_have_sentencepiece_ids(
    tokenizer: Tokenizer, texts: pa.LargeStringArray
) -> None:
    assert tokenizer.encode(texts).to_pylist() == tokenizer.processor.encode(texts.to_pylist())


def test_a_long_document_is_cut_without_changing_ids(
    model_path: Path, texts: pa.LargeStringArray
) -> None:
    book = "".join(texts.to_pylist()) + "x" * 5000 + " " * 5000 + "\u2581" * 100
    small = Tokenizer.load(model_path, window_bytes=512)
    assert small.encode_text(book) == oracle(small, book)


@settings(deadline=None, max_examples=40)
@given(
    runs=st.lists(
        st.tuples(st.sampled_from(["x", "春", " ", "the river"]), st.integers(1, 60)), max_size=5
    ),
    window=st.integers(1, 90),
)
def test_text_without_safe_cuts_is_cut_at_the_longest_word(
    tokenizer: Tokenizer, runs: list[tuple[str, int]], window: int
) -> None:
    documents = [run * times for run, times in runs]
    windowed = Tokenizer(tokenizer.model, window)
    windowed.__dict__["vocabulary"] = tokenizer.vocabulary
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tokenizer.encode.LONGEST_WORD", 16)
        alone = [tokenizer.encode_text(text) for text in [*documents, "".join(documents)]]
        for each in (tokenizer, windowed):
            assert each.encode(column([*documents, "".join(documents)])).to_pylist() == alone
    assert [tokenizer.decode_tokens(ids) for ids in alone] == [*documents, "".join(documents)]


def test_no_word_is_longer_than_the_longest(tokenizer: Tokenizer) -> None:
    pairs = pair_set(["xx", "\u6625\u6625"])
    text = np.frombuffer(("x" * 100 + "\u6625" * 50).encode(), np.uint8)
    starts = np.flatnonzero(
        mark_cuts(text, 0, len(text), np.array([0]), pairs.ascii, pairs.table, 20)
    )
    assert starts.tolist() == [0, 20, 40, 60, 80, 100, 121, 142, 163, 184, 205, 226, 247]


def test_slices_and_chunked_columns_encode_their_own_rows(
    tokenizer: Tokenizer, texts: pa.LargeStringArray
) -> None:
    whole = tokenizer.encode(texts).to_pylist()
    assert tokenizer.encode(texts[5:17]).to_pylist() == whole[5:17]
    assert tokenizer.encode(pa.chunked_array([texts[:3], texts[3:9]])).to_pylist() == whole[:9]
    assert tokenizer.encode(texts[:9].cast(pa.string())).to_pylist() == whole[:9]
    assert tokenizer.encode(texts[:0]).to_pylist() == []


def test_decoding_a_slice_gives_its_rows(tokenizer: Tokenizer, texts: pa.LargeStringArray) -> None:
    assert tokenizer.decode(tokenizer.encode(texts)[4:8]).equals(texts[4:8])


def test_eos_ends_every_document_even_an_empty_one(tokenizer: Tokenizer) -> None:
    documents = column(["the river", "", "x"])
    bare = tokenizer.encode(documents).to_pylist()
    assert tokenizer.encode(documents, eos=True).to_pylist() == [
        [*ids, tokenizer.eos_id] for ids in bare
    ]


def test_tokens_are_uint16_up_to_65536_pieces(tokenizer: Tokenizer) -> None:
    assert token_type(65536) == pa.uint16()
    assert token_type(65537) == pa.uint32()
    assert tokenizer.encode(column(["x"])).type.value_type == pa.uint16()


def test_special_ids_are_minicpms(tokenizer: Tokenizer) -> None:
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.vocab_size) == (1, 2, 640)


def test_control_marks_are_found_by_name_and_text_pieces_are_not(tokenizer: Tokenizer) -> None:
    assert tokenizer.control_id("<User>") == 3
    assert tokenizer.control_id("<0x41>") is None
    assert tokenizer.control_id("\n") is None
    assert tokenizer.control_id("<nobody>") is None


def test_control_marks_show_by_name_or_not_at_all(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode_tokens([1, 3, 2]) == "<s><User></s>"
    assert tokenizer.decode_tokens([1, 3, 2], controls=False) == ""


def test_ids_cut_inside_a_character_decode_to_the_replacement_character(
    tokenizer: Tokenizer,
) -> None:
    ids = tokenizer.encode_text("😀")
    assert tokenizer.decode_tokens(ids[:2]) == "\ufffd"


def test_an_id_outside_the_vocabulary_is_an_error(tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match="640"):
        tokenizer.decode_tokens([640])


def test_a_null_text_is_an_error_that_names_the_row(tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match="row 1"):
        tokenizer.encode(column(["a", None]))  # type: ignore[list-item]


def test_a_pickled_tokenizer_is_the_same(tokenizer: Tokenizer) -> None:
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.hash == tokenizer.hash
    assert copy.encode_text("the river") == tokenizer.encode_text("the river")


def test_bytes_per_token_is_the_ratio_of_the_sums(
    tokenizer: Tokenizer, texts: pa.LargeStringArray
) -> None:
    size = sum(len(text.encode()) for text in texts.to_pylist())
    ids = sum(len(row) for row in tokenizer.processor.encode(texts.to_pylist()))
    assert tokenizer.bytes_per_token(texts) == pytest.approx(size / ids)
    assert tokenizer.bytes_per_token(texts[:0]) == 0


def test_no_model_and_a_missing_file_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a SentencePiece model"):
        Tokenizer.load(b"no model")
    with pytest.raises(UserError, match=r"nothing\.model"):
        Tokenizer.load(tmp_path / "nothing.model")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"byte_fallback": False}, "byte pieces"),
        ({"add_dummy_prefix": True, "treat_whitespace_as_suffix": True}, "changes text"),
        ({"normalization_rule_name": "nmt_nfkc"}, "changes text"),
        ({"remove_extra_whitespaces": True}, "changes text"),
    ],
)
def test_a_model_that_would_change_text_is_refused(
    texts: pa.LargeStringArray, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    plain: dict[str, Any] = {
        "byte_fallback": True,
        "add_dummy_prefix": False,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
    }
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(texts.to_pylist()),
        model_prefix=str(tmp_path / "m"),
        model_type="bpe",
        vocab_size=500,
        minloglevel=2,
        **{**plain, **options},
    )
    with pytest.raises(UserError, match=message):
        Tokenizer.load(tmp_path / "m.model")


def test_decoding_a_large_id_type_works(tokenizer: Tokenizer) -> None:
    rows = pa.array([[5, 6], []], pa.large_list(pa.uint32()))
    assert tokenizer.decode(rows).to_pylist() == [tokenizer.decode_tokens([5, 6]), ""]
    assert np.array_equal(
        tokenizer.vocabulary.byte_ids,
        [tokenizer.processor.piece_to_id(f"<0x{value:02X}>") for value in range(256)],
    )
