from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.same_words import same_words_hashes
from tests.dedup.dedup_model import column, words_of

texts = st.lists(
    st.text(st.sampled_from("abAÀé ,.字語한ß1ـ\n️\U00020000\U0001f600"), max_size=8), max_size=14
)


@given(texts)
@settings(max_examples=300, deadline=None)
def test_hashes_are_equal_where_the_words_of_the_model_are(found: list[str]) -> None:
    hashes, has_words = same_words_hashes(column(found))
    words = [tuple(words_of(text)) for text in found]
    assert has_words.tolist() == [bool(of_text) for of_text in words]
    pairs = [tuple(row) for row in hashes.tolist()]
    for one, first in enumerate(words):
        for other, second in enumerate(words):
            assert (pairs[one] == pairs[other]) == (first == second)
            if first != second and first and second:
                assert pairs[one][0] != pairs[other][0]
                assert pairs[one][1] != pairs[other][1]


def test_long_texts_hash_beyond_one_block_and_order_counts() -> None:
    words = [f"w{number}" for number in range(9000)]
    swapped = [*words[:-2], words[-1], words[-2]]
    hashes, _ = same_words_hashes(
        column(
            [
                " ".join(words),
                "  ".join(words).upper() + "!",
                " ".join(swapped),
                " ".join(words[:-1]),
            ]
        )
    )
    assert (hashes[0] == hashes[1]).all()
    assert len({tuple(row) for row in hashes.tolist()}) == 3


def test_a_slice_is_hashed_by_its_own_rows() -> None:
    whole = column(["one two", "", "Three, four", "x"])
    hashes, has_words = same_words_hashes(whole)
    part, part_words = same_words_hashes(whole.slice(1, 2))
    assert (part == hashes[1:3]).all()
    assert part_words.tolist() == has_words[1:3].tolist() == [False, True]
