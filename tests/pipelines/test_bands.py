"""Conditions of bands: who goes where, and what contradicts itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from artifacts.ids import as_words, binary16
from pipelines.shards.split import assign, check_bands
from pipelines.shards.split_work import among

FIELD = "shards.split.web.bands"
NAN = float("nan")


def ids_of(numbers: list[int]) -> object:
    return binary16(b"".join(number.to_bytes(16, "big") for number in numbers))


def bands(values: list[float], conditions: list[str], ids: list[int] | None = None) -> list[int]:
    return assign(
        np.array(values, np.float64), ids_of(ids or list(range(len(values)))), conditions
    ).tolist()


def test_a_document_goes_to_the_first_band_whose_threshold_it_meets() -> None:
    values = [0.9, 0.8, 0.79, 0.5, 0.1, NAN]
    assert bands(values, [">= 0.8", ">= 0.5", "rest"]) == [0, 0, 1, 1, 2, 2]
    assert bands(values, ["> 0.8", "<= 0.5", "rest"]) == [0, 2, 2, 1, 1, 2]
    assert bands(values, ["< 0.5", ">= .5"]) == [1, 1, 1, 1, 0, -1]
    assert bands([float("inf"), -float("inf"), -1e-3], [">= 1e3", "< -1e-2", "rest"]) == [0, 1, 2]


def test_shares_are_counts_of_documents_with_a_number_and_ties_go_by_id() -> None:
    values = [5.0, 1.0, 5.0, NAN, 5.0, 2.0]
    assert bands(values, ["top 40%", "rest"]) == [0, 1, 0, 1, 1, 1]
    assert bands(values, ["top 40%", "rest"], ids=[9, 8, 7, 6, 5, 4]) == [1, 1, 0, 1, 0, 1]
    assert bands(values, ["bottom 40%", "rest"]) == [1, 0, 1, 1, 1, 0]
    assert bands(values, ["top 20%", "top 60%", "rest"]) == [0, 2, 1, 2, 1, 2]
    assert bands(values, ["top 100%", "rest"]) == [0, 0, 0, 1, 0, 0]


NUMBERS = st.lists(st.one_of(st.integers(-5, 5).map(float), st.just(NAN)), max_size=40)


@settings(deadline=None)
@given(
    values=NUMBERS,
    percents=st.lists(st.integers(1, 1000), min_size=1, max_size=4, unique=True),
    order=st.randoms(),
)
def test_shares_do_not_depend_on_the_order_of_documents_and_take_what_they_say(
    values: list[float], percents: list[int], order: object
) -> None:
    conditions = [f"top {percent / 10}%" for percent in sorted(percents)] + ["rest"]
    numbers = list(range(len(values)))
    plain = bands(values, conditions, numbers)
    order.shuffle(numbers)
    assert bands([values[number] for number in numbers], conditions, numbers) == [
        plain[number] for number in numbers
    ]
    known = sum(value == value for value in values)
    for place, percent in enumerate(sorted(percents)):
        assert sum(band <= place for band in plain) == (known * percent + 500) // 1000
    ranked = sorted((-value, number) for number, value in enumerate(values) if value == value)
    assert [plain[number] for _, number in ranked] == sorted(plain[number] for _, number in ranked)


@pytest.mark.parametrize(
    ("conditions", "message", "field"),
    [
        ({"a": ">= 1", "b": "maybe"}, "not a condition of a band", f"{FIELD}.b"),
        ({"a": ">= one", "b": "rest"}, "not a condition of a band", f"{FIELD}.a"),
        ({"a": ">= nan", "b": "rest"}, "not a condition of a band", f"{FIELD}.a"),
        ({"a": "top 0%", "b": "rest"}, "above 0%", f"{FIELD}.a"),
        ({"a": "top 101%", "b": "rest"}, "at most 100%", f"{FIELD}.a"),
        ({"a": "rest", "b": "rest"}, "two bands take the rest", f"{FIELD}.b"),
        ({"a": "top 10%", "b": ">= 1", "c": "rest"}, "not by both", FIELD),
        (
            {"a": ">= 1", "b": ">= 2", "c": "rest"},
            "the bands before take every document",
            f"{FIELD}.b",
        ),
        (
            {"a": ">= 1", "b": "> 1", "c": "rest"},
            "the bands before take every document",
            f"{FIELD}.b",
        ),
        (
            {"a": "top 50%", "b": "top 20%", "c": "rest"},
            "the bands before take every document",
            f"{FIELD}.b",
        ),
        (
            {"a": "< 2", "b": "<= 1", "c": "rest"},
            "the bands before take every document",
            f"{FIELD}.b",
        ),
        (
            {"a": ">= 1", "b": "<= 1", "c": "< 0"},
            "the bands before take every document",
            f"{FIELD}.c",
        ),
        (
            {"a": "top 60%", "b": "bottom 60%", "c": "bottom 80%"},
            "the bands before take every document",
            f"{FIELD}.c",
        ),
        ({"a": ">= 1", "b": ">= 0.5"}, "some numbers belong to no band", FIELD),
        ({"a": "> 1", "b": "< 1"}, "some numbers belong to no band", FIELD),
        ({"a": "top 30%", "b": "bottom 30%"}, "some numbers belong to no band", FIELD),
        ({"a-validation": ">= 1", "b": "rest"}, "held-out", f"{FIELD}.a-validation"),
    ],
)
def test_bands_that_contradict_themselves_are_refused(
    conditions: dict[str, str], message: str, field: str
) -> None:
    with pytest.raises(UserError, match=message) as raised:
        check_bands(conditions, FIELD)
    assert raised.value.field == field
    assert raised.value.fix


@pytest.mark.parametrize(
    "conditions",
    [
        {"a": ">= 1", "b": "< 1"},
        {"a": "> 1", "b": "<= 1"},
        {"a": ">= 1", "b": "<= 1"},
        {"a": "<= 0", "b": ">= 1", "c": "rest"},
        {"a": "top 30%", "b": "bottom 70%"},
        {"a": "top 10%", "b": "top 30%", "c": "bottom 30%", "d": "rest"},
        {"a": "rest", "b": ">= 1"},
    ],
)
def test_bands_that_take_every_number_are_accepted(conditions: dict[str, str]) -> None:
    check_bands(conditions, FIELD)
    values = [value / 4 for value in range(-8, 9)]
    assert min(bands(values, list(conditions.values()))) >= 0


@settings(deadline=None)
@given(
    sets=st.tuples(
        *[
            st.lists(
                st.tuples(st.binary(min_size=1, max_size=1), st.binary(min_size=1, max_size=1)),
                max_size=12,
            )
        ]
        * 2
    )
)
def test_ids_are_found_by_all_of_their_bytes(
    sets: tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]],
) -> None:
    wanted, others = (
        [bytes([0x80]) * 7 + first + second * 8 for first, second in pairs] for pairs in sets
    )
    mixed = [*others, *wanted[::2], bytes(16), b"\xff" * 16, b"a" + bytes(15)]
    expected = [one in wanted for one in mixed]
    assert (
        among(binary16(b"".join(mixed)), as_words(binary16(b"".join(sorted(set(wanted)))))).tolist()
        == expected
    )
