"""Against datasketch itself: its objects and ours in one index, and its signatures in our
groups.
"""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest
from datasketch import LeanMinHash, MinHash, MinHashLSH
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from dedup.near.datasketch_interop import (
    datasketch_values,
    from_datasketch,
    shingle_hashfunc,
    to_datasketch,
)
from dedup.near.lsh import candidate_groups
from dedup.near.minhash import MinHashConfig, shingle_sets
from dedup.near.verify import greedy_keep
from tests.dedup.dedup_model import column, words_of


def theirs(text: str, ngrams: int, num_perm: int, seed: int) -> MinHash:
    """What datasketch makes of the texts of the shingles."""
    words = words_of(text)
    minhash = MinHash(num_perm=num_perm, seed=seed, hashfunc=shingle_hashfunc(ngrams))
    for start in range(len(words) - ngrams + 1):
        minhash.update(" ".join(words[start : start + ngrams]).encode())
    return minhash


texts_of_words = st.lists(
    st.text(st.sampled_from("ab é字.\n"), max_size=30), min_size=1, max_size=4
)


@given(texts_of_words, st.integers(1, 4), st.sampled_from([1, 7, 128]), st.sampled_from([1, 42]))
@settings(max_examples=60, deadline=None)
def test_signatures_are_datasketch_s_value_for_value(
    texts: list[str], ngrams: int, num_perm: int, seed: int
) -> None:
    ours = list(to_datasketch(column(texts), ngrams, num_perm, seed))
    for text, minhash in zip(texts, ours, strict=True):
        other = theirs(text, ngrams, num_perm, seed)
        assert minhash == other
        assert minhash.hashvalues.dtype == other.hashvalues.dtype
        assert minhash.jaccard(other) == 1.0


def test_a_text_longer_than_a_block_is_hashed_whole() -> None:
    text = " ".join(f"w{number}" for number in range(5000))
    values = datasketch_values(column(["x", text]), 5, 16)
    assert (values[1] == theirs(text, 5, 16, 1).hashvalues).all()
    assert (values[0] == 2**32 - 1).all()


@pytest.fixture(scope="module")
def corpus() -> list[str]:
    """40 texts and edited copies of half of them."""
    draw = random.Random(11)
    texts = [" ".join(f"w{draw.randrange(5000)}" for _ in range(80)) for _ in range(40)]
    for text in texts[:20]:
        words = text.split()
        for place in draw.sample(range(80), draw.randrange(1, 6)):
            words[place] = f"new{draw.randrange(5000)}"
        texts.append(" ".join(words))
    return [*texts, "short"]


@pytest.mark.parametrize("filled_by_us", [True, False])
def test_one_side_finds_in_an_index_what_the_other_side_put_there(
    corpus: list[str], filled_by_us: bool
) -> None:
    ours = list(to_datasketch(column(corpus), 3, 128))
    made = [theirs(text, 3, 128, 1) for text in corpus]
    index = MinHashLSH(num_perm=128, params=(16, 8))
    reference = MinHashLSH(num_perm=128, params=(16, 8))
    for number, (one, other) in enumerate(zip(ours, made, strict=True)):
        index.insert(number, one if filled_by_us else LeanMinHash(other))
        reference.insert(number, other)
    asked = made if filled_by_us else ours
    found = [sorted(index.query(minhash)) for minhash in asked]
    assert found == [sorted(reference.query(minhash)) for minhash in made]
    assert sum(len(rows) > 1 for rows in found) > 20


@pytest.mark.parametrize("scheme", ["affine32", "affine64", "legacy"])
def test_our_groups_of_their_signatures_are_their_buckets(corpus: list[str], scheme: str) -> None:
    minhashes = []
    for text in corpus:
        minhash = MinHash(num_perm=128, scheme=scheme)
        for shingle in {
            tuple(text.split()[start : start + 3]) for start in range(len(text.split()) - 2)
        }:
            minhash.update(" ".join(shingle).encode())
        minhashes.append(minhash)
    bands, rows = 20, 6
    keys, has_signature = from_datasketch(minhashes, bands, rows)
    groups = candidate_groups(keys, has_signature)
    ours = {
        pair for group in range(len(groups)) for pair in combinations(groups[group].tolist(), 2)
    }
    index = MinHashLSH(num_perm=128, params=(bands, rows))
    for number, minhash in enumerate(minhashes):
        index.insert(number, minhash)
    buckets = {
        tuple(sorted((number, other)))
        for number, minhash in enumerate(minhashes)
        for other in index.query(minhash)
        if other != number
    }
    assert ours == buckets
    assert len(ours) >= 15
    assert has_signature.tolist() == [*[True] * (len(corpus) - 1), False]


def test_their_signatures_carry_our_greedy_verification(corpus: list[str]) -> None:
    texts = column(corpus)
    keys, has_signature = from_datasketch(list(to_datasketch(texts, 3, 120)), bands=20, rows=6)
    groups = candidate_groups(keys, has_signature)
    sets = shingle_sets(texts, MinHashConfig(ngrams=3), wanted=groups.candidates(len(texts)))
    verdict = greedy_keep(np.arange(len(texts)), groups, sets, threshold=0.6)
    assert set(verdict.document.tolist()) <= set(range(40, 60))
    assert len(verdict.document) >= 10
    assert (verdict.document - verdict.kept_document == 40).all()


@pytest.mark.parametrize(
    ("minhashes", "bands", "rows", "field"),
    [
        ([MinHash(128), MinHash(64)], 4, 4, "minhashes"),
        ([MinHash(64, seed=1), MinHash(64, seed=2)], 4, 4, "minhashes"),
        ([MinHash(64), MinHash(64, scheme="legacy")], 4, 4, "minhashes"),
        ([MinHash(64)], 9, 8, "bands * rows"),
        ([MinHash(64)], 0, 8, "bands"),
    ],
)
def test_signatures_that_do_not_fit_are_refused(
    minhashes: list[MinHash], bands: int, rows: int, field: str
) -> None:
    with pytest.raises(UserError) as caught:
        from_datasketch(minhashes, bands, rows)
    assert caught.value.field == field


def test_no_signatures_have_no_keys_and_no_shingle_has_no_hash() -> None:
    assert from_datasketch([], 3, 2)[0].shape == (0, 3)
    with pytest.raises(ValueError, match="not one shingle"):
        shingle_hashfunc(5)(b"only four words here")
    with pytest.raises(UserError):
        datasketch_values(column(["a"]), 5, 0)
