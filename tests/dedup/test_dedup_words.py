from __future__ import annotations

import unicodedata
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.text_buffers import text_buffers
from dedup.words import BLOCK, SEPARATOR, SKIP, UNIT, character_table, word_hashes, word_start
from tests.dedup.dedup_model import column, word_hash, words_of

ALPHABET = "aZé Ǆ9_.,-'\n\t\u00a0\u00adßẞİıΣςσЁёЖ中文字かガｶﾞ한국ไทยກမខ٣½Ａ①ﬁ\u0301\u200b\ufeff😀𝐀𐐀𠀀𪚥\U000e0100"
texts = st.text(
    st.one_of(st.sampled_from(ALPHABET), st.characters(exclude_categories=("Cs", "Cn"))),
    max_size=60,
)


def hashes_of(text: str) -> list[int]:
    return word_hashes(column([text]))[1].tolist()


def hashes_of_bytes(raw: bytes) -> list[int]:
    offsets = pa.py_buffer(np.array([0, len(raw)], np.int64))
    return word_hashes(pa.LargeStringArray.from_buffers(1, offsets, pa.py_buffer(raw)))[1].tolist()


@given(st.lists(texts, max_size=5))
@settings(max_examples=300, deadline=None)
def test_words_are_those_of_the_plain_model(batch: list[str]) -> None:
    offsets, hashes = word_hashes(column(batch))
    found = [hashes[a:b].tolist() for a, b in pairwise(offsets)]
    assert found == [[word_hash(word) for word in words_of(text)] for text in batch]


def test_every_assigned_character_is_classed_as_in_the_plain_model() -> None:
    table = character_table()
    for code in range(len(table)):
        character = chr(code)
        if unicodedata.category(character) in ("Cn", "Cs"):
            continue
        words = words_of(f"a{character}b")
        entry, folded = table[code], chr(int(table[code]) & 0x1FFFFF)
        if entry == SEPARATOR:
            assert words == ["a", "b"], hex(code)
        elif entry == SKIP:
            assert words == ["ab"], hex(code)
        else:
            assert words == (["a", folded, "b"] if entry & UNIT else [f"a{folded}b"]), hex(code)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello, World", "hello...\n\tWORLD!!"),
        ("Café au lait", "cafe\u0301 AU LAIT"),
        ("İstanbul", "istanbul"),
        ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
        ("Ёлка и ЙОД", "елка и йод"),
        ("ＡＢＣ１２３", "abc123"),
        ("soft\u00adhyphen zero\u200bwidth", "softhyphen zerowidth"),
        ("中文，分词。", "中 文 分 词"),
        ("Python中文ok", "python 中 文 OK"),
        ("ｶﾞｷﾞ", "カ キ"),
        ("STRAẞE", "straße"),
        ("𝐁old", "bold"),
    ],
)
def test_case_accents_punctuation_and_width_do_not_count(one: str, other: str) -> None:
    assert hashes_of(one) == hashes_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.5", "15"),
        ("a b", "ab"),
        ("ab", "ba"),
        ("中文", "文中"),
        ("ı", "i"),
        ("x1", "x2"),
        ("𠀀", "𠀁"),
        ("a", "a a"),
        ("ß", "ss"),
    ],
)
def test_different_words_differ(one: str, other: str) -> None:
    assert hashes_of(one) != hashes_of(other)


@pytest.mark.parametrize(
    "script", ["漢字仮名", "ひらがな", "カタカナ", "한국말", "ກຂຄ", "ကခဂ", "កខគ", "กขค"]
)
def test_unspaced_scripts_give_a_word_per_character(script: str) -> None:
    assert len(hashes_of(f"begin{script}end")) == len(script) + 2


@pytest.mark.parametrize(
    "broken",
    [
        b"\xff",
        b"\x80",
        b"\xc3",
        b"\xe4\xb8",
        b"\xf0\x9f\x98",
        b"\xc0\xaf",
        b"\xf8\x88\x80\x80",
        b"\xe4",
        b"\xf5\x80\x80\x80",
    ],
)
def test_bytes_that_are_not_utf8_separate(broken: bytes) -> None:
    assert hashes_of_bytes(b"one" + broken + b"two") == hashes_of("one two")
    assert hashes_of_bytes(b"one" + broken) == hashes_of("one")


def test_a_character_cut_by_the_end_of_the_text_does_not_read_the_next_text() -> None:
    raw = "x中".encode()
    offsets = pa.py_buffer(np.array([0, 2, len(raw)], np.int64))
    bounds, hashes = word_hashes(pa.LargeStringArray.from_buffers(2, offsets, pa.py_buffer(raw)))
    assert hashes.tolist() == hashes_of("x")
    assert bounds.tolist() == [0, 1, 1]


@given(st.binary(max_size=80))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read(raw: bytes) -> None:
    assert len(hashes_of_bytes(raw)) <= (len(raw) + 1) // 2


@pytest.mark.parametrize(
    "text",
    [
        "x" * (5 * BLOCK),
        "ab " * (3 * BLOCK),
        "a中" * (2 * BLOCK),
        " " * (3 * BLOCK) + "end",
        "é" * BLOCK + " z",
    ],
)
def test_long_texts_and_long_words(text: str) -> None:
    assert hashes_of(text) == [word_hash(word) for word in words_of(text)]


def test_slices_empty_texts_and_empty_columns() -> None:
    whole = column(["first one", "", "Second, two", "third"])
    offsets, hashes = word_hashes(whole.slice(1, 2))
    assert offsets.tolist() == [0, 0, 2]
    assert hashes.tolist() == hashes_of("second two")
    assert word_hashes(whole.slice(4))[0].tolist() == [0]
    assert word_hashes(column([]))[0].tolist() == [0]
    assert word_hashes(column(["", ""]))[0].tolist() == [0, 0, 0]


def test_other_columns_are_refused() -> None:
    with pytest.raises(TypeError, match="LargeStringArray"):
        text_buffers(pa.array(["a"]))
    with pytest.raises(ValueError, match="1 nulls"):
        text_buffers(pa.array(["a", None], pa.large_string()))


@given(texts)
@settings(max_examples=200, deadline=None)
def test_a_word_starts_where_the_rest_of_the_text_has_the_remaining_words(text: str) -> None:
    values, offsets = text_buffers(column([text]))
    words = words_of(text)
    for number in range(len(words)):
        start = word_start(values, offsets[0], offsets[1], character_table(), np.int64(number))
        assert words_of(text.encode()[start:].decode()) == words[number:]
    assert (
        word_start(values, offsets[0], offsets[1], character_table(), np.int64(len(words)))
        == offsets[1]
    )
