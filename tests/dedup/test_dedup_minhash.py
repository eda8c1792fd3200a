from __future__ import annotations

import math

import numpy as np
import pytest
from datasketch import MinHash, MinHashLSH
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from dedup.near.minhash import MinHashConfig, band_keys, shingle_sets, signatures
from dedup.words import BLOCK
from tests.dedup.dedup_model import column, signature_of

CONFIG = MinHashConfig()


def pairs_at(similarity: float, pairs: int, union: int, seed: int) -> tuple[list[str], list[str]]:
    """Pairs of texts whose sets of single words have exactly the given Jaccard similarity."""
    left, right = [], []
    common = round(similarity * union)
    for pair in range(pairs):
        words = [f"{seed}x{pair}w{number}" for number in range(union)]
        cut = common + (union - common) // 2
        left.append(" ".join(words[:cut]))
        right.append(" ".join(words[:common] + words[cut:]))
    return left, right


@given(
    st.text(st.sampled_from("ab c中,\n"), max_size=60), st.integers(1, 6), st.integers(0, 2**64 - 1)
)
@settings(max_examples=100, deadline=None)
def test_signatures_are_those_of_the_plain_model(text: str, ngrams: int, seed: int) -> None:
    config = MinHashConfig(ngrams=ngrams, bands=3, rows=4, seed=seed)
    assert signatures(column([text]), config)[0].tolist() == signature_of(text, ngrams, 12, seed)


@pytest.mark.parametrize("words", [5, 12, BLOCK - 1, BLOCK + 7, 3 * BLOCK])
def test_a_text_of_any_length_has_the_signature_of_all_its_shingles(words: int) -> None:
    text = " ".join(f"word{k * k % 997}" for k in range(words))
    assert signatures(column([text]), CONFIG)[0].tolist() == signature_of(text, 5, 112, 1)


def test_case_punctuation_and_white_space_do_not_change_a_signature() -> None:
    one = "The Café's owner, at 12 Main Street, sells coffee. 中文也可以。"
    other = "the cafe s OWNER\tat 12 main--street\n\n\u201csells\u201d coffee 中 文 也 可 以"
    assert (
        band_keys(column([one]), CONFIG)[0].tolist()
        == band_keys(column([other]), CONFIG)[0].tolist()
    )


def test_texts_shorter_than_a_shingle_have_no_signature() -> None:
    keys, has_signature = band_keys(
        column(["a b c d e", "a b c d", "", "?!", "中文分词器"]), CONFIG
    )
    assert has_signature.tolist() == [True, False, False, False, True]
    assert keys.shape == (5, 14)
    assert not keys[~has_signature].any()
    assert keys[has_signature].all()


def test_no_texts_give_no_keys() -> None:
    keys, has_signature = band_keys(column([]), CONFIG)
    assert (keys.shape, has_signature.shape, signatures(column([]), CONFIG).shape) == (
        (0, 14),
        (0,),
        (0, 112),
    )


def test_a_slice_has_the_keys_of_its_rows() -> None:
    batch = column([f"one two three four five six {k} seven eight" for k in range(6)])
    assert (
        band_keys(batch.slice(2, 3), CONFIG)[0].tolist()
        == band_keys(batch, CONFIG)[0][2:5].tolist()
    )


def test_bands_agree_exactly_where_their_rows_agree() -> None:
    left, right = pairs_at(0.8, 60, 60, seed=5)
    config = MinHashConfig(ngrams=1, bands=10, rows=3)
    rows = signatures(column(left + right), config).reshape(2, 60, 10, 3)
    keys = band_keys(column(left + right), config)[0].reshape(2, 60, 10)
    assert ((rows[0] == rows[1]).all(axis=2) == (keys[0] == keys[1])).all()
    assert 0 < (keys[0] == keys[1]).sum() < 600


def test_keys_of_different_bands_never_meet() -> None:
    keys = band_keys(
        column(["x x x x x x x x", "a b c d e f g h"]), MinHashConfig(ngrams=1, bands=64, rows=1)
    )[0]
    assert len(np.unique(keys)) == keys.size


def test_the_seed_changes_the_functions() -> None:
    text = column(["a b c d e f g h i j"])
    assert not (
        signatures(text, MinHashConfig(seed=1)) == signatures(text, MinHashConfig(seed=2))
    ).any()


@pytest.mark.parametrize("similarity", [0.2, 0.5, 0.8, 0.95])
def test_agreeing_places_estimate_jaccard_within_the_sampling_error(similarity: float) -> None:
    left, right = pairs_at(similarity, 200, 100, seed=int(100 * similarity))
    config = MinHashConfig(ngrams=1, bands=16, rows=8)
    found = signatures(column(left + right), config).reshape(2, 200, 128)
    estimates = (found[0] == found[1]).mean(axis=1)
    error = math.sqrt(similarity * (1 - similarity) / 128)
    assert abs(estimates.mean() - similarity) < 5 * error / math.sqrt(200)
    assert estimates.std() < 1.25 * error


def test_large_sets_are_estimated_without_bias() -> None:
    left, right = pairs_at(0.5, 4, 40_000, seed=11)
    config = MinHashConfig(ngrams=1, bands=128, rows=8)
    found = signatures(column(left + right), config).reshape(2, 4, 1024)
    assert abs((found[0] == found[1]).mean() - 0.5) < 5 * math.sqrt(0.25 / 4096)


def test_estimates_are_as_good_as_datasketch() -> None:
    left, right = pairs_at(0.6, 150, 80, seed=3)
    config = MinHashConfig(ngrams=1, bands=16, rows=8)
    sets = shingle_sets(column(left + right), config)
    peers = []
    for k in range(len(sets)):
        peer = MinHash(num_perm=128, seed=1)
        peer.update_batch([value.tobytes() for value in sets[k]])
        peers.append(peer)
    theirs = np.array([peers[k].jaccard(peers[150 + k]) for k in range(150)])
    found = signatures(column(left + right), config).reshape(2, 150, 128)
    ours = (found[0] == found[1]).mean(axis=1)
    assert np.sqrt(np.mean((ours - 0.6) ** 2)) < 1.25 * np.sqrt(np.mean((theirs - 0.6) ** 2))


def test_datasketch_finds_candidates_at_the_same_rate() -> None:
    left, right = pairs_at(0.7, 200, 50, seed=8)
    sets = shingle_sets(column(left + right), MinHashConfig(ngrams=1))
    index, hits = MinHashLSH(num_perm=112, params=(14, 8)), 0
    sketches = []
    for k in range(len(sets)):
        sketch = MinHash(num_perm=112, seed=1)
        sketch.update_batch([value.tobytes() for value in sets[k]])
        sketches.append(sketch)
    for k in range(200):
        index.insert(k, sketches[k])
    for k in range(200):
        hits += k in index.query(sketches[200 + k])
    keys = band_keys(column(left + right), MinHashConfig(ngrams=1))[0].reshape(2, 200, 14)
    ours = (keys[0] == keys[1]).any(axis=1).sum()
    assert abs(int(ours) - hits) < 4.5 * math.sqrt(2 * 200 * 0.565 * 0.435)


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("ngrams", {"ngrams": 0}),
        ("ngrams", {"ngrams": 257}),
        ("ngrams", {"ngrams": 5.0}),
        ("bands", {"bands": 0}),
        ("rows", {"rows": True}),
        ("seed", {"seed": -1}),
        ("seed", {"seed": 2**64}),
        ("bands * rows", {"bands": 100, "rows": 100}),
    ],
)
def test_a_wrong_parameter_is_named(field: str, arguments: dict[str, object]) -> None:
    with pytest.raises(UserError) as caught:
        MinHashConfig(**arguments)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_the_algorithm_names_all_that_decides_a_key() -> None:
    variants = [
        MinHashConfig(),
        MinHashConfig(ngrams=4),
        MinHashConfig(bands=13),
        MinHashConfig(rows=7),
        MinHashConfig(seed=2),
    ]
    assert len({config.algorithm for config in variants}) == len(variants)
    assert "unicode" in CONFIG.algorithm
