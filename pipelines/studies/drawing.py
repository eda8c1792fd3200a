"""Draw the figures of experiments, as SVG and PNG with their data beside them.

    drawn(figure) ─▶ {"NAME.svg": …, "NAME.png": …, "NAME.json": …}

The same figure gives the same SVG: no dates, no random names.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from artifacts.extras import require
from artifacts.fingerprints import canonical_json
from artifacts.visible_text import visible
from trainer.experiments.findings import Figure, Panel, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#1f6f8b", "#d1603d", "#5b8c3a", "#7a5195", "#b8860b", "#3b3b98", "#a83253", "#555555")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
PANEL_INCHES = (5.2, 3.9)
WIDEST = 3
"""Panels beside one another; further ones begin another row."""

MOST_SLANTED = 6
"""Names below an axis that lie slanted; more of them stand upright."""

_SETTINGS: dict[str, Any] = {
    "backend": "Agg",
    "svg.hashsalt": "windtunnel",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.constrained_layout.use": True,
    "text.parse_math": False,  # names are names, with a dollar too
}


def drawn(figure: Figure) -> dict[str, bytes]:
    """Files by name. Raises: UserError where Matplotlib is not installed."""
    require("experiments")
    import matplotlib

    files = {f"{figure.name}.json": canonical_json(figure.model_dump(mode="json")) + b"\n"}
    figure = Figure.model_validate(_visible(figure.model_dump()))

    settings: Any = _SETTINGS
    with matplotlib.rc_context(settings):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Canvas

        across = min(WIDEST, len(figure.panels))
        down = -(-len(figure.panels) // across)
        canvas = Canvas(figsize=(PANEL_INCHES[0] * across, PANEL_INCHES[1] * down))
        FigureCanvasAgg(canvas)
        axes = canvas.subplots(down, across, squeeze=False).ravel()
        for panel, axis in zip(figure.panels, axes, strict=False):
            _panel(axis, panel)
        for axis in axes[len(figure.panels) :]:
            axis.set_visible(False)
        canvas.suptitle(figure.title, fontsize=11)
        for kind, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
            buffer = io.BytesIO()
            canvas.savefig(buffer, format=kind, dpi=144, metadata=metadata)
            files[f"{figure.name}.{kind}"] = buffer.getvalue()
    return files


def _visible(value: Any) -> Any:
    """Plain values with characters that act or hide as their numbers: XML has no place for them."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {name: _visible(inner) for name, inner in value.items()}
    return tuple(map(_visible, value)) if isinstance(value, tuple) else value


def _panel(axis: Axes, panel: Panel) -> None:
    if panel.log_x:
        axis.set_xscale("log")
    if panel.log_y:
        axis.set_yscale("log")
    groups = list(dict.fromkeys(one.group or one.name for one in panel.series))
    bars = [one for one in panel.series if one.style == "bars"]
    for series in panel.series:
        place = groups.index(series.group or series.name)
        colour = COLOURS[place % len(COLOURS)]
        if series.style == "bars":
            _bars(axis, series, colour, bars.index(series), len(bars))
        else:
            _curve(axis, series, colour, MARKS[place % len(MARKS)])
    if panel.ticks:
        many = len(panel.ticks) > MOST_SLANTED
        slant = {"rotation": 90} if many else {"rotation": 20, "ha": "right"}
        axis.set_xticks(range(len(panel.ticks)), panel.ticks, **slant)
    elif panel.log_x:
        _plain_ticks(axis, panel.series)
    axis.set_xlabel(panel.x)
    axis.set_ylabel(panel.y)
    axis.set_title(panel.title)
    if any(series.name for series in panel.series):
        axis.legend()


def _curve(axis: Axes, series: Series, colour: str, mark: str) -> None:
    label: str | None = series.name or None
    if series.style == "rule":
        line: Any = axis.axhline if series.y else axis.axvline
        for level in series.y or series.x:
            line(level, color=colour, linewidth=1, linestyle="--", label=label)
            label = None
        return
    x, y, low, high = _finite(series)
    shade = 0.35 if series.faint else 1.0
    if series.style == "band":
        axis.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0, label=label)
        return
    style: dict[str, Any] = {
        "color": colour,
        "alpha": shade,
        "linestyle": "" if series.style == "points" else "-",
        "marker": "" if series.style == "line" else mark,
        "markersize": 4.5,
        "linewidth": 1.4,
        "label": label,
    }
    if series.low is None:
        axis.plot(x, y, **style)
        return
    reach = [
        [v - a for v, a in zip(y, low, strict=True)],
        [b - v for v, b in zip(y, high, strict=True)],
    ]
    axis.errorbar(x, y, yerr=reach, capsize=2.5, elinewidth=1, **style)


def _bars(axis: Axes, series: Series, colour: str, place: int, beside: int) -> None:
    width = 0.8 / beside
    x, y, low, high = _finite(series)
    middle = [value + (place - (beside - 1) / 2) * width for value in x]
    reach = None
    if series.low is not None:
        below = [v - a for v, a in zip(y, low, strict=True)]
        reach = [below, [b - v for v, b in zip(y, high, strict=True)]]
    axis.bar(middle, y, width=width * 0.92, color=colour, yerr=reach, capsize=2, label=series.name)


def _finite(series: Series) -> tuple[list[float], list[float], list[float], list[float]]:
    """Columns of the points that have a y; a missing end of an interval is the point."""
    y_of = series.y if series.style != "band" else series.low or ()
    rows = []
    for place, x in enumerate(series.x):
        y = y_of[place]
        if y is None:
            continue
        ends = [None if end is None else end[place] for end in (series.low, series.high)]
        low, high = (y if end is None else end for end in ends)
        rows.append((x, y, low, high))
    columns = zip(*rows, strict=True) if rows else ((), (), (), ())
    x_s, y_s, low_s, high_s = (list(column) for column in columns)
    return x_s, y_s, low_s, high_s


def _plain_ticks(axis: Axes, series: Sequence[Series]) -> None:
    """Ticks at the values themselves where these are few: grids are read off, not decades."""
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    values = sorted({x for one in series if one.style in ("both", "points") for x in one.x})
    if not 2 <= len(values) <= 9:
        return
    axis.set_xticks(values)
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axis.tick_params(axis="x", labelrotation=30)


def alternative(figure: Figure) -> str:
    """What a figure shows, in words, for those who do not see it."""
    panels = "; ".join(
        f"{panel.y} over {panel.x}: " + ", ".join(one.name for one in panel.series if one.name)
        for panel in figure.panels
    )
    return f"{figure.title}. {panels}"


__all__ = ["alternative", "drawn"]
