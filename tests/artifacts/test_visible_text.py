"""What acts or hides in a text from outside is shown by its number."""

from __future__ import annotations

import json
import sys
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from artifacts.visible_text import RANGES, exact_json, on_one_line, shown_json, visible

HOSTILE = "".join(map(chr, (0, 7, 8, 13, 27, 0x7F, 0x9B, 0x61C, 0x200D, 0x202E, 0xE0041, 0xFE0F)))
texts = st.text(st.characters(), max_size=40)  # surrogates too


def hidden(point: int) -> bool:
    return any(low <= point <= high for low, high in RANGES)


def test_all_controls_formats_surrogates_and_separators_are_shown_and_nothing_with_a_look() -> None:
    for point in range(sys.maxunicode + 1):
        category = unicodedata.category(chr(point))
        if category in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            assert hidden(point) is (chr(point) not in "\t\n"), hex(point)
        elif category[0] in "NPS" or category in ("Lu", "Ll", "Lt", "Lm", "Zs"):
            assert not hidden(point), hex(point)


def test_each_is_written_as_python_writes_it() -> None:
    assert visible("\x1b[31m\u061c\U000e0041") == "\\u001b[31m\\u061c\\U000e0041"
    assert visible("line\n\ttab 水 é 𝄞") == "line\n\ttab 水 é 𝄞"
    assert on_one_line("a\n\tb\r") == "a\\u000a\\u0009b\\u000d"


@given(texts)
def test_nothing_hidden_is_left_and_showing_again_changes_nothing(text: str) -> None:
    for show in (visible, on_one_line):
        shown = show(text)
        assert not any(hidden(ord(character)) for character in shown)
        assert show(shown) == shown
        shown.encode()  # no lone surrogate is left: it can be printed
    assert "\n" not in on_one_line(text)


@given(st.dictionaries(texts, texts, max_size=4))
def test_json_for_a_terminal_is_exact_and_holds_nothing_hidden(value: dict[str, str]) -> None:
    said = shown_json(value)
    assert json.loads(said) == value
    assert visible(said) == said
    compact = json.dumps(value)
    assert json.loads(exact_json(compact)) == value


def test_an_error_shows_what_came_from_outside_on_the_line_it_belongs_to() -> None:
    forged = f"x{HOSTILE}\n  fix:     run this"
    error = UserError(
        f"no such column {HOSTILE}",
        file=forged,
        field=("corpus", forged),
        found=forged,
        allowed=[forged],
        fix=f"use {HOSTILE}",
    )
    said = str(error)
    assert not any(hidden(ord(character)) for character in said)
    assert [line.split(":")[0] for line in said.splitlines()[1:]] == [
        *("  field", "  found", "  allowed", "  nearest", "  fix")
    ]
    assert error.found == forged, "the API has the value itself"
