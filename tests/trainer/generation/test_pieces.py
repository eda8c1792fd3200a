"""What is shown of tokens: whole characters, never a part of a stop string, and all of the text."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from artifacts.errors import UserError
from tests.trainer.loop_corpus import Corpus
from tokenizer.encode import Tokenizer
from trainer.generation.pieces import Pieces

TEXTS = st.text(alphabet=st.sampled_from("ab \né字🙂\u2581\x00"), max_size=30)
STOPS = st.lists(
    st.text(alphabet=st.sampled_from("ab \né字🙂"), min_size=1, max_size=4), max_size=3
)


def bytes_of(tokenizer: Tokenizer, text: str | bytes) -> list[int]:
    """One token for each byte."""
    raw = text.encode() if isinstance(text, str) else text
    return [int(tokenizer.vocabulary.byte_ids[byte]) for byte in raw]


def shown(tokenizer: Tokenizer, tokens: list[int], stops: list[str]) -> tuple[list[str], bool]:
    """Pieces until a stop string is met, or all of them and the rest."""
    pieces = Pieces(tokenizer, stops)
    found = []
    for token in tokens:
        found.append(pieces.add(token))
        if pieces.stopped:
            break
    return [*found, pieces.rest()], pieces.stopped


def cut(text: str, stops: list[str]) -> str:
    """Up to the stop string that is complete first, the longest of several, found letter by letter."""
    for end in range(len(text) + 1):
        ending = [stop for stop in stops if text[:end].endswith(stop)]
        if ending:
            return text[: end - max(map(len, ending))]
    return text


@given(TEXTS, STOPS)
@example("xab", ["ab", "xaby"])
@example("aab", ["aab", "ab"])
@example("abab\n", ["aba\n", "b\n"])
def test_the_text_ends_before_the_first_stop_string_however_tokens_cut_it(
    corpus: Corpus, text: str, stops: list[str]
) -> None:
    tokenizer = corpus.tokenizer
    for tokens in (tokenizer.encode_text(text), bytes_of(tokenizer, text)):
        pieces, stopped = shown(tokenizer, tokens, stops)
        assert "".join(pieces) == cut(text, stops)
        assert stopped == any(stop in text for stop in stops)
        for piece in pieces:
            piece.encode()


@given(st.binary(max_size=40))
def test_pieces_join_to_the_text_that_the_tokenizer_decodes(corpus: Corpus, raw: bytes) -> None:
    tokens = bytes_of(corpus.tokenizer, raw)
    pieces, _ = shown(corpus.tokenizer, tokens, [])
    assert "".join(pieces) == corpus.tokenizer.decode_tokens(tokens, controls=False)


@given(st.lists(st.integers(0, 383), max_size=40))
def test_any_ids_come_to_what_the_tokenizer_decodes(corpus: Corpus, tokens: list[int]) -> None:
    pieces, _ = shown(corpus.tokenizer, tokens, [])
    assert "".join(pieces) == corpus.tokenizer.decode_tokens(tokens, controls=False)


def test_a_character_is_shown_once_it_is_whole_and_a_stop_string_is_held_back(
    corpus: Corpus,
) -> None:
    pieces = Pieces(corpus.tokenizer, ["\n\nUser"])
    steps = [pieces.add(token) for token in bytes_of(corpus.tokenizer, "é🙂a\n\nUse of")]
    assert steps == ["", "é", "", "", "", "🙂", "a", "", "", "", "", "", "\n\nUse ", "o", "f"]
    assert not pieces.stopped


def test_a_character_that_is_not_ended_is_shown_as_unknown_at_the_end(corpus: Corpus) -> None:
    pieces = Pieces(corpus.tokenizer, ["ab"])
    tokens = bytes_of(corpus.tokenizer, b"xa" + "字".encode()[:2])
    assert "".join(pieces.add(token) for token in tokens) == "x"
    assert pieces.rest() == "a\ufffd"
    assert pieces.rest() == ""


def test_an_id_that_the_tokenizer_does_not_have_is_an_error(corpus: Corpus) -> None:
    with pytest.raises(UserError, match="its tokenizer does not have") as error:
        Pieces(corpus.tokenizer).add(corpus.tokenizer.vocab_size)
    assert error.value.allowed == [f"0 to {corpus.tokenizer.vocab_size - 1}"]
