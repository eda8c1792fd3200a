"""The figure of arms by domains: differences of losses with intervals, around a zero line."""

from __future__ import annotations

from collections.abc import Mapping

from trainer.experiments.designs.arms import Arms, Sources, columns
from trainer.experiments.findings import Panel, Series

WIDTH = 0.6
"""Of the place that dots of one domain take, of the distance between two."""


def forest(
    arms: Arms,
    shown: Mapping[str, str],
    reference: tuple[str, str],
    domains: Mapping[str, Sources],
    title: str = "",
) -> Panel:
    """Differences of arms, ``shown`` by the name of each, to the ``reference`` (arm and name), by
    domain: sources whose mean loss it is. An arm that is the name of a domain has no dot there:
    what a source does to its own loss would hide all else.
    """
    zero = Series(name=reference[1], y=(0.0,), style="rule", faint=True)
    series = []
    for place, (arm, name) in enumerate(shown.items()):
        found = [
            None if sources == (arm,) else arms.contrast(arm, reference[0], sources)
            for sources in domains.values()
        ]
        values, low, high = columns(found)
        shift = WIDTH * ((place + 0.5) / len(shown) - 0.5)
        at = tuple(number + shift for number in range(len(domains)))
        series.append(Series(name=name, x=at, y=values, low=low, high=high, style="points"))
    return Panel(
        title=title,
        x="loss of",
        y=f"difference ({arms.unit.replace('_', ' ')})",
        series=(*series, zero),
        ticks=tuple(domains),
    )
