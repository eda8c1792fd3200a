"""The section of a report with a histogram for every rule, its threshold marked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from pipelines.report.drawing import histogram
from pipelines.report.numerals import quantity
from pipelines.report.rule_measures import measure_name
from pipelines.report.rule_signals import RuleSignal, RuleSignals

COLUMNS = 48
"""Of a chart, about; finer bins are joined."""

RULES = 64
"""Charts of a page."""

_ROOM = 15.0  # percent of a chart in which no mark stands beside that of the threshold


def signals_section(signals: RuleSignals) -> dict[str, Any] | None:
    """Charts of every rule by step; None where no rule judged anything."""
    rules = [
        (step, signal)
        for step, by_rule in signals.steps.items()
        for signal in by_rule.values()
        if signal.documents.before.any()
    ]
    if not rules:
        return None
    shown = rules[:RULES]
    steps = [
        {"name": name, "charts": [_chart(signal) for step, signal in shown if step == name]}
        for name in dict.fromkeys(step for step, _ in shown)
    ]
    return {"steps": steps, "left_out": len(rules) - len(shown)}


@dataclass(frozen=True)
class _Joined:
    """Neighbouring bins as one column: ``first`` to before ``last``, open at an end of all."""

    first: int
    last: int


def _joined(signal: RuleSignal) -> list[_Joined]:
    """Columns that hold all documents; the threshold is an edge, with a column on both sides."""
    filled, middle = np.flatnonzero(signal.documents.before), signal.bins.middle
    left = middle - min(int(filled[0]), middle - 1)
    right = max(int(filled[-1]), middle) + 1 - middle
    size = ceil((left + right) / COLUMNS)
    return [
        _Joined(max(0, middle + place * size), min(signal.bins.count, middle + (place + 1) * size))
        for place in range(-ceil(left / size), ceil(right / size))
    ]


def _chart(signal: RuleSignal) -> dict[str, Any]:
    rule, columns = signal.rule, _joined(signal)
    before, after = (
        [int(values[column.first : column.last].sum()) for column in columns]
        for values in (signal.documents.before, signal.documents.after)
    )
    threshold = sum(column.last <= signal.bins.middle for column in columns)
    place = 100 * threshold / len(columns)
    low, high = _ends(signal, columns)
    name = measure_name(rule)
    return {
        "measure": name,
        "reason": rule.reason,
        "comparison": rule.comparison,
        "threshold": _figure(rule.threshold),
        "side": "to-right" if place < _ROOM else "to-left" if place > 100 - _ROOM else "",
        "breaking": signal.breaking,
        "judged": sum(before),
        "columns": histogram(before, after, list(_names(signal, columns)), name, threshold),
        "place": f"{place:.2f}",
        "low": low if place > _ROOM else "",
        "high": high if place < 100 - _ROOM else "",
    }


def _ends(signal: RuleSignal, columns: list[_Joined]) -> tuple[str, str]:
    """The ends of the x axis; where the last column is open, from where on it is."""
    bins, last = signal.bins, columns[-1].last
    low = 0.0 if bins.octaves and not columns[0].first else bins.edge(max(columns[0].first, 1))
    if last == bins.count:
        return _figure(low), f"{_figure(bins.edge(last - 1))} and more"
    return _figure(low), _figure(bins.edge(last))


def _figure(value: float) -> str:
    return quantity(value) if abs(value) >= 1000 else f"{value:.3g}"


def _names(signal: RuleSignal, columns: list[_Joined]) -> Iterator[str]:
    """What each column holds, for tooltips."""
    bins = signal.bins
    for column in columns:
        low, high = (f"{bins.edge(edge):.4g}" for edge in (column.first, column.last))
        if column.first == 0:
            yield f"under {high}"
        elif column.last == bins.count:
            yield f"over {low}"
        else:
            yield f"{low} to {high}"
