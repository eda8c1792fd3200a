"""Line charts over tokens: curves as inline SVG, their axes as HTML text placed in percent.

The SVG stretches with the page; strokes do not, and the words around it stay words of the page's
size. Colours are CSS classes. Values outside the axes are cut off at the edge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipelines.report.numerals import quantity

_SIZE = 1000
_ROOM = 0.015
_OPEN = Markup(
    '<svg class="lines" viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" '
    'aria-label="{}">'
)
_PATH = Markup('<path class="{}" d="{}"><title>{}</title></path>')
_GRID = Markup('<path class="grid-line" d="M0 {0}H1000"/>')
_EDGE = Markup('<path class="edge" d="M{0} 0V1000"/>')
_BAND = Markup('<rect class="band" x="{}" y="0" width="{}" height="1000"/>')
_CLOSE = Markup("</svg>")

Point = tuple[float, float]
Range = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """Points in order of x, a colour class, and a style: ``line``, ``dashed``, ``faint`` or
    ``dots`` (joined by a thin line).
    """

    label: str
    points: Sequence[Point]
    colour: str
    style: str = "line"


@dataclass(frozen=True)
class Band:
    """A phase on the x axis; one that decays is shaded."""

    name: str
    start: float
    end: float
    shaded: bool


@dataclass(frozen=True)
class Chart:
    """A drawn chart: places are percent of the plot, y from the top."""

    svg: Markup
    y_marks: Sequence[tuple[str, str]]
    x_marks: Sequence[tuple[str, str]]
    bands: Sequence[tuple[str, str, str]]  # left, width, name


def line_chart(
    curves: Sequence[Curve],
    x_range: Range,
    y_range: Range,
    bands: Sequence[Band] = (),
    *,
    marks: tuple[int, int] = (5, 4),
    label: str = "",
) -> Chart:
    """Draw curves over a shared x axis of tokens. ``marks``: about how many marks x and y axis
    have.
    """
    low, high = y_range
    y_marks = nice_marks(low, high, marks[1])
    x_marks = nice_marks(*x_range, marks[0])
    room = _ROOM * ((x_range[1] - x_range[0]) or 1.0)  # a dot at the end of the axis is drawn whole
    left_end, right_end = x_range[0] - (room if x_range[0] > 0 else 0.0), x_range[1] + room

    def x(value: float) -> float:
        return _SIZE * (value - left_end) / (right_end - left_end)

    def y(value: float) -> float:
        return _SIZE * (high - value) / ((high - low) or 1)

    shown = [band for band in bands if band.end > x_range[0] and band.start < x_range[1]]
    places = [
        (max(x(band.start), 0.0), x(band.end) if band.end < x_range[1] else float(_SIZE), band)
        for band in shown
    ]
    parts = [
        _BAND.format(_spelled(left), _spelled(right - left))
        for left, right, band in places
        if band.shaded
    ]
    parts += [_GRID.format(_spelled(y(mark))) for mark in y_marks]
    parts += [_EDGE.format(_spelled(left)) for left, _, _ in places if left > 0]
    for curve in curves:
        parts += _drawn(curve, [(x(px), y(py)) for px, py in curve.points])
    return Chart(
        _OPEN.format(label) + Markup("").join(parts) + _CLOSE,
        [(_percent(y(mark)), f"{mark:.6g}") for mark in y_marks],
        [(_percent(x(mark)), quantity(mark)) for mark in x_marks],
        [(_percent(left), _percent(right - left), band.name) for left, right, band in places],
    )


def nice_marks(low: float, high: float, wanted: int) -> list[float]:
    """Round numbers in [low, high], about ``wanted`` of them, steps of 1, 2 or 5 times a power of
    ten.
    """
    span = high - low
    if not span > 0:
        return [low]
    rough = span / max(wanted, 1)
    unit = 10.0 ** math.floor(math.log10(rough))
    step = unit * next(factor for factor in (1, 2, 5, 10) if factor * unit >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def padded(values: Sequence[float], share: float = 0.06) -> Range:
    """The range of values with some room on both sides."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = (high - low) * share or abs(high) * 0.05 or 1.0
    return low - room, high + room


def _drawn(curve: Curve, points: Sequence[Point]) -> list[Markup]:
    if not points:
        return []
    spelled = [f"{_spelled(px)} {_spelled(py)}" for px, py in points]
    title = f"{curve.label}: {curve.points[-1][1]:.4g} at {quantity(curve.points[-1][0])} tokens"
    if curve.style != "dots":
        alone = "h0" if len(points) == 1 else ""
        return [
            _PATH.format(f"{curve.style} {curve.colour}", "M" + "L".join(spelled) + alone, title)
        ]
    drawn = [_PATH.format(f"joined {curve.colour}", "M" + "L".join(spelled), title)]
    for place, (tokens, value) in zip(spelled, curve.points, strict=True):
        drawn.append(
            _PATH.format(
                f"dot {curve.colour}",
                f"M{place}h0",
                f"{curve.label}: {value:.4g} at {quantity(tokens)} tokens",
            )
        )
    return drawn


def _percent(value: float) -> str:
    return _spelled(100 * value / _SIZE)


def _spelled(value: float) -> str:
    """Two digits, and nothing a stylesheet or a path could not hold."""
    return f"{min(max(value, -9999.0), 9999.0):.2f}".rstrip("0").rstrip(".")
