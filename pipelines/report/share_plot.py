"""The shares of a plan over training as one SVG file: a stacked area per source, phases marked,
words and all.

    Path("shares.svg").write_text(share_plot(plan))

The file stands alone: its colours follow the viewer's light or dark, and it loads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from mixtures.freeze.plan_table import table
from mixtures.plan.format import Plan, Segment
from mixtures.plan.shares import fill_of
from pipelines.report.line_chart import nice_marks
from pipelines.report.numerals import quantity, share
from pipelines.report.training_metrics import stretches

WIDTH, HEIGHT = 1000, 460
LEFT, TOP, RIGHT, BOTTOM = 58, 66, 250, 46  # margins; the legend stands in the right one
RAMP_POINTS = 16
LEGEND_ROWS = 18
CHARACTER = 7.0  # width of a character of a label, about
LIGHT = ("#4f8fc4", "#dda23f", "#6c9f58", "#c5684a", "#8c6bb1", "#b2598a", "#9a8f3c", "#8a97a1")
DARK = ("#74abdb", "#e0af59", "#86b873", "#d98066", "#a78bce", "#cb7ba6", "#b8ad5a", "#7f8c96")

_TEXT = Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>')
_AREA = Markup('<path class="c{}" d="{}"><title>{}</title></path>')
_LINE = Markup('<path class="{}" d="{}"/>')
_RECT = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>')
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shares:
    """Shares of tokens over training: ``places`` (n,) in tokens, ``shares`` (sources, n), each
    column of which sums to 1.
    """

    places: Floats
    shares: Floats


def planned_shares(plan: Plan) -> Shares:
    """The shares a plan moves along, two points per stretch of constant ones and more along a
    ramp.
    """
    places, columns = [], []
    for segment in plan.segments:
        for part in np.linspace(0, 1, RAMP_POINTS if segment.ramp_steps else 2):
            before, behind = (
                plan.tokens_before(segment.first_step),
                plan.tokens_before(segment.last_step),
            )
            places.append(before + (behind - before) * part)
            columns.append(_shares_at(plan, segment, float(part)))
    return Shares(np.array(places), np.array(columns).T)


def share_plot(plan: Plan, title: str = "shares of tokens over training") -> str:
    """The plot as an SVG document."""
    drawn = planned_shares(plan)
    parts = [_TEXT.format("title", LEFT, 24, "start", title)]
    parts.append(
        _TEXT.format(
            "soft", WIDTH - 12, 24, "end", f"{quantity(plan.tokens)} tokens, {plan.steps:,} steps"
        )
    )
    parts += _areas(plan, drawn)
    parts += _axes(plan)
    parts += _phases(plan)
    parts += _legend(plan)
    return f"{_head(title)}{Markup('').join(parts)}</svg>\n"


def _shares_at(plan: Plan, segment: Segment, part: float) -> Floats:
    """Shares of tokens a part of the way through a segment, (sources,)."""
    context = plan.context_at(segment.first_step)[1]
    done = part * segment.steps / segment.ramp_steps if segment.ramp_steps else 1.0
    windows = np.zeros(len(plan.sources))
    start, end = np.array(segment.start, np.float64), np.array(segment.end, np.float64)
    windows[: len(start)] = start + (end - start) * done
    fills = [
        fill_of(source, own, context.sequence_length)
        for source, own in zip(plan.sources, context.sources, strict=True)
    ]
    tokens: Floats = windows * np.array(fills)
    shares: Floats = tokens / tokens.sum()
    return shares


def _x(plan: Plan, tokens: float) -> str:
    return _spelled(LEFT + (WIDTH - LEFT - RIGHT) * tokens / plan.tokens)


def _y(value: float) -> str:
    return _spelled(TOP + (HEIGHT - TOP - BOTTOM) * (1 - value))


def _areas(plan: Plan, drawn: Shares) -> list[Markup]:
    edges = np.vstack([np.zeros(len(drawn.places)), np.cumsum(drawn.shares, axis=0)])
    areas = []
    for index, name in enumerate(plan.names):
        under = [
            f"{_x(plan, place)} {_y(value)}"
            for place, value in zip(drawn.places, edges[index], strict=True)
        ]
        over = [
            f"{_x(plan, place)} {_y(value)}"
            for place, value in zip(drawn.places, edges[index + 1], strict=True)
        ]
        areas.append(
            _AREA.format(index % len(LIGHT), f"M{'L'.join([*over, *reversed(under)])}Z", name)
        )
    return areas


def _axes(plan: Plan) -> list[Markup]:
    bottom = HEIGHT - BOTTOM
    parts = []
    for mark in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(_LINE.format("grid", f"M{LEFT} {_y(mark)}H{WIDTH - RIGHT}"))
        parts.append(
            _TEXT.format(
                "soft", LEFT - 8, _spelled(float(_y(mark)) + 4), "end", f"{100 * mark:.0f} %"
            )
        )
    for mark in nice_marks(0.0, float(plan.tokens), 6):
        parts.append(_LINE.format("tick", f"M{_x(plan, mark)} {bottom}v5"))
        parts.append(_TEXT.format("soft", _x(plan, mark), bottom + 20, "middle", quantity(mark)))
    parts.append(
        _TEXT.format("soft", (LEFT + WIDTH - RIGHT) // 2, HEIGHT - 8, "middle", "tokens shown")
    )
    return parts


def _phases(plan: Plan) -> list[Markup]:
    """A line where a phase begins, its name above, and a bar over those that decay."""
    parts = []
    for name, decays, first, last in stretches(plan.segments):
        left, right = (float(_x(plan, plan.tokens_before(step))) for step in (first, last))
        if first:
            parts.append(_LINE.format("phase", f"M{_spelled(left)} {TOP - 22}V{HEIGHT - BOTTOM}"))
        if decays:
            parts.append(_RECT.format("decay", _spelled(left), TOP - 5, _spelled(right - left), 4))
        label = _fitting(name, right - left - 8)
        if label:
            parts.append(_TEXT.format("name", _spelled(left + 5), TOP - 10, "start", label))
    return parts


def _legend(plan: Plan) -> list[Markup]:
    """Sources as they lie on one another, the topmost first, with their share of the whole run."""
    rows = {row.source: row.tokens for row in table(plan) if row.phase is None}
    whole, left = sum(rows.values()), WIDTH - RIGHT + 18
    parts = [_TEXT.format("soft", WIDTH - 12, TOP - 10, "end", "of the run")]
    names: Sequence[tuple[int, str]] = list(reversed(list(enumerate(plan.names))))
    for place, (index, name) in enumerate(names[:LEGEND_ROWS]):
        y = TOP + 14 + place * 19
        parts.append(_RECT.format(f"c{index % len(LIGHT)}", left, y - 10, 12, 12))
        parts.append(_TEXT.format("name", left + 19, y, "start", _fitting(name, RIGHT - 110)))
        parts.append(_TEXT.format("soft", WIDTH - 12, y, "end", share(rows[name], whole)))
    if len(names) > LEGEND_ROWS:
        parts.append(
            _TEXT.format(
                "soft",
                left + 19,
                TOP + 14 + LEGEND_ROWS * 19,
                "start",
                f"and {len(names) - LEGEND_ROWS} more",
            )
        )
    return parts


def _fitting(name: str, width: float) -> str:
    """As much of a name as fits, nothing where that says nothing."""
    most = int(width / CHARACTER)
    return name if len(name) <= most else f"{name[: most - 1]}…" if most >= 3 else ""


def _head(title: str) -> Markup:
    colours = "".join(f".c{place}{{fill:{colour}}}" for place, colour in enumerate(LIGHT))
    dark = "".join(f".c{place}{{fill:{colour}}}" for place, colour in enumerate(DARK))
    style = (
        "svg{background:#fff;font:13px "
        "system-ui,sans-serif}text{fill:#26323a}.title{font-size:15px;font-weight:600}.soft{fill:#5d6b75}"
        ".grid{stroke:#fff;stroke-opacity:.45}"
        ".tick{stroke:#8a97a1}.phase{stroke:#26323a;stroke-dasharray:4 3}.decay{fill:#26323a}"
        "path{fill:none}path[class^=c]{stroke:#fff;stroke-width:.6}"
        + colours
        + "@media(prefers-color-scheme:dark){svg{background:#161c20}"
        "text{fill:#e4eaee}.soft{fill:#9fadb7}.phase{stroke:#e4eaee}.decay{fill:#e4eaee}.grid{stroke:#161c20}"
        "path[class^=c]{stroke:#161c20}" + dark + "}"
    )
    opened = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" '
        'width="{0}" height="{1}" role="img" aria-label="{2}">'
    )
    opened += "<style>{3}</style>"
    return Markup(opened).format(WIDTH, HEIGHT, title, Markup(style))


def _spelled(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
