from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.ids import binary16
from dedup.exact import keep_first

# Hashes that agree in one half only must not be taken for equal.
HASHES = [
    half + other
    for half in (b"\0" * 8, b"\xff" * 8, b"abcdefgh")
    for other in (b"\0" * 8, b"\xff" * 8, b"12345678")
]
rows = st.lists(st.sampled_from(HASHES), max_size=30)


@given(rows, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_most_wanted_row_of_each_hash_stays(hashes: list[bytes], random: object) -> None:
    priority = list(range(len(hashes)))
    random.shuffle(priority)  # type: ignore[attr-defined]
    kept, kept_row, cluster_size = keep_first(
        binary16(b"".join(hashes)), np.array(priority, np.int64)
    )
    for row, value in enumerate(hashes):
        copies = [other for other in range(len(hashes)) if hashes[other] == value]
        first = min(copies, key=priority.__getitem__)
        assert (kept[row], kept_row[row], cluster_size[row]) == (row == first, first, len(copies))


def test_slices_are_respected() -> None:
    whole = binary16(b"".join([HASHES[0], HASHES[1], HASHES[1], HASHES[2]]))
    kept, kept_row, cluster_size = keep_first(whole.slice(1, 2), np.array([1, 0]))
    assert (kept.tolist(), kept_row.tolist(), cluster_size.tolist()) == (
        [False, True],
        [1, 1],
        [2, 2],
    )


def test_no_rows() -> None:
    assert [len(column) for column in keep_first(binary16(b""), np.zeros(0, np.int64))] == [0, 0, 0]


def test_other_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        keep_first(pa.array([b"abcd"], pa.binary(4)), np.zeros(1, np.int64))
    with pytest.raises(ValueError, match="1 nulls"):
        keep_first(pa.array([None], pa.binary(16)), np.zeros(1, np.int64))
    with pytest.raises(ValueError, match="2 hashes but 1 priorities"):
        keep_first(binary16(b"\0" * 32), np.zeros(1, np.int64))
