"""The radix order against numpy's stable sort."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedup.spans.radix import stable_order


@given(
    st.lists(
        st.one_of(
            st.integers(0, 2**64 - 1),
            st.integers(0, 5),
            st.sampled_from([1 << 63, (1 << 63) + 1, 1 << 11]),
        ),
        max_size=80,
    )
)
def test_numbers_are_ordered_and_equal_ones_keep_their_order(values: list[int]) -> None:
    keys = np.array(values, np.uint64)
    assert stable_order(keys).tolist() == np.argsort(keys, kind="stable").tolist()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**40)), max_size=60))
def test_several_columns_are_sorted_the_last_given_first(pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array([pair[k] for pair in pairs], np.int64) for k in range(2))
    assert (
        stable_order(first, stable_order(second)).tolist() == np.lexsort((second, first)).tolist()
    )


@pytest.mark.parametrize("rows", [0, 1, 100_000])
def test_what_is_given_is_left_as_it_was(rows: int) -> None:
    keys = np.random.default_rng(3).integers(0, 1 << 62, rows)
    before = keys.copy()
    order = stable_order(keys)
    assert (keys == before).all()
    assert (np.diff(keys[order]) >= 0).all()
