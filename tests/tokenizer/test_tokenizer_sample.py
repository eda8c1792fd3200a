"""The choice of training documents: shares in bytes, by keyed hash, with a report."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from artifacts.ids import document_ids, native_key
from tokenizer.sample import Available, weighted_sample


def available(source: str, sizes: list[int]) -> Available:
    return Available(
        document_ids(source, [native_key(str(number)) for number in range(len(sizes))]),
        np.array(sizes, np.int64),
    )


SIZES = st.lists(st.integers(0, 500), max_size=40)


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.tuples(SIZES, SIZES),
    weight=st.floats(0.1, 10),
    budget=st.integers(1, 8000),
    longest=st.integers(1, 300),
)
def test_each_source_meets_its_share_or_gives_all(
    sizes: tuple[list[int], list[int]], weight: float, budget: int, longest: int
) -> None:
    sources = {"a": available("a", sizes[0]), "b": available("b", sizes[1])}
    try:
        sample = weighted_sample(sources, {"a": weight, "b": 1.0}, budget, 3, longest)
    except UserError:
        assert all(size == 0 for column in sizes for size in column) or budget == 1
        return
    for share in sample.shares:
        counted = np.minimum(sources[share.source].bytes, longest)
        assert share.bytes_taken == counted[sample.rows[share.source]].sum()
        assert share.bytes_available == counted.sum()
        assert (
            share.bytes_taken >= share.bytes_wanted
            or share.documents_taken == share.documents_available
        )
        assert share.bytes_taken < share.bytes_wanted + longest
        assert share.bytes_short == max(0, share.bytes_wanted - share.bytes_available)


@settings(deadline=None, max_examples=60)
@given(order=st.permutations(range(25)))
def test_the_choice_does_not_depend_on_the_order_of_documents(order: list[int]) -> None:
    sizes = np.arange(10, 35)
    documents = available("a", sizes.tolist())
    chosen = weighted_sample({"a": documents}, {"a": 1.0}, 200, 1, 1000).rows["a"]
    shuffled = Available(documents.ids.take(pa.array(order)), documents.bytes[order])
    again = weighted_sample({"a": shuffled}, {"a": 1.0}, 200, 1, 1000).rows["a"]
    assert sorted(np.array(order)[again]) == chosen.tolist()


def test_another_seed_chooses_other_documents() -> None:
    sources = {"a": available("a", [10] * 200)}
    first, second = (
        weighted_sample(sources, {"a": 1}, 500, seed, 100).rows["a"].tolist() for seed in (1, 2)
    )
    assert first != second


def test_a_small_source_is_reported_short() -> None:
    sources = {"a": available("a", [100] * 50), "b": available("b", [100])}
    shares = weighted_sample(sources, {"a": 1, "b": 1}, 2000, 1, 1000).shares
    assert [
        (share.source, share.bytes_wanted, share.bytes_taken, share.bytes_short) for share in shares
    ] == [
        ("a", 1000, 1000, 0),
        ("b", 1000, 100, 900),
    ]


@pytest.mark.parametrize(
    "weights",
    [{}, {"webb": 1.0}, {"web": 0.0}, {"web": float("nan")}, {"web": -1.0}, {"web": float("inf")}],
)
def test_bad_weights_are_user_errors(weights: dict[str, float]) -> None:
    with pytest.raises(UserError):
        weighted_sample({"web": available("web", [5])}, weights, 10, 1, 10)


def test_an_empty_sample_is_a_user_error() -> None:
    with pytest.raises(UserError, match="empty"):
        weighted_sample({"web": available("web", [])}, {"web": 1.0}, 10, 1, 10)
