"""Hashes that occur too often among the texts looked at together."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dedup.spans.spans import crowded


@given(
    st.lists(st.integers(0, 9) | st.integers(0, 2**64 - 1), max_size=60),
    st.integers(0, 12),
)
def test_it_is_those_that_are_counted_more_often(values: list[int], most: int) -> None:
    counts = Counter(values)
    found = crowded(np.array(values, np.uint64), most)
    assert found.tolist() == [counts[value] > most for value in values]
