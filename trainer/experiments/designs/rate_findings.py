"""What losses over learning rates and widths say: optima, how far they move, what off costs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from artifacts.statistics.estimates import mean_of, paired_difference
from trainer.experiments.design import Base, Measured
from trainer.experiments.findings import Figure, Findings, Panel, Series, Table, stated
from trainer.experiments.fits.optimum import GridPoint, Optimum, find_optimum, shifts
from trainer.experiments.verdicts import GRID_STEP, Claim, judge

Optima = dict[str, dict[int, Optimum]]
"""By arm and width."""


def rate_findings(
    base: Base, step: float, widths: Sequence[int], measured: Sequence[Measured]
) -> Findings:
    """Findings of a study over learning rates; ``step``: the ratio of neighbouring rates."""
    arms = list(dict.fromkeys(str(one["arm"]) for one in measured))
    points = {
        arm: {
            width: [
                _grid_point(base, one) for one in measured if one.point.at(arm=arm, width=width)
            ]
            for width in widths
        }
        for arm in arms
    }
    optima: Optima = {
        arm: {width: find_optimum(rows) for width, rows in by_width.items()}
        for arm, by_width in points.items()
    }
    verdicts = judge(
        [
            claim
            for arm in arms
            for claim in [*_claims_of_shift(arm, optima[arm], step), *_contrast(base, arm, points)]
        ]
    )
    return Findings(
        claims=stated(verdicts),
        tables=(_table(optima, step),),
        figures=(_figure(points, optima),),
        notes=tuple(_notes(optima, measured)),
        facts={
            "step": step,
            "optima": {
                arm: {str(width): one.to_json() for width, one in by_width.items()}
                for arm, by_width in optima.items()
            },
            "verdicts": [verdict.to_json() for verdict in verdicts],
        },
    )


def _grid_point(base: Base, one: Measured) -> GridPoint:
    diverged = one.outcome.diverged
    loss = base.primary.of(one.outcome)
    reason = None if diverged is None else f"{diverged.reason} at step {diverged.step}"
    if loss is None and reason is None:
        reason = "no held-out loss"
    return GridPoint(float(one["peak"]), loss, int(one["seed"]), reason)


def _claims_of_shift(arm: str, optima: Mapping[int, Optimum], step: float) -> list[Claim]:
    """That the optimum stays within one grid step between neighbouring widths, and over all."""
    by_width = {float(width): one for width, one in optima.items()}
    widths = sorted(by_width)
    pairs = shifts(by_width, step)
    if len(widths) > 2:
        pairs |= shifts({width: by_width[width] for width in (widths[0], widths[-1])}, step)
    claims = []
    for (small, large), moved in pairs.items():
        edges = [
            f"the optimum at width {width:g} lies {_edge(by_width[width])}"
            for width in (small, large)
            if by_width[width].at_edge
        ]
        lacking = "an optimum has no interval: run further seeds"
        name = f"{arm}: the best rate moves by at most one grid step, width {small:g} to {large:g}"
        reason = None if moved is not None else "; ".join(edges) or lacking
        claims.append(
            Claim(name, "equivalent", moved, margin=GRID_STEP, unit="grid steps", reason=reason)
        )
    return claims


def _edge(optimum: Optimum) -> str:
    where = (
        "beside rates that diverge"
        if optimum.edge == "divergence"
        else f"at the {optimum.edge} end"
    )
    further = "" if optimum.next_value is None else f"; run {optimum.next_value:.4g} next"
    return f"{where} of the grid{further}"


def _contrast(
    base: Base, arm: str, points: Mapping[str, Mapping[int, Sequence[GridPoint]]]
) -> list[Claim]:
    """That an arm is worse than the first one at the rate that is best at the smallest width, on
    the largest: what it costs to carry a rate over.
    """
    first = next(iter(points))
    widths = sorted(points[first])
    if arm == first or len(widths) < 2:
        return []
    carried = {name: find_optimum(by_width[widths[0]]) for name, by_width in points.items()}
    rate = _nearest(points[arm][widths[0]], carried[arm])
    own = _nearest(points[first][widths[0]], carried[first])
    mine = _by_seed(points[arm][widths[-1]], rate)
    theirs = _by_seed(points[first][widths[-1]], own)
    shared = mine.keys() & theirs.keys()
    margin, unit = base.loss_margin, base.primary.unit
    name = (
        f"{arm}: at width {widths[-1]} the best rate of width {widths[0]} costs more than with "
        f"{first}"
    )
    if len(shared) < 2:
        why = "fewer than two seeds have run both, or a run diverged"
        return [Claim(name, "worse", None, margin, unit, why)]
    difference = paired_difference(
        {seed: mine[seed] for seed in shared}, {seed: theirs[seed] for seed in shared}
    )
    return [Claim(name, "worse", difference, margin, unit)]


def _nearest(points: Sequence[GridPoint], optimum: Optimum) -> float | None:
    """The grid value nearest to an optimum, or the best one where there is none; None where every
    run diverged.
    """
    runs = [point for point in points if point.loss is not None]
    if not runs:
        return None
    if optimum.value is None:
        return min(runs, key=lambda point: point.loss or 0.0).x
    value = optimum.value
    return min((point.x for point in runs), key=lambda x: max(x / value, value / x))


def _by_seed(points: Sequence[GridPoint], rate: float | None) -> dict[Hashable, float]:
    return {
        point.seed: point.loss for point in points if point.x == rate and point.loss is not None
    }


def _table(optima: Optima, step: float) -> Table:
    rows = []
    for arm, by_width in optima.items():
        for width, one in by_width.items():
            low, high = one.interval or (None, None)
            seeds = len(one.vertices) or None
            note = _edge(one) if one.at_edge else one.reason or ""
            rows.append((arm, width, one.value, low, high, one.loss, seeds, note))
    return Table(
        title="best learning rate by width",
        columns=("arm", "width", "best rate", "low", "high", "loss there", "seeds", ""),
        rows=tuple(rows),
        note="Vertex of a parabola in ln(rate) for each seed, mean and 95 % t-interval over seeds; "
        f"one grid step is a factor of {step:.3g}.",
    )


def _figure(points: Mapping[str, Mapping[int, Sequence[GridPoint]]], optima: Optima) -> Figure:
    panels = []
    for arm, by_width in points.items():
        series = []
        for width, rows in by_width.items():
            group = f"width {width}"
            finite = [row for row in rows if row.loss is not None]
            rates = sorted({row.x for row in finite})
            means = [mean_loss(finite, rate) for rate in rates]
            series.append(
                Series(name=group, group=group, x=tuple(rates), y=tuple(means), style="line")
            )
            series.append(
                Series(
                    name="",
                    group=group,
                    x=tuple(row.x for row in finite),
                    y=tuple(row.loss for row in finite),
                    style="points",
                    faint=True,
                )
            )
            best = optima[arm][width].value
            if best is not None:
                series.append(Series(name="", group=group, x=(best,), style="rule"))
        panels.append(
            Panel(
                title=arm,
                x="peak learning rate",
                y="held-out loss",
                log_x=True,
                series=tuple(series),
            )
        )
    seeds = len(
        {row.seed for by_width in points.values() for rows in by_width.values() for row in rows}
    )
    diverged = sum(
        row.loss is None
        for by_width in points.values()
        for rows in by_width.values()
        for row in rows
    )
    return Figure(
        name="learning-rate",
        title="Loss over learning rates",
        caption=f"A dot is a run, a line the mean over at most {seeds} seeds, a dashed rule the "
        f"vertex of the parabola through the points near the best; {diverged} runs diverged and "
        "have no dot.",
        panels=tuple(panels),
    )


def mean_loss(points: Sequence[GridPoint], rate: float) -> float:
    """The mean over seeds at one rate."""
    losses = [point.loss for point in points if point.x == rate and point.loss is not None]
    return mean_of(losses).value if len(losses) > 1 else losses[0]


def _notes(optima: Optima, measured: Sequence[Measured]) -> list[str]:
    notes = [
        f"{arm}, width {width}: the optimum lies {_edge(one)}."
        for arm, by_width in optima.items()
        for width, one in by_width.items()
        if one.at_edge
    ]
    if any(one.outcome.diverged for one in measured):
        notes.append("Runs that diverged count as worse than all others at their rate.")
    return notes
