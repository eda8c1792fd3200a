"""Tables of a search."""

from __future__ import annotations

from trainer.experiments.designs.search.importances import EVALUATORS
from trainer.experiments.designs.search.results import SearchResults
from trainer.experiments.designs.search.space import Values
from trainer.experiments.findings import Cell, Table


def tables_of(results: SearchResults) -> tuple[Table, ...]:
    """What was confirmed, the flat set, importances and the agreement of ranks."""
    tables = [_confirmed(results)]
    tables += [] if results.flat is None else [_flat(results)]
    tables += [_importances(results)] if results.importances else []
    tables += [] if results.agreement is None else [_agreement(results)]
    return tuple(tables)


def _confirmed(results: SearchResults) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for one in results.confirmed:
        mean = one.mean
        low, high = (None, None) if mean is None else mean.interval()
        value = None if mean is None else mean.value
        flat = "" if results.flat is None or one.name not in results.flat.confirmed else "yes"
        rows.append((one.name, *one.values, value, low, high, len(one.losses), flat))
    return Table(
        title="confirmed configurations",
        columns=("", *Values._fields, "loss", "low", "high", "seeds", "in the flat set"),
        rows=tuple(rows),
        note="Mean held-out loss in nats over seeds that the search did not use, with 95 % "
        "t-intervals; none where a seed diverged.",
    )


def _flat(results: SearchResults) -> Table:
    flat = results.flat
    assert flat is not None
    values = {trial.name: trial.values for trial in results.trials}
    values |= {one.name: one.values for one in results.confirmed}
    rows: list[tuple[Cell, ...]] = [
        (name, *values[name], loss, how)
        for how, losses in (("several seeds", flat.confirmed), ("one run", flat.untried))
        for name, loss in losses.items()
    ]
    return Table(
        title="flat set",
        columns=("", *Values._fields, "loss", "known from"),
        rows=tuple(rows),
        note=f"Within one standard deviation between seeds, {flat.deviation:.4f} nats with "
        f"{flat.degrees:g} degrees of freedom, of the best confirmed mean, {flat.loss:.4f}.",
    )


def _importances(results: SearchResults) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (name, *(results.importances[evaluator][name] for evaluator in EVALUATORS))
        for name in Values._fields
    ]
    return Table(
        title="importances",
        columns=("", *EVALUATORS),
        rows=tuple(rows),
        note="PED-ANOVA: how far the values of good trials differ from all. fANOVA: shares of "
        "variance in a random forest. Each sums to 1; trials that diverged count with ln V.",
    )


def _agreement(results: SearchResults) -> Table:
    agreement = results.agreement
    assert agreement is not None
    rows = tuple(
        (one.kind, one.value, one.low, one.high, one.p, one.pairs)
        for one in (agreement.spearman, agreement.kendall)
    )
    return Table(
        title=f"ranks at {results.budgets.short:g} and {results.budgets.long:g} tokens a parameter",
        columns=("", "correlation", "low", "high", "p", "configurations"),
        rows=rows,
        note=f"Of the first points of the search. The best at fewer tokens, "
        f"{agreement.best_short}, has rank {agreement.rank_of_short} at more.",
    )
