from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dedup.shingles import ShingleSets, place_constants, shingle_sets, sort_radix, splitmix64
from dedup.words import BLOCK
from tests.dedup.dedup_model import column, shingles_of

texts = st.text(st.sampled_from("abc ,中\n"), max_size=80)


@given(st.lists(texts, max_size=4), st.integers(1, 7))
@settings(max_examples=150, deadline=None)
def test_sets_are_those_of_the_plain_model(batch: list[str], ngrams: int) -> None:
    sets = shingle_sets(column(batch), ngrams)
    assert [sets[k].tolist() for k in range(len(sets))] == [
        sorted(set(shingles_of(text, ngrams))) for text in batch
    ]


@pytest.mark.parametrize("ngrams", [1, 5, 256])
@pytest.mark.parametrize("words", [BLOCK - 3, BLOCK, 2 * BLOCK + 300])
def test_blocks_leave_no_seam(words: int, ngrams: int) -> None:
    text = " ".join(f"w{k}" for k in range(words))
    sets = shingle_sets(column([text]), ngrams)
    assert len(sets[0]) == max(0, words - ngrams + 1)
    if ngrams == 5:
        assert sets[0].tolist() == sorted(shingles_of(text, ngrams))


def test_unwanted_texts_have_the_empty_set_and_others_keep_theirs() -> None:
    batch = column(["a b c d", "e f g h", "i j k l"])
    every = shingle_sets(batch, 2)
    some = shingle_sets(batch, 2, np.array([True, False, True]))
    assert [len(some[k]) for k in range(3)] == [3, 0, 3]
    assert some[2].tolist() == every[2].tolist()
    assert shingle_sets(batch.slice(2, 1), 2)[0].tolist() == every[2].tolist()


def test_no_text_and_short_texts_give_empty_sets() -> None:
    assert len(shingle_sets(column([]), 5)) == 0
    sets = shingle_sets(column(["", "one two three four", "!!"]), 5)
    assert sets.offsets.tolist() == [0, 0, 0, 0]
    assert sets.nbytes == 4 * 8


def test_the_order_of_words_counts() -> None:
    sets = shingle_sets(column(["a b c", "c b a", "a c b"]), 3)
    assert len({tuple(sets[k]) for k in range(3)}) == 3


@given(
    arrays.arrays(
        np.uint64,
        st.integers(0, 300),
        elements=st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**63, 2**64 - 1])),
    )
)
@settings(deadline=None)
def test_radix_sort_sorts_a_slice_and_nothing_else(keys: np.ndarray) -> None:
    first, last = len(keys) // 4, len(keys) - len(keys) // 4
    expected = keys.copy()
    expected[first:last] = np.sort(keys[first:last])
    sort_radix(keys, first, last, np.empty(len(keys), np.uint64))
    assert keys.tolist() == expected.tolist()


def test_splitmix64_gives_the_published_sequence() -> None:
    # The first outputs for the seed 1234567, as the generator's authors and Rosetta Code publish them.
    assert splitmix64(1234567, 3).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_constants_of_longer_shingles_extend_those_of_shorter_ones() -> None:
    assert place_constants(13)[:8].tolist() == place_constants(8).tolist()
    assert np.all(place_constants(256) & np.uint64(1) == 1)


def test_sets_read_like_a_sequence() -> None:
    sets = ShingleSets(np.array([0, 2, 2]), np.array([3, 5], np.uint64))
    assert (len(sets), sets[0].tolist(), sets[1].tolist()) == (2, [3, 5], [])
