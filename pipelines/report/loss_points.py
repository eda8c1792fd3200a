"""Losses over tokens as points of curves: smoothed, and as many as a chart can show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.report.line_chart import Point
from pipelines.report.training_metrics import Ending, Line, step_loss

MOST_POINTS = 600  # of one curve; longer ones are means over equal numbers of steps

Weighted = list[tuple[float, float, float]]  # tokens, loss, targets


def held_out_points(lines: Sequence[Line], source: str, ending: Ending) -> list[Point]:
    """The held-out losses of a source, at the tokens after which they were measured."""
    found = [
        (ending.tokens_at(line["step"]), line["sources"].get(source, {}).get("loss"))
        for line in lines
    ]
    return [(float(tokens), float(loss)) for tokens, loss in found if loss is not None]


def whole(lines: Sequence[Line]) -> Weighted:
    """The loss of each step with targets over all sources, weighted by target tokens."""
    losses = [(line, step_loss(line)) for line in lines]
    return [(line["tokens"], loss, line["targets"]) for line, loss in losses if loss is not None]


def of_sources(lines: Sequence[Line], names: set[str]) -> Weighted:
    """The loss over some sources at each step that showed them, weighted by target tokens."""
    found: Weighted = []
    for line in lines:
        parts = [
            value
            for name, value in line["sources"].items()
            if name in names and value["loss"] is not None and value["tokens"]
        ]
        targets = sum(part["tokens"] for part in parts)
        if targets:
            found.append(
                (
                    line["tokens"],
                    sum(part["loss"] * part["tokens"] for part in parts) / targets,
                    targets,
                )
            )
    return found


def smoothed(values: Weighted, window: int) -> list[Point]:
    """Weighted means over the last ``window`` values, thinned."""
    if not values:
        return []
    tokens, loss, weight = np.array(values, np.float64).T
    sums, weights = (np.concatenate([[0.0], np.cumsum(part)]) for part in (loss * weight, weight))
    behind = np.arange(1, len(tokens) + 1)
    ahead = np.maximum(behind - window, 0)
    means = (sums[behind] - sums[ahead]) / (weights[behind] - weights[ahead])
    return thinned(list(zip(tokens.tolist(), means.tolist(), weight.tolist(), strict=True)))


def thinned(values: Weighted) -> list[Point]:
    """At most :data:`MOST_POINTS` points: weighted means over equal numbers of values, at the last
    one's place.
    """
    if not values:
        return []
    tokens, loss, weight = np.array(values, np.float64).T
    edges: NDArray[np.int64] = np.linspace(
        0, len(tokens), min(len(tokens), MOST_POINTS) + 1
    ).astype(np.int64)
    sums, weights = np.add.reduceat(loss * weight, edges[:-1]), np.add.reduceat(weight, edges[:-1])
    return list(zip(tokens[edges[1:] - 1].tolist(), (sums / weights).tolist(), strict=True))
