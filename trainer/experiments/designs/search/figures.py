"""Figures of a search."""

from __future__ import annotations

from trainer.experiments.designs.search.importances import EVALUATORS
from trainer.experiments.designs.search.results import SearchResults
from trainer.experiments.designs.search.space import PAPER, Space, Values
from trainer.experiments.findings import Figure, Panel, Series

LOSS = "held-out loss (nats)"


def figures_of(results: SearchResults, space: Space) -> tuple[Figure, ...]:
    """Slices along each value; importances, the course of the search, and ranks."""
    figures = []
    if any(trial.known is not None for trial in results.trials):
        figures += [_slices(results, space), _course(results)]
    if results.importances:
        figures.append(_importances(results))
    if results.agreement is not None:
        figures.append(_ranks(results))
    return tuple(figures)


def _slices(results: SearchResults, space: Space) -> Figure:
    trials = [trial for trial in results.trials if trial.known is not None]
    sound = [(one, one.mean) for one in results.confirmed if one.mean is not None]
    panels = []
    for place, name in enumerate(space.ranges):
        series = [
            Series(
                name="a trial",
                group="trial",
                x=tuple(trial.values[place] for trial in trials),
                y=tuple(trial.loss for trial in trials),
                style="points",
                faint=True,
            ),
            Series(
                name="confirmed",
                x=tuple(one.values[place] for one, _ in sound),
                y=tuple(mean.value for _, mean in sound),
                low=tuple(mean.low for _, mean in sound),
                high=tuple(mean.high for _, mean in sound),
                style="points",
            ),
        ]
        if name in results.slices:
            rows = results.slices[name]
            series.append(
                Series(
                    name="predicted, mean over the others",
                    x=tuple(value for value, _ in rows),
                    y=tuple(loss for _, loss in rows),
                    style="line",
                )
            )
        series.append(Series(name="the paper's value", x=(PAPER[place],), style="rule"))
        panels.append(Panel(title=name, x=name, y=LOSS, log_x=True, series=tuple(series)))
    lost = len(results.trials) - len(trials)
    return Figure(
        name="search-slices",
        title="Losses along each value",
        caption=f"A faint dot is a trial of one seed ({len(trials)}; {lost} diverged and have no "
        "dot); a dot with a bar is a configuration that was confirmed, mean and 95 % t-interval "
        "over its seeds; the line is a Gaussian process fitted to the trials, averaged over their "
        "other values, without an interval.",
        panels=tuple(panels),
    )


def _course(results: SearchResults) -> Figure:
    trials = results.trials
    best: list[float] = []
    for trial in trials:
        best.append(min([trial.loss, *best[-1:]]))
    numbers = tuple(float(trial.number) for trial in trials)
    series = (
        Series(
            name="a trial",
            x=numbers,
            y=tuple(trial.loss for trial in trials),
            style="points",
            faint=True,
        ),
        Series(name="least so far", x=numbers, y=tuple(best), style="line"),
    )
    return Figure(
        name="search-course",
        title="Losses by the number of the trial",
        caption=f"A dot is a trial of one seed ({len(trials)}); one that diverged stands at ln V. "
        "The least of many noisy losses is a lucky one: no interval.",
        panels=(Panel(x="trial", y=LOSS, series=series),),
    )


def _importances(results: SearchResults) -> Figure:
    series = tuple(
        Series(
            name=evaluator,
            x=tuple(map(float, range(len(Values._fields)))),
            y=tuple(results.importances[evaluator][name] for name in Values._fields),
            style="bars",
        )
        for evaluator in EVALUATORS
    )
    return Figure(
        name="search-importances",
        title="What the losses depend on",
        caption=f"Shares by two evaluators over {len(results.trials)} trials of one seed. "
        "PED-ANOVA: how far the values of good trials differ from all; fANOVA: shares of variance "
        "in a random forest. No intervals.",
        panels=(Panel(x="", y="importance", series=series, ticks=Values._fields),),
    )


def _ranks(results: SearchResults) -> Figure:
    agreement = results.agreement
    assert agreement is not None
    rows = [
        (trial.known, longer)
        for trial in results.trials
        if trial.known is not None and (longer := results.longer.get(trial.name)) is not None
    ]
    budgets, ranks = results.budgets, agreement.spearman
    interval = "" if ranks.low is None else f", 95 % interval {ranks.low:.2f} to {ranks.high:.2f}"
    return Figure(
        name="search-ranks",
        title="The same configurations at more tokens",
        caption=f"A dot is one of {len(rows)} configurations under one seed at both budgets; those "
        f"that diverged have none. Spearman's correlation over {ranks.pairs} is "
        f"{ranks.value:.2f}{interval}.",
        panels=(
            Panel(
                x=f"loss at {budgets.short:g} tokens a parameter",
                y=f"loss at {budgets.long:g} tokens a parameter",
                series=(
                    Series(
                        name="",
                        x=tuple(short for short, _ in rows),
                        y=tuple(longer for _, longer in rows),
                        style="points",
                    ),
                ),
            ),
        ),
    )
