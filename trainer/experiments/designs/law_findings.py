"""What losses over sizes and lengths say: a law's constants, the best ratio, how sure both are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from artifacts.errors import UserError
from artifacts.statistics.estimates import paired_difference
from trainer.experiments.design import Base, Measured
from trainer.experiments.findings import Figure, Findings, Panel, Series, Table, stated
from trainer.experiments.laws.analysis import Analysis, analysed
from trainer.experiments.laws.forest import fitted
from trainer.experiments.laws.law import CONSTANTS, PER_TOKEN
from trainer.experiments.laws.points import Points
from trainer.experiments.verdicts import Claim, Verdict, judge


def law_findings(base: Base, measured: Sequence[Measured]) -> Findings:
    """Findings of a study over sizes and lengths. Runs that diverged have no place in a fit; they
    are counted in a note.
    """
    whole = endings(base, measured)
    lost = sum(one["schedule"] == "wsd" for one in measured) - len(whole)
    notes = [_lost(lost)] if lost else []
    verdicts = judge(_cosine_claims(base, measured))
    try:
        if not whole:
            raise UserError("no ending has a loss", fix="lower the peak rate of the design")
        points = points_of(base, whole)
        middle = float(np.exp(np.mean(np.log(PER_TOKEN * points.parameters * points.tokens))))
        found = analysed(points, unit=base.primary.unit, operations=middle)
    except UserError as error:
        return Findings(claims=stated(verdicts), notes=(*notes, f"No law is fitted: {error}"))
    return Findings(
        claims=stated(verdicts),
        tables=(
            _constants(found),
            _by_source(found),
            _forest(found),
            _cosines(base, measured, verdicts),
        ),
        figures=(_curves(base, whole, found), _ratios(found)),
        notes=(*notes, *_sentences(found)),
        facts=found.to_json(),
    )


def endings(base: Base, measured: Sequence[Measured]) -> list[Measured]:
    """The ends of decays that have a loss."""
    return [
        one
        for one in measured
        if one["schedule"] == "wsd" and base.primary.of(one.outcome) is not None
    ]


def points_of(base: Base, measured: Sequence[Measured]) -> Points:
    """The points of a fit: parameters without embedding, all tokens, the primary loss; beside them
    the other counts of parameters, and the loss of every source in the primary's unit.
    """
    outcomes = [one.outcome for one in measured]
    sources = sorted(set.intersection(*(set(outcome.losses) for outcome in outcomes)))

    def column(values: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array(values, np.float64)

    return Points(
        parameters=column([outcome.parameters for outcome in outcomes]),
        tokens=column([outcome.tokens for outcome in outcomes]),
        losses=column([base.primary.of(outcome) for outcome in outcomes]),
        trunk=[one["seed"] for one in measured],
        sizes=[one["size"] for one in measured],
        sources={
            name: column([getattr(one.losses[name], base.primary.unit) for one in outcomes])
            for name in sources
        },
        counts={
            "all parameters": column([outcome.total_parameters for outcome in outcomes]),
            "exact operations / 6 D": column(
                [one.operations / one.own_tokens / PER_TOKEN for one in outcomes]
            ),
        },
    )


def _lost(count: int) -> str:
    return f"{count} runs diverged or have no held-out loss, and take no part in the fit."


def _cosine_claims(base: Base, measured: Sequence[Measured]) -> list[Claim]:
    """That an ending and the cosine run of its length come to the same loss, at each corner."""
    corners = dict.fromkeys(
        (one["size"], one["tokens"]) for one in measured if one["schedule"] == "cosine"
    )
    claims = []
    for size, tokens in corners:
        losses: dict[str, dict[int, float]] = {"wsd": {}, "cosine": {}}
        for one in measured:
            loss = base.primary.of(one.outcome)
            if one.point.at(size=size, tokens=tokens) and loss is not None:
                losses[str(one["schedule"])][int(one["seed"])] = loss
        margin, unit = base.loss_margin, base.primary.unit
        shared = losses["wsd"].keys() & losses["cosine"].keys()
        name = f"size {size}, {tokens:,} tokens: WSD is not worse than the cosine of its length"
        if len(shared) < 2:
            claims.append(
                Claim(name, "not worse", None, margin, unit, "fewer than two seeds have both")
            )
            continue
        sides = [{seed: losses[kind][seed] for seed in shared} for kind in ("wsd", "cosine")]
        difference = paired_difference(sides[0], sides[1])  # type: ignore[arg-type]
        claims.append(Claim(name, "not worse", difference, margin, unit))
    return claims


def _constants(found: Analysis) -> Table:
    rows: list[tuple[Any, ...]] = []
    for name, (_, law) in found.solutions.items():
        own = law._asdict()
        ratio = float(law.ratio(found.operations))
        rows.append((name, *(float(own[constant]) for constant in CONSTANTS), ratio))
    ends = {name: found.intervals.get(name) for name in CONSTANTS}
    for side in ("low", "high"):
        row = [None if ends[name] is None else getattr(ends[name], side) for name in CONSTANTS]
        rows.append((f"headline, {side}", *row, _ratio_end(found, side)))
    undetermined = "; ".join(f"{name}: {why}" for name, why in found.reasons.items())
    return Table(
        title="L(N, D) = E + A N^-alpha + B D^-beta",
        columns=("fit", *CONSTANTS, f"D/N at {found.operations:.3g}"),
        rows=tuple(rows),
        note=f"The headline is the fit by Huber's loss; its interval: {found.methods.because}."
        + (f" Not determined by these runs: {undetermined}." if undetermined else ""),
    )


def _by_source(found: Analysis) -> Table:
    """The law of each held-out source, by Huber's loss."""
    rows: list[tuple[Any, ...]] = []
    for name in found.points.sources:
        law = fitted(found.points.of_source(name))
        constants = (float(value) for value in law)
        rows.append((name, *constants, float(law.ratio(found.operations))))
    return Table(
        title="the law of each held-out source",
        columns=("source", *CONSTANTS, f"D/N at {found.operations:.3g}"),
        rows=tuple(rows),
        note="Without intervals: what the sources differ by is not told from noise here.",
    )


def _ratio_end(found: Analysis, side: str) -> float | None:
    if found.methods.spread is None:
        return None
    interval = found.methods.spread.interval(
        lambda law: law.ratio(found.operations), found.law, logarithmic=True
    )
    return None if interval is None else float(getattr(interval, side))


def _forest(found: Analysis) -> Table:
    rows = tuple((row.kind, row.change, row.points, float(row.ratio)) for row in found.forest)
    return Table(
        title=f"D/N at {found.operations:.3g} operations, fitted otherwise",
        columns=("what", "change", "points", "D/N"),
        rows=rows,
    )


def _cosines(base: Base, measured: Sequence[Measured], verdicts: Sequence[Verdict]) -> Table:
    rows = []
    for one in verdicts:
        difference = one.claim.difference
        low, high = one.interval or (None, None)
        value = None if difference is None else difference.value
        rows.append((one.claim.name, value, low, high, one.conclusion))
    return Table(
        title="decays against cosine runs of the same length",
        columns=("corner", "difference", "low", "high", "verdict"),
        rows=tuple(rows),
        note=f"WSD minus cosine, paired by seed; margin {base.loss_margin}.",
    )


def _sentences(found: Analysis) -> list[str]:
    paper = found.paper()["sentence"]
    return [
        f"{paper} The runs end at {found.budgets[0]:.0e} to some powers of ten more; 1e21 is far "
        "outside.",
        "The law holds for this corpus, this tokenizer and these sizes.",
    ]


def _curves(base: Base, measured: Sequence[Measured], found: Analysis) -> Figure:
    sizes = list(dict.fromkeys(str(one["size"]) for one in measured))
    series, residuals = [], []
    for size in sizes:
        rows = sorted(
            (one.outcome.tokens, base.primary.of(one.outcome) or math.nan, one.outcome.parameters)
            for one in measured
            if one["size"] == size
        )
        tokens = tuple(float(row[0]) for row in rows)
        group = f"{size}, N = {rows[0][2]:,}"
        series.append(
            Series(
                name="",
                group=group,
                x=tokens,
                y=tuple(row[1] for row in rows),
                style="points",
                faint=True,
            )
        )
        grid = sorted(set(tokens))
        predicted = [float(found.law.loss(rows[0][2], at)) for at in grid]
        series.append(
            Series(name=group, group=group, x=tuple(grid), y=tuple(predicted), style="line")
        )
        ratios = tuple(math.log(row[1] / float(found.law.loss(row[2], row[0]))) for row in rows)
        residuals.append(Series(name="", group=group, x=tokens, y=ratios, style="points"))
    zero = Series(name="", group="zero", y=(0.0,), style="rule")
    return Figure(
        name="law",
        title="Loss over tokens by size",
        caption=f"A dot is the end of a decay ({len(measured)} of them, seeds as dots of one "
        "colour), a line the fitted law; on the right ln(measured / fitted).",
        panels=(
            Panel(x="tokens", y="held-out loss", log_x=True, series=tuple(series)),
            Panel(x="tokens", y="ln(measured / fitted)", log_x=True, series=(*residuals, zero)),
        ),
    )


def _ratios(found: Analysis) -> Figure:
    rows = [("headline", float(found.law.ratio(found.operations)))]
    rows += [(f"{row.kind}: {row.change}", float(row.ratio)) for row in found.forest]
    low, high = _ratio_end(found, "low"), _ratio_end(found, "high")
    places = tuple(float(place) for place in range(len(rows)))
    points = Series(
        name="D/N",
        x=places,
        y=tuple(value for _, value in rows),
        low=(low, *(None for _ in rows[1:])),
        high=(high, *(None for _ in rows[1:])),
        style="points",
    )
    budgets = [row for row in found.optima() if not row["extrapolated"]]
    band = Panel(
        title="best ratio over compute",
        x="operations",
        y="D/N",
        log_x=True,
        log_y=True,
        series=(
            Series(
                name="this study",
                x=tuple(row["operations"] for row in budgets),
                y=tuple(row["ratio"] for row in budgets),
                style="line",
            ),
            *(
                Series(
                    name=name,
                    x=tuple(row["operations"] for row in budgets),
                    y=tuple(row["others"][name] for row in budgets),
                    style="line",
                    faint=True,
                )
                for name in ("chinchilla", "paper")
            ),
        ),
    )
    forest = Panel(
        title=f"at {found.operations:.3g} operations",
        x="",
        y="D/N",
        log_y=True,
        series=(points,),
        ticks=tuple(name for name, _ in rows),
    )
    return Figure(
        name="ratio",
        title="Tokens per parameter",
        caption="Left the ratio by every other choice of fit, the bar the headline's 95 % "
        "interval; right over compute, within the range of the runs, beside published laws.",
        panels=(forest, band),
    )
