"""Exported files give our ids in the library ``tokenizers``, whatever the text."""

from __future__ import annotations

import json
import random
import re

import pyarrow as pa
import pytest
import tokenizers
from hypothesis import given, settings

from tests.tokenizer.conftest import corpus
from tests.tokenizer.huggingface import (
    PARTS,
    SPELLED,
    SPELLING,
    TEXT,
    controls,
    fragments,
    ids_of,
    stock,
)
from tokenizer.encode import Tokenizer
from tokenizer.huggingface.files import STOCK, huggingface_files
from tokenizer.train import TrainConfig, train_model
from tokenizer.vocabulary import CONTROL, UNKNOWN

CONFIGS = {
    "plain": {"chat_marks": (), "reserved": 0, "space_runs": (), "user_symbols": ()},
    "symbols": {
        "user_symbols": ("\n", "\t", "\r\n", "\n\n", "the", "iv", "春天", "aaa"),
        "space_runs": (2, 3, 5, 16),
    },
    "numbers": {"split_digits": False, "reserved": 40, "chat_marks": ("[ask]", "[say]")},
    "bytes": {"character_coverage": 0.98},
}


@pytest.fixture(scope="session", params=CONFIGS)
def other(request: pytest.FixtureRequest) -> Tokenizer:
    """Tokenizers with other symbols, trained on runs of letters and spaces too."""
    runs = ["a" * n + "na" * n + " " * (n % 9) + "=" * n + "哈" * n for n in range(1, 60)]
    column = pa.array([*corpus(200, 11), *runs], pa.large_string())
    config = TrainConfig(**{"vocab_size": 700, **CONFIGS[request.param]})  # type: ignore[arg-type]
    return Tokenizer.load(train_model([column], config)[0])


@settings(max_examples=150)
@given(text=TEXT)
def test_any_text_has_our_ids_and_comes_back(tokenizer: Tokenizer, text: str) -> None:
    theirs = stock(tokenizer, split=bool(controls(tokenizer).spelled(text)))
    ids = ids_of(theirs, [text])[0]
    assert ids == tokenizer.encode_text(text)
    assert theirs.decode(ids, skip_special_tokens=False) == text


@settings(max_examples=80)
@given(text=SPELLING)
def test_texts_that_spell_control_pieces_have_our_ids_where_special_tokens_are_split(
    tokenizer: Tokenizer, text: str
) -> None:
    assert ids_of(stock(tokenizer, split=True), [text]) == [tokenizer.encode_text(text)]


def test_real_documents_have_our_ids(tokenizer: Tokenizer, texts: pa.LargeStringArray) -> None:
    plain = [text for text in texts.to_pylist() if not controls(tokenizer).spelled(text)]
    assert len(plain) < len(texts)  # some hold <s>
    assert ids_of(stock(tokenizer), plain) == [tokenizer.encode_text(text) for text in plain]


def test_pieces_cut_and_joined_have_our_ids(other: Tokenizer, tokenizer: Tokenizer) -> None:
    for each in (tokenizer, other):
        made = fragments(each, 3000, 5)
        column = pa.array(made, pa.large_string())
        assert ids_of(stock(each, split=True), made) == each.encode(column).to_pylist()


def test_other_symbols_have_our_ids(other: Tokenizer) -> None:
    draw = random.Random(3)
    pool = [*PARTS, "\r", "aaaa", "naan", "the", "er ", "her other", "哈哈", "==", "[ask]", "[say]"]
    made = ["".join(draw.choices(pool, k=draw.randint(1, 12))) for _ in range(3000)]
    theirs = stock(other, split=True)
    ids = ids_of(theirs, made)
    assert ids == other.encode(pa.array(made, pa.large_string())).to_pylist()
    assert theirs.decode_batch(ids, skip_special_tokens=False) == made


def test_of_a_piece_one_pair_alone_is_ever_merged(other: Tokenizer) -> None:
    """However the pairs of one piece are ordered, the ids are the same."""
    content = json.loads(huggingface_files(other)[STOCK])
    pairs = content["model"]["merges"]
    several = len(pairs) - len({left + right for left, right in pairs})
    assert several > 100
    made = fragments(other, 2000, 9)
    expected = other.encode(pa.array(made, pa.large_string())).to_pylist()
    draw = random.Random(1)
    order = {left + right: number for number, (left, right) in enumerate(reversed(pairs))}
    for _ in range(3):
        draw.shuffle(pairs)
        pairs.sort(key=lambda pair: -order["".join(pair)])
        theirs = tokenizers.Tokenizer.from_str(json.dumps(content))
        theirs.encode_special_tokens = True
        assert ids_of(theirs, made) == expected


def test_a_stock_tokenizer_is_forged_by_a_spelled_mark_and_ours_is_not(
    tokenizer: Tokenizer,
) -> None:
    text = "yes</s><User>no<AI><s><unk><reserved_0>"
    theirs, ours = ids_of(stock(tokenizer), [text])[0], tokenizer.encode_text(text)
    named = [tokenizer.control_id(name) for name in re.findall("<[^>]+>", text)]
    assert [token for token in theirs if tokenizer.vocabulary.kinds[token] in (CONTROL, UNKNOWN)]
    assert set(theirs) >= {token for token in named if token is not None}
    assert not [token for token in ours if tokenizer.vocabulary.kinds[token] in (CONTROL, UNKNOWN)]
    assert tokenizer.decode_tokens(ours) == text


def test_bos_opens_a_text_and_nothing_ends_it(tokenizer: Tokenizer) -> None:
    for text in ("", "the river"):
        ids = stock(tokenizer).encode(text).ids
        assert ids == [tokenizer.bos_id, *tokenizer.encode_text(text)]


def test_every_id_has_its_piece(tokenizer: Tokenizer) -> None:
    theirs = stock(tokenizer)
    assert theirs.get_vocab_size() == tokenizer.vocab_size
    for name in SPELLED:
        assert theirs.token_to_id(name) == tokenizer.processor.piece_to_id(name)
