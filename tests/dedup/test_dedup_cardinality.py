"""Registers against datasketch's own, fed with the shingles of the plain model."""

from __future__ import annotations

import numpy as np
import pytest
from datasketch import HyperLogLogPlusPlus
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from dedup.near.cardinality import to_hyperloglog
from tests.dedup.dedup_model import column, shingles_of

texts = st.lists(st.text(st.sampled_from("ab é字.\n"), max_size=60), max_size=5)


def theirs(found: list[str], ngrams: int, p: int) -> HyperLogLogPlusPlus:
    sketch = HyperLogLogPlusPlus(p=p, hashfunc=lambda value: value)
    for text in found:
        for shingle in shingles_of(text, ngrams):
            sketch.update(shingle)
    return sketch


@given(texts, st.integers(1, 3), st.sampled_from([4, 8, 16]))
@settings(max_examples=150, deadline=None)
def test_registers_are_datasketch_s(found: list[str], ngrams: int, p: int) -> None:
    ours, other = to_hyperloglog(column(found), ngrams, p), theirs(found, ngrams, p)
    assert (ours.reg == other.reg).all()
    assert ours.reg.dtype == other.reg.dtype
    assert ours.count() == other.count()


@pytest.mark.slow
def test_sketches_of_parts_merge_to_that_of_the_whole_and_count_within_the_error() -> None:
    found = [
        " ".join(f"w{(number * 7919) % 40_000}" for number in range(start, start + 9000))
        for start in range(0, 40_000, 4000)
    ]
    whole, merged = to_hyperloglog(column(found)), to_hyperloglog(column(found[:3]))
    merged.merge(to_hyperloglog(column(found[3:])))
    assert (merged.reg == whole.reg).all()
    distinct = len({shingle for text in found for shingle in shingles_of(text, 5)})
    assert whole.count() == pytest.approx(distinct, rel=4 * 1.04 / 2**7)


def test_no_text_has_no_shingle_and_numbers_out_of_range_are_named() -> None:
    assert to_hyperloglog(column([])).count() == 0
    assert not np.any(to_hyperloglog(column(["one two"])).reg)
    for settings_, field in (({"p": 3}, "p"), ({"p": 17}, "p"), ({"ngrams": 0}, "ngrams")):
        with pytest.raises(UserError) as caught:
            to_hyperloglog(column(["a"]), **settings_)
        assert caught.value.field == field
