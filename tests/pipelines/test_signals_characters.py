"""The character table says what Python's own predicates say, for every code point."""

from __future__ import annotations

import itertools
import unicodedata

import numpy as np
import pytest
from datatrove.utils.text import PUNCTUATION_SET
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.signals import characters as ch


@pytest.fixture(scope="module")
def flags() -> np.ndarray:
    table = ch.character_table()
    codes = np.arange(0x110000)
    return np.asarray(table.flags[table.pages[codes >> 8].astype(np.int64) << 8 | codes & 255])


def codes_with(flags: np.ndarray, flag: int) -> set[int]:
    return set(np.flatnonzero(flags & flag).tolist())


@pytest.mark.parametrize(
    ("flag", "predicate"),
    [(ch.SPACE, str.isspace), (ch.ALPHABETIC, str.isalpha), (ch.UPPER, str.isupper)],
)
def test_flag_is_the_predicate_for_every_code_point(
    flags: np.ndarray, flag: int, predicate: object
) -> None:
    assert codes_with(flags, flag) == {code for code in range(0x110000) if predicate(chr(code))}  # type: ignore[operator]


def test_punctuation_is_datatroves_set(flags: np.ndarray) -> None:
    assert codes_with(flags, ch.PUNCTUATION) == {ord(character) for character in PUNCTUATION_SET}


def test_line_breaks_are_those_of_splitlines(flags: np.ndarray) -> None:
    assert codes_with(flags, ch.LINE_BREAK) == {
        code for code in range(0x110000) if len(f"a{chr(code)}b".splitlines()) == 2
    }


def test_cjk_letters_are_letters_named_after_those_scripts(flags: np.ndarray) -> None:
    names = (
        "CJK UNIFIED",
        "CJK COMPATIBILITY IDEOGRAPH",
        "HIRAGANA",
        "KATAKANA",
        "BOPOMOFO",
        "HANGUL",
        "THAI",
        "HALFWIDTH KATAKANA",
    )
    named = {
        code
        for code in range(0x110000)
        if chr(code).isalpha() and unicodedata.name(chr(code), "").startswith(names)
    }
    cjk = codes_with(flags, ch.CJK)
    assert named <= cjk
    assert not any(
        unicodedata.name(chr(code), "").startswith(
            ("LATIN", "CYRILLIC", "GREEK", "ARABIC", "DIGIT")
        )
        for code in cjk
    )
    assert all(chr(code).isalpha() for code in cjk)


def test_ascii_needs_no_page_lookup(flags: np.ndarray) -> None:
    assert np.array_equal(ch.character_table().flags[:128], flags[:128])


def unsettled(text: str, flags: np.ndarray) -> bool:
    """What the language scan asks: may normalisation change this text?"""
    of = [int(flags[ord(character)]) for character in text]
    return any(f & ch.COMPOSES for f in of) or any(
        a & b & ch.COMBINING for a, b in itertools.pairwise(of)
    )


@given(
    st.text(
        st.characters(codec="utf-8", categories=["Mn", "Mc", "Ll", "Lu", "Lo", "Lm"]), max_size=12
    )
)
@settings(deadline=None)
def test_text_without_nfc_flags_is_already_nfc(text: str) -> None:
    table = ch.character_table()
    codes = np.array([ord(character) for character in text], np.int64)
    of = table.flags[table.pages[codes >> 8].astype(np.int64) << 8 | codes & 255]
    flagged = bool((of & ch.COMPOSES).any() or (of[1:] & of[:-1] & ch.COMBINING).any())
    assert flagged or unicodedata.is_normalized("NFC", text)


def test_every_canonical_decomposition_is_flagged(flags: np.ndarray) -> None:
    for code in range(0x110000):
        decomposed = unicodedata.normalize("NFD", chr(code))
        if not unicodedata.is_normalized("NFC", decomposed):
            assert unsettled(decomposed, flags), hex(code)


@given(st.text())
@settings(deadline=None)
def test_decode_reads_back_every_character(text: str) -> None:
    values = np.frombuffer(text.encode() or b"", np.uint8) if text else np.zeros(0, np.uint8)
    values.flags.writeable = False
    at, found = 0, []
    while at < len(values):
        code, width = ch.decode(values, np.int64(at), np.int64(len(values)))
        found.append(chr(code))
        at += width
    assert "".join(found) == text


@given(st.binary(max_size=12))
@settings(deadline=None)
def test_decode_of_malformed_bytes_stays_inside_and_moves_on(raw: bytes) -> None:
    padded = np.frombuffer(raw + b"\x80\x80\x80", np.uint8)
    at = 0
    while at < len(raw):
        code, width = ch.decode(padded, np.int64(at), np.int64(len(raw)))
        assert 0 <= code <= 0x10FFFF
        assert 1 <= width <= len(raw) - at
        at += width
