"""Small inline SVG charts. Shapes only: all words and numbers stand in the HTML around them, the
marks of axes at places in percent.

Charts stretch to the width of their box; colours are CSS classes, so that light and dark follow the
page. Every function escapes what it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipelines.report.line_chart import nice_marks
from pipelines.report.numerals import quantity

_WIDTH = 1000
_OPEN = Markup(
    '<svg class="{}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
)
_RECT = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>')
_GRID = Markup('<path class="grid-line" d="M0 {0}H{1}"/>')
_THRESHOLD = Markup('<path class="threshold" d="M{0} 0V100"/>')
_CLOSE = Markup("</svg>")


@dataclass(frozen=True)
class Columns:
    """Drawn columns and the marks of their y axis: percent from the top, and a count."""

    svg: Markup
    y_marks: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Part:
    """A piece of a stacked bar: what it is, how large, and its colour class."""

    label: str
    value: int
    colour: str


def stacked_bar(parts: Sequence[Part], whole: int | None = None, label: str = "") -> Markup:
    """One horizontal bar; lengths are shares of ``whole`` (default: the sum). Parts that are there
    are at least a hairline wide.
    """
    whole = whole or sum(part.value for part in parts)
    drawn: list[Markup] = []
    x = 0.0
    for part in parts:
        width = max(_WIDTH * part.value / whole, 1.5) if whole and part.value else 0.0
        if width:
            drawn.append(
                _RECT.format(
                    part.colour,
                    _spelled(x),
                    0,
                    _spelled(width),
                    10,
                    f"{part.label}: {part.value:,}",
                )
            )
        x += width
    return (
        _OPEN.format("bar", _spelled(max(_WIDTH, x)), 10, label) + Markup("").join(drawn) + _CLOSE
    )


def histogram(
    before: Sequence[int],
    after: Sequence[int] | None,
    names: Sequence[str],
    label: str = "",
    threshold: float | None = None,
) -> Columns:
    """Columns over equal bins; ``after`` is drawn inside ``before`` on the same scale. ``names``:
    of the bins, for tooltips. ``threshold``: where a line stands, in bins from the left.
    """
    most, width = max([*before, 1]), 10 * max(len(before), 1)
    marks = [mark for mark in nice_marks(0, most, 3) if mark == int(mark)]
    drawn = [_GRID.format(_spelled(_height(mark, most)), width) for mark in marks if mark]
    for place, value in enumerate(before):
        kept = None if after is None else after[place]
        title = f"{names[place]}: {value:,}" + ("" if kept is None else f", kept {kept:,}")
        if value:
            drawn.append(
                _column(place, value, most, "h-before" if after is not None else "h-after", title)
            )
        if kept:
            drawn.append(_column(place, kept, most, "h-after", title))
    if threshold is not None:
        drawn.append(_THRESHOLD.format(_spelled(10 * threshold)))
    return Columns(
        _OPEN.format("hist", width, 100, label) + Markup("").join(drawn) + _CLOSE,
        [(_spelled(_height(mark, most)), quantity(mark)) for mark in marks],
    )


def _height(value: float, most: int) -> float:
    """The place of a value from the top, of 100."""
    return 100 - 98 * value / most


def _column(place: int, value: int, most: int, colour: str, title: str) -> Markup:
    height = max(100 - _height(value, most), 0.8)
    return _RECT.format(
        colour, 10 * place + 0.6, _spelled(100 - height), 8.8, _spelled(height), title
    )


def _spelled(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
