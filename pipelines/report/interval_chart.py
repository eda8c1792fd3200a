"""Figures with their intervals under one another on one scale: an inline SVG a row, zero marked.

Shapes only, as in :mod:`pipelines.report.drawing`: names and numbers stand in the HTML around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipelines.report.line_chart import nice_marks, padded
from pipelines.report.numerals import uncertain

_SIZE = 1000
_OPEN = Markup(
    '<svg class="interval" viewBox="0 0 1000 20" preserveAspectRatio="none" role="img" '
    'aria-label="{}">'
)
_GRID = Markup('<path class="grid-line" d="M{0} 0V20"/>')
_ZERO = Markup('<path class="zero-line" d="M{0} 0V20"/>')
_WHISKER = Markup('<path class="line {0}" d="M{1} 10H{2}"/>')
_DOT = Markup('<path class="dot {0}" d="M{1} 10h0"><title>{2}</title></path>')
_CLOSE = Markup("</svg>")


@dataclass(frozen=True)
class Interval:
    """A figure, half of its interval (None where it is not known), and its colour class."""

    label: str
    value: float
    half_width: float | None
    colour: str

    @property
    def ends(self) -> tuple[float, float]:
        width = self.half_width or 0.0
        return self.value - width, self.value + width


@dataclass(frozen=True)
class IntervalChart:
    """Drawn rows in the order given, and the marks of their scale: percent from the left, text."""

    rows: Sequence[Markup]
    marks: Sequence[tuple[str, str]]


def interval_chart(intervals: Sequence[Interval], marks: int = 3) -> IntervalChart:
    """Draw intervals on the one scale that holds all of them and zero."""
    low, high = padded([0.0, *(end for interval in intervals for end in interval.ends)])
    places = nice_marks(low, high, marks)

    def x(value: float) -> str:
        return f"{_SIZE * (value - low) / (high - low):.2f}".rstrip("0").rstrip(".")

    grid = Markup("").join(_GRID.format(x(place)) for place in places if place)
    rows = [
        _OPEN.format(interval.label)
        + grid
        + _ZERO.format(x(0.0))
        + _WHISKER.format(interval.colour, *map(x, interval.ends))
        + _DOT.format(
            interval.colour,
            x(interval.value),
            f"{interval.label}: {uncertain(interval.value, interval.half_width, plus=True)}",
        )
        + _CLOSE
        for interval in intervals
    ]
    return IntervalChart(
        rows, [(f"{100 * (place - low) / (high - low):.2f}", f"{place:.6g}") for place in places]
    )
