"""The figure of gradients through a decay: rate, loss, norm, cosine with its line, curvature."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from artifacts.statistics.estimates import mean_of
from trainer.experiments.design import Base, Measured
from trainer.experiments.findings import Figure, Panel, Series

BINS = 40

Line = Mapping[str, Any]


class Stepwise(Protocol):
    """A figure of each step, as its logarithm where ``log``."""

    @property
    def name(self) -> str: ...

    @property
    def log(self) -> bool: ...

    def value(self, line: Line) -> float | None: ...


def dynamics_figure(
    base: Base,
    measured: Sequence[Measured],
    decay: tuple[int, int],
    shown: tuple[Stepwise, Stepwise, Stepwise, Stepwise],
) -> Figure:
    """``decay``: the steps after which it begins and ends; ``shown``: norm, cosine, and curvature
    across batches and on one.
    """
    norm, cosine, across, same = shown
    runs = [one for one in measured if one.outcome.diverged is None]
    arms = {
        arm: [one.outcome.probes.get("dynamics", []) for one in runs if one.point.at(arm=arm)]
        for arm in ("decay", "control")
    }
    first = decay[0]

    def lines(quantity: Stepwise, arm: str, name: str = "") -> list[Series]:
        return _series(name or arm, arms[arm], quantity.value, quantity.log, first)

    def both(quantity: Stepwise) -> tuple[Series, ...]:
        return (*lines(quantity, "decay"), *lines(quantity, "control"))

    rate = _series("decay", arms["decay"], lambda line: line["lr"], False, first)
    alone = _series(
        "independent batches", arms["decay"], lambda line: line["independent_cosine"], False, first
    )
    start = Series(name="", x=(0.0,), style="rule")
    x = "steps since the decay began"
    curvature = (
        *lines(across, "decay", "across batches"),
        *lines(across, "control", "across batches, control"),
        *lines(same, "decay", "one batch"),
        *lines(same, "control", "one batch, control"),
    )
    panels = (
        Panel(title="learning rate", x=x, y="rate", series=(*rate[-1:], start)),
        Panel(
            title="held-out loss",
            x=x,
            y="nats per token",
            series=(*_losses(base, runs, first), start),
        ),
        Panel(title="gradient norm", x=x, y="norm", log_y=True, series=(*both(norm), start)),
        Panel(
            title="cosine of consecutive gradients",
            x=x,
            y="cosine",
            series=(*both(cosine), *alone, start),
        ),
        Panel(title="curvature K", x=x, y="K", log_y=True, series=(*curvature, start)),
    )
    return Figure(
        name="dynamics",
        title="Gradients through a decay",
        caption=f"Means over {len(arms['decay'])} seeds in bins of steps (geometric for norm and "
        "K), with 95 % t-intervals over seeds as bands; the rule is where the decay begins, the "
        "control goes on at the full rate.",
        panels=panels,
    )


def _series(
    name: str,
    runs: Sequence[Sequence[Line]],
    value: Callable[[Line], float | None],
    log: bool,
    first: int,
) -> list[Series]:
    """A band, where there are several seeds, and a line of the means by bin."""
    steps = sorted({line["step"] for rows in runs for line in rows})
    if not steps:
        return []
    width = -(-len(steps) // BINS)
    places, means, lows, highs = [], [], [], []
    for begin in range(steps[0], steps[-1] + 1, width):
        own = [_mean(rows, range(begin, begin + width), value) for rows in runs]
        known = [one for one in own if one is not None]
        if not known:
            continue
        one = mean_of(known) if len(known) > 1 else None
        ends = (one.value, one.low, one.high) if one else (known[0], known[0], known[0])
        middle, low, high = (math.exp(end) if log else end for end in ends)
        places.append(begin + (width - 1) / 2 - first)
        means.append(middle)
        lows.append(low)
        highs.append(high)
    line = Series(name=name, group=name, x=tuple(places), y=tuple(means), style="line")
    if len(runs) < 2:
        return [line]
    band = Series(
        name="",
        group=name,
        x=line.x,
        y=line.y,
        low=tuple(lows),
        high=tuple(highs),
        style="band",
        faint=True,
    )
    return [band, line]


def _mean(
    rows: Sequence[Line], steps: range, value: Callable[[Line], float | None]
) -> float | None:
    values = [one for line in rows if line["step"] in steps and (one := value(line)) is not None]
    return math.fsum(values) / len(values) if values else None


def _losses(base: Base, runs: Sequence[Measured], first: int) -> list[Series]:
    """Held-out losses on the way, means over seeds."""
    batch, series = base.train.batch_tokens, []
    for arm in ("decay", "control"):
        columns = [
            dict(zip(one.outcome.course.tokens, base.primary.course(one.outcome), strict=True))
            for one in runs
            if one.point.at(arm=arm)
        ]
        shared = sorted(set(columns[0]).intersection(*columns[1:])) if columns else []
        rows = [(tokens, [column[tokens] for column in columns]) for tokens in shared]
        whole = [
            (tokens, math.fsum(loss for loss in losses if loss is not None) / len(losses))
            for tokens, losses in rows
            if None not in losses
        ]
        series.append(
            Series(
                name=arm,
                group=arm,
                x=tuple(float(tokens // batch - first) for tokens, _ in whole),
                y=tuple(loss for _, loss in whole),
                style="line",
            )
        )
    return series
