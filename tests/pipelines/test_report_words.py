"""Small things a report is made of: numbers in words, hidden characters, differences, bars."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.visible_text import visible
from pipelines.corpus.excerpts import one_line
from pipelines.report import numerals
from pipelines.report.drawing import Part, histogram, stacked_bar
from pipelines.report.word_diff import SHOWN, word_diff

WORDS = st.lists(st.sampled_from(["river", "stone", "水", "，", "letter", "\n"]), max_size=40).map(
    " ".join
)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.00 KB"),
        (5_421_155, "5.42 MB"),
        (36_000_000, "36.0 MB"),
        (999_400, "999 KB"),
        (999_600, "1.00 MB"),
    ],
)
def test_sizes_have_three_digits(value: int, shown: str) -> None:
    assert numerals.byte_size(value) == shown


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 0, "-"),
        (0, 5, "0 %"),
        (5, 5, "100 %"),
        (1, 3, "33.3 %"),
        (1, 15_000, "0.0067 %"),
        (99_999, 100_000, "100.00 %"),
        (1, 10**9, "< 0.001 %"),
    ],
)
def test_shares_say_something(part: int, whole: int, shown: str) -> None:
    assert numerals.share(part, whole) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.04, "0.0 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7620, "2 h 07 min"),
    ],
)
def test_durations_roll_over(seconds: float, shown: str) -> None:
    assert numerals.duration(seconds) == shown


def test_what_hides_or_turns_text_is_spelled_out() -> None:
    assert visible("a\u202eb\u200bc\x00d\x1be") == "a\\u202eb\\u200bc\\u0000d\\u001be"
    assert visible("line\n\ttab 水 é") == "line\n\ttab 水 é"


def test_cuts_are_marked() -> None:
    assert one_line("a  b\nc", 10) == "a b c"
    assert one_line("word " * 100, 9) == "word word …"
    assert one_line("first second third", 20, 2) == "… second third"


@given(WORDS, WORDS)
def test_pieces_of_a_difference_are_the_texts(left: str, right: str) -> None:
    found = word_diff(left, right)
    assert "".join(text for text, _ in found.left) == left
    assert "".join(text for text, _ in found.right) == right
    assert "".join(text for text, changed in found.left if not changed) == "".join(
        text for text, changed in found.right if not changed
    )
    assert found.identical == (left == right)


def test_a_late_difference_is_looked_for() -> None:
    same = "".join(f"line {number} of the same text\n" for number in range(200))
    found = word_diff(f"{same}one", f"{same}two")
    assert found.start > SHOWN
    assert ("one", True) in found.left
    assert ("two", True) in found.right


def test_what_hangs_over_a_cut_is_no_difference() -> None:
    text = "".join(f"word{number} " for number in range(400))
    assert not any(changed for _, changed in word_diff(f"{text}a", f"{text}b").left[:-1])
    assert sum(changed for _, changed in word_diff(f"new {text}", text).right) == 0


@pytest.mark.parametrize("text", ["x" * 2000, "word " + "x" * 2000])
def test_a_stretch_without_words_is_shown_as_far_as_there_is_room(text: str) -> None:
    found = word_diff(text, "other words")
    assert len("".join(piece for piece, _ in found.left)) == SHOWN


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=9))
def test_parts_of_a_bar_follow_one_another(values: list[int]) -> None:
    drawn = str(
        stacked_bar([Part(f"part {place}", value, "s0") for place, value in enumerate(values)])
    )
    places = [
        (float(x), float(width))
        for x, width in re.findall(r'x="([\d.]+)" y="0" width="([\d.]+)"', drawn)
    ]
    assert len(places) == sum(value > 0 for value in values)
    for (x, width), (following, _) in zip(places, places[1:], strict=False):
        assert following == pytest.approx(x + width, abs=0.02)


def test_charts_escape_their_labels() -> None:
    hostile = '"><script>'
    for drawn in (
        stacked_bar([Part(hostile, 1, "s0")], label=hostile),
        histogram([1], [1], [hostile], hostile).svg,
    ):
        assert "<script>" not in drawn
        assert drawn.count("&lt;script&gt;") >= 2


def test_columns_of_a_histogram_keep_their_proportions() -> None:
    heights = [
        float(height)
        for height in re.findall(
            r'height="([\d.]+)"><title>',
            str(histogram([100, 50, 0, 25], None, ["a", "b", "c", "d"]).svg),
        )
    ]
    assert heights == [98, 49, 24.5]
