"""Figures of a study of batches."""

from __future__ import annotations

import numpy as np

from trainer.experiments.designs.batch.curves import ArmFit
from trainer.experiments.designs.batch.results import BatchResults
from trainer.experiments.findings import Figure, Panel, Series

PAPER_A, PAPER_B = 1.21e9, 6.24
"""bs(L) = 1.21e9 / L^6.24 tokens, L on C4 (arXiv 2404.06395, figure 2)."""

TOKENS = "batch (tokens)"


def figures_of(results: BatchResults) -> tuple[Figure, ...]:
    """Losses, equal losses, and batches against the loss; endings at larger batches."""
    figures = [_losses(results)]
    if any(arm.fit is not None for arm in results.arms):
        figures += [_equal_losses(results), _against_loss(results)]
    if any(one.excess for one in results.critical):
        figures.append(_larger(results))
    return tuple(figures)


def _losses(results: BatchResults) -> Figure:
    panels = []
    for arm in results.arms:
        series = [
            Series(
                name=f"{curve.batch:,.0f}" if curve.seed == _first_seed(arm, curve.batch) else "",
                group=f"{curve.batch:g}",
                x=tuple(map(float, curve.tokens)),
                y=tuple(curve.losses),
                style="line",
                faint=True,
            )
            for curve in arm.arm.curves
        ]
        panels.append(
            Panel(
                title=f"{arm.name} rate",
                x="tokens",
                y="held-out loss (nats)",
                log_x=True,
                series=tuple(series),
            )
        )
    return Figure(
        name="batch-losses",
        title="Losses on the way, by batch",
        caption=f"A line is a run ({_seeds(results)}), at the constant rate {results.peak:g} or at "
        "the best of several rates at each number of tokens. No intervals.",
        panels=tuple(panels),
    )


def _equal_losses(results: BatchResults) -> Figure:
    panels = []
    for arm in results.arms:
        if arm.fit is None:
            continue
        series = []
        for level in arm.fit.levels:
            group = f"loss {level.loss:.2f}"
            rows = sorted(level.tokens.items())
            series.append(
                Series(
                    name=group,
                    group=group,
                    x=tuple(batch for batch, _ in rows),
                    y=tuple(tokens for _, tokens in rows),
                )
            )
        vertices = [level for level in arm.fit.levels if level.best is not None]
        series.append(
            Series(
                name="vertices",
                group="vertices",
                x=tuple(level.best or 0.0 for level in vertices),
                y=tuple(level.tokens_at_best for level in vertices),
                style="both",
            )
        )
        panels.append(
            Panel(
                title=f"{arm.name} rate",
                x=TOKENS,
                y="tokens to reach the loss",
                log_x=True,
                log_y=True,
                series=tuple(series),
            )
        )
    return Figure(
        name="batch-equal-loss",
        title="Tokens to reach a loss, by batch",
        caption=f"A dot is the mean over seeds ({_seeds(results)}), a vertex that of a parabola "
        "through the dots of one loss in logarithms, drawn where it lies between the batches. No "
        "intervals: the table has that of the exponent.",
        panels=tuple(panels),
    )


def _against_loss(results: BatchResults) -> Figure:
    seeds = max((one.seeds for one in results.noise), default=0)
    series = [*_vertices(results), *_noise(results), *_critical(results), _papers(results)]
    return Figure(
        name="batch-against-loss",
        title="Batches against the loss",
        caption="Vertices of equal-loss parabolas; the noise scale of gradients over stretches of "
        f"a run, with 95 % intervals over its seeds ({seeds}); the largest batch that an ending is "
        "shown to recover at, up to the smallest that it is shown not to. The paper's line is of "
        "another corpus and vocabulary: its slope can be compared, not its height.",
        panels=(
            Panel(x="held-out loss (nats)", y=TOKENS, log_x=True, log_y=True, series=tuple(series)),
        ),
    )


def _vertices(results: BatchResults) -> list[Series]:
    series = []
    for arm in results.arms:
        levels = [] if arm.fit is None else [one for one in arm.fit.levels if one.best is not None]
        if levels:
            losses, best = tuple(one.loss for one in levels), tuple(one.best for one in levels)
            series.append(Series(name=f"fewest tokens, {arm.name} rate", x=losses, y=best))
    return series


def _noise(results: BatchResults) -> list[Series]:
    if not results.noise:
        return []
    ends = [one.interval or (one.scale, one.scale) for one in results.noise]
    return [
        Series(
            name="gradient noise scale",
            x=tuple(one.loss for one in results.noise),
            y=tuple(one.scale for one in results.noise),
            low=tuple(low for low, _ in ends),
            high=tuple(high for _, high in ends),
        )
    ]


def _critical(results: BatchResults) -> list[Series]:
    known = [(one.loss, one.found) for one in results.critical if one.loss and one.found]
    if not known:
        return []
    return [
        Series(
            name="critical batch, recovers up to",
            x=tuple(loss for loss, _ in known),
            y=tuple(found.low for _, found in known),
            low=tuple(found.low for _, found in known),
            high=tuple(found.high or found.low for _, found in known),
            style="points",
        )
    ]


def _papers(results: BatchResults) -> Series:
    losses = [
        *(level.loss for arm in results.arms if arm.fit is not None for level in arm.fit.levels),
        *(one.loss for one in results.noise),
    ]
    line = np.geomspace(min(losses), max(losses), 40).tolist()
    return Series(
        name="MiniCPM on C4: 1.21e9 / L^6.24",
        x=tuple(line),
        y=tuple(PAPER_A / loss**PAPER_B for loss in line),
        style="line",
        faint=True,
    )


def _larger(results: BatchResults) -> Figure:
    series = []
    for one in results.critical:
        group = f"after {one.at:,} tokens"
        rows = [
            (float(factor), value)
            for factor, by_seed in one.excess.items()
            for value in by_seed.values()
        ]
        means = {x: float(np.mean([value for place, value in rows if place == x])) for x, _ in rows}
        x, y = tuple(means), tuple(means.values())
        series.append(Series(name=group, group=group, x=x, y=y, style="line"))
        dots = (tuple(x for x, _ in rows), tuple(value for _, value in rows))
        series.append(Series(name="", group=group, x=dots[0], y=dots[1], style="points"))
    series.append(Series(name="", group="zero", y=(0.0,), style="rule"))
    return Figure(
        name="batch-larger",
        title="Larger batches from a checkpoint on",
        caption="A dot is an ending at k times the batch and sqrt(k) times the rate, minus the run "
        "itself at the same tokens, by seed; lines are means.",
        panels=(
            Panel(
                x="k: times the batch",
                y="loss minus that at k = 1 (nats)",
                log_x=True,
                series=tuple(series),
            ),
        ),
    )


def _first_seed(arm: ArmFit, batch: float) -> object:
    return next(curve.seed for curve in arm.arm.curves if curve.batch == batch)


def _seeds(results: BatchResults) -> str:
    counts = [
        f"{len({curve.seed for curve in arm.arm.curves})} seeds at the {arm.name} rate"
        for arm in results.arms
    ]
    return ", ".join(counts)
