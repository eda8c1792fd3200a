from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from dedup.ngrams import OVERLAP, SHORTEST, NgramIndex
from dedup.words import BLOCK
from tests.dedup.dedup_model import column, words_of

sentences = st.lists(st.sampled_from(["one", "Two", "three,", "中", "文 "]), max_size=20).map(
    " ".join
)


def item_ngrams_of(item: str, ngrams: int) -> set[tuple[str, ...]]:
    words = words_of(item)
    if SHORTEST <= len(words) < ngrams:
        return {tuple(words)}
    return {tuple(words[k : k + ngrams]) for k in range(len(words) - ngrams + 1)}


def overlap_of(
    text: str, items: list[str], ngrams: int, max_document_frequency: int
) -> dict[str, object]:
    """One row of the overlap, in plain Python."""
    of_items = [item_ngrams_of(item, ngrams) for item in items]
    every = [gram for grams in of_items for gram in grams]
    of_items = [
        {gram for gram in grams if every.count(gram) <= max_document_frequency}
        for grams in of_items
    ]
    indexed = set().union(*of_items)
    words = words_of(text)
    places = {
        tuple(words[k : k + length]): k
        for length in range(SHORTEST, ngrams + 1)
        for k in reversed(range(len(words) - length + 1))
    }
    found = indexed & places.keys()
    if not found:
        return {
            "matched": 0,
            "item": -1,
            "fraction": 0.0,
            "fullest_item": -1,
            "fullest_fraction": 0.0,
            "first_offset": -1,
        }
    hits = [len(grams & found) for grams in of_items]
    shares = [hit / len(grams) if grams else 0.0 for hit, grams in zip(hits, of_items, strict=True)]
    first = min(places[gram] for gram in found)
    raw = text.encode()
    starts = [
        k
        for k in range(len(raw))
        if raw[k] & 0xC0 != 0x80 and len(words_of(raw[k:].decode())) == len(words) - first
    ]
    offset = max(start for start in starts if words_of(raw[start:].decode()) == words[first:])
    return {
        "matched": len(found),
        "item": hits.index(max(hits)),
        "fraction": float(np.float32(shares[hits.index(max(hits))])),
        "fullest_item": shares.index(max(shares)),
        "fullest_fraction": float(np.float32(max(shares))),
        "first_offset": offset,
    }


@given(
    st.lists(sentences, max_size=5),
    st.lists(sentences, max_size=3),
    st.sampled_from([8, 9, 13]),
    st.integers(1, 3),
    st.data(),
)
@settings(max_examples=200, deadline=None)
def test_overlaps_are_those_of_the_plain_model(
    items: list[str],
    texts: list[str],
    ngrams: int,
    max_document_frequency: int,
    data: st.DataObject,
) -> None:
    texts = [text + " " + data.draw(st.sampled_from(["", *items])) for text in texts]
    index = NgramIndex.build(column(items), ngrams, max_document_frequency)
    assert index.overlap(column(texts)).to_pylist() == [
        overlap_of(text, items, ngrams, max_document_frequency) for text in texts
    ]


QUESTION = "A train leaves the station at noon and travels sixty miles per hour; how far does it go by four o'clock in the afternoon?"


def test_a_copied_question_is_found_whatever_its_case_and_punctuation() -> None:
    index = NgramIndex.build(column(["Unrelated words " * 10, QUESTION]))
    text = (
        "Blog post.\n\n"
        + QUESTION.upper().replace(" ", "  ").replace(";", " --")
        + "\n\nThanks for reading"
    )
    row = index.overlap(column([text])).to_pylist()[0]
    assert (row["item"], row["fraction"], row["fullest_item"], row["fullest_fraction"]) == (
        1,
        1.0,
        1,
        1.0,
    )
    assert row["matched"] == len(words_of(QUESTION)) - 12
    assert text[row["first_offset"] :].startswith("A  TRAIN")


def test_half_a_question_gives_its_share() -> None:
    items = [" ".join(f"w{k}" for k in range(32))]  # 20 n-grams of 13 words
    text = " ".join(f"w{k}" for k in range(22))  # holds 10 of them
    row = NgramIndex.build(column(items)).overlap(column([text])).to_pylist()[0]
    assert (row["matched"], row["fraction"]) == (10, 0.5)


def test_short_items_count_as_a_whole_from_eight_words_on() -> None:
    items = ["a b c d e f g h", "i j k l m n o", "p q r s t u v w x y z 1"]
    index = NgramIndex.build(column(items))
    assert index.item_ngrams.tolist() == [1, 0, 1]
    rows = index.overlap(
        column(
            ["x a b c d e f g h x", "a b c d e f g", "i j k l m n o", "0 p q r s t u v w x y z 1"]
        )
    ).to_pylist()
    assert [row["item"] for row in rows] == [0, -1, -1, 2]
    assert [row["first_offset"] for row in rows] == [2, -1, -1, 2]


def test_the_wording_of_the_form_is_left_out() -> None:
    form = "which of the following statements best describes the main idea of the passage above please choose one"
    items = [f"{form} {k} alpha{k} beta{k} gamma{k} delta{k} a b c d e f g h i j" for k in range(4)]
    index = NgramIndex.build(column(items), max_document_frequency=3)
    assert index.overlap(column([form]))["matched"].to_pylist() == [0]
    assert index.overlap(column([items[2]])).to_pylist()[0]["fraction"] == 1.0
    assert (
        NgramIndex.build(column(items), max_document_frequency=4)
        .overlap(column([form]))["matched"]
        .to_pylist()[0]
        > 0
    )


def test_a_short_item_beside_a_passage_of_a_long_one_is_named_as_the_fullest() -> None:
    long_item = " ".join(f"l{k}" for k in range(200))
    short_item = " ".join(f"s{k}" for k in range(14))
    text = " ".join(f"l{k}" for k in range(40)) + " " + short_item
    row = NgramIndex.build(column([long_item, short_item])).overlap(column([text])).to_pylist()[0]
    assert (row["item"], row["fullest_item"], row["fullest_fraction"]) == (0, 1, 1.0)


@pytest.mark.parametrize("before", [0, BLOCK - 20, BLOCK - 5, BLOCK, 3 * BLOCK - 14])
def test_a_hit_across_the_blocks_of_a_long_text_is_found_at_its_place(before: int) -> None:
    item = " ".join(f"w{k}" for k in range(20))
    filler = "é " * before
    row = (
        NgramIndex.build(column([item]))
        .overlap(column([filler + item + " tail" * 50]))
        .to_pylist()[0]
    )
    assert (row["matched"], row["fraction"], row["first_offset"]) == (8, 1.0, len(filler.encode()))


def test_texts_do_not_leak_into_each_other_and_slices_are_respected() -> None:
    item = " ".join(f"w{k}" for k in range(15))
    index = NgramIndex.build(column(["x", item]).slice(1))
    batch = column([item, "nothing", item, "", " ".join(f"w{k}" for k in range(13))])
    assert index.overlap(batch)["matched"].to_pylist() == [3, 0, 3, 0, 1]
    assert index.overlap(batch.slice(2, 3)).to_pylist() == index.overlap(batch).to_pylist()[2:]
    halves = column([" ".join(f"w{k}" for k in range(8)), " ".join(f"w{k}" for k in range(8, 15))])
    assert index.overlap(halves)["matched"].to_pylist() == [0, 0]


def test_an_empty_index_finds_nothing_and_no_texts_give_no_rows() -> None:
    index = NgramIndex.build(column([]))
    assert index.overlap(column(["any text " * 20])).to_pylist()[0]["item"] == -1
    empty = index.overlap(column([]))
    assert isinstance(empty, pa.RecordBatch)
    assert (empty.num_rows, empty.schema) == (0, OVERLAP)


def test_an_index_survives_as_arrays() -> None:
    index = NgramIndex.build(column([QUESTION, "one two three four five six seven eight nine"]))
    again = NgramIndex.from_arrays(index.to_arrays())
    batch = column([QUESTION, "zero one two three four five six seven eight nine ten"])
    assert again.overlap(batch).equals(index.overlap(batch))
    assert again.overlap(batch)["item"].to_pylist() == [0, 1]


def test_arrays_of_something_else_are_refused() -> None:
    arrays = NgramIndex.build(column([QUESTION])).to_arrays()
    with pytest.raises(ValueError, match="items missing"):
        NgramIndex.from_arrays({name: values for name, values in arrays.items() if name != "items"})
    for name, values in {
        "hashes": arrays["hashes"][::-1],
        "items": arrays["items"] + 1,
        "item_offsets": arrays["item_offsets"][:-1],
        "lengths": arrays["lengths"] + 1,
        "ngrams": np.array([0]),
    }.items():
        with pytest.raises(ValueError, match="contradict"):
            NgramIndex.from_arrays({**arrays, name: values})


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("ngrams", {"ngrams": 7}),
        ("ngrams", {"ngrams": 257}),
        ("max_document_frequency", {"max_document_frequency": 0}),
    ],
)
def test_a_wrong_parameter_is_named(field: str, arguments: dict[str, int]) -> None:
    with pytest.raises(UserError) as caught:
        NgramIndex.build(column([QUESTION]), **arguments)
    assert caught.value.field == field


def test_the_algorithm_names_what_decides_an_overlap() -> None:
    one, other = (
        NgramIndex.build(column([QUESTION])).algorithm,
        NgramIndex.build(column([QUESTION]), ngrams=9).algorithm,
    )
    assert one != other
    assert "unicode" in one


@settings(max_examples=100, deadline=None)
@given(st.lists(sentences, min_size=1, max_size=4), st.lists(sentences, max_size=5))
def test_the_coverage_of_an_item_is_the_largest_share_that_a_text_holds(
    items: list[str], texts: list[str]
) -> None:
    index = NgramIndex.build(column(items), 8, 2)
    of_items = [item_ngrams_of(item, 8) for item in items]
    every = [gram for grams in of_items for gram in grams]
    of_items = [{gram for gram in grams if every.count(gram) <= 2} for grams in of_items]
    expected = [0.0] * len(items)
    for text in texts:
        words = words_of(text)
        held = {tuple(words[k : k + 8]) for k in range(len(words) - 7)}
        for place, grams in enumerate(of_items):
            if grams:
                expected[place] = max(expected[place], len(grams & held) / len(grams))
    overlap, coverage = index.overlap_and_coverage(column(texts))
    assert np.allclose(coverage, expected)
    assert overlap.equals(index.overlap(column(texts)))


def test_a_text_of_many_items_covers_them_all() -> None:
    items = [" ".join(f"{name}{k}" for k in range(12)) for name in ("alpha", "beta", "gamma")]
    index = NgramIndex.build(column(items), 8)
    _, coverage = index.overlap_and_coverage(column([". ".join(items[:2])]))
    assert coverage.tolist() == [1.0, 1.0, 0.0]
