"""Repeated lines and paragraphs against a plain dictionary of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from dedup.spans.lines import repeated_lines
from dedup.spans.spans import Spans, cut
from tests.dedup.dedup_model import column
from tests.dedup.span_model import cut_pieces, pieces

LINES = (
    "",
    "",
    "  ",
    "a b",
    "a b ",
    "  a b",
    "one two three",
    "中文",
    "}",
    "\tone two",
    "été et\r",
)
TEXTS = st.lists(st.sampled_from(LINES), max_size=8).map("\n".join)


@st.composite
def corpora(draw: st.DrawFn) -> tuple[list[str], list[int]]:
    texts = draw(st.lists(TEXTS, min_size=1, max_size=5))
    return texts, draw(st.permutations(range(len(texts))))


def rows_of(spans: Spans) -> list[tuple[int, ...]]:
    return list(
        zip(
            *(
                values.tolist()
                for values in (spans.row, spans.start, spans.end, spans.kept_row, spans.kept_start)
            ),
            strict=True,
        )
    )


@given(corpora(), st.sampled_from(["line", "paragraph"]), st.integers(1, 3), st.integers(1, 3))
def test_the_pieces_cut_are_those_that_stood_often_enough_before(
    corpus: tuple[list[str], list[int]], unit: Any, least: int, times: int
) -> None:
    texts, priority = corpus
    spans = repeated_lines(column(texts), np.array(priority), unit, least, times)
    wanted = cut_pieces(texts, priority, unit, least, times)
    covered = {
        (row, place) for row, start, end, *_ in rows_of(spans) for place in range(start, end)
    }
    for row, text in enumerate(texts):
        for start, end in pieces(text, unit):
            inside = {(row, place) for place in range(start, end)}
            assert inside <= covered if (row, start, end) in wanted else not inside & covered
    raw = [text.encode() for text in texts]
    for row, start, end, kept_row, kept_start in rows_of(spans):
        assert raw[row][start:end] == raw[kept_row][kept_start : kept_start + end - start]
        assert (priority[kept_row], kept_start) < (priority[row], start)


@given(corpora(), st.sampled_from(["line", "paragraph"]), st.randoms())
def test_the_order_of_rows_changes_nothing(
    corpus: tuple[list[str], list[int]], unit: Any, random: Any
) -> None:
    texts, priority = corpus
    order = list(range(len(texts)))
    random.shuffle(order)
    moved = repeated_lines(
        column([texts[row] for row in order]), np.array([priority[row] for row in order]), unit, 1
    )
    back = [
        (order[row], start, end, order[kept], kept_start)
        for row, start, end, kept, kept_start in rows_of(moved)
    ]
    assert sorted(back) == sorted(
        rows_of(repeated_lines(column(texts), np.array(priority), unit, 1))
    )


def test_a_line_goes_with_its_line_end_and_a_paragraph_with_its_empty_lines() -> None:
    footer = "All rights reserved by the owners of this page."
    texts = [f"First.\n\n{footer}\n\nMore.\n", f"Second.\n\n{footer}\n\nMore to come.\n"]
    for unit, left in (
        ("line", "Second.\n\n\nMore to come.\n"),
        ("paragraph", "Second.\n\nMore to come.\n"),
    ):
        spans = repeated_lines(column(texts), np.array([0, 1]), unit, 5)  # type: ignore[arg-type]
        assert cut(column(texts), spans.row, spans.start, spans.end)[0].to_pylist() == [
            texts[0],
            left,
        ]


def test_lines_that_follow_one_another_in_both_texts_are_one_span() -> None:
    menu = "".join(f"entry {number} of the long menu\n" for number in range(9))
    texts = [menu + "first", menu + "second"]
    assert rows_of(repeated_lines(column(texts), np.array([0, 1]), "line", 3)) == [
        (1, 0, len(menu), 0, 0)
    ]


@pytest.mark.parametrize(
    ("field", "settings"),
    [("unit", ("word", 1, 1)), ("least", ("line", 0, 1)), ("times", ("line", 1, 0))],
)
def test_settings_out_of_range_are_users_errors(field: str, settings: Any) -> None:
    with pytest.raises(UserError) as caught:
        repeated_lines(pa.array([], pa.large_string()), np.empty(0, np.int64), *settings)
    assert caught.value.field == field
