"""What a search found: a flat set, what counts, and whether ranks agree at more tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence

from artifacts.statistics.estimates import Estimate
from artifacts.statistics.ranks import RankCorrelation
from trainer.experiments.design import Base, Measured
from trainer.experiments.designs.search.confirmed import (
    confirmed_in,
    flat_of,
    paper_difference,
)
from trainer.experiments.designs.search.figures import figures_of
from trainer.experiments.designs.search.importances import importances, slices
from trainer.experiments.designs.search.results import Budgets, SearchResults
from trainer.experiments.designs.search.space import Space
from trainer.experiments.designs.search.tables import tables_of
from trainer.experiments.designs.search.trials import LONGER, nats, trials_in
from trainer.experiments.findings import Findings, stated
from trainer.experiments.fits.search import Agreement, rank_agreement
from trainer.experiments.verdicts import Claim, judge

LARGE = 1e6
"""Degrees of freedom of what is normal."""


def found(base: Base, measured: Sequence[Measured], space: Space, budgets: Budgets) -> Findings:
    """Findings of a search."""
    results = _results(base, measured, space, budgets)
    difference, reason = paper_difference(results.confirmed)
    claims = [
        Claim(
            "the paper's values are not worse than the best that was confirmed",
            "not worse",
            difference,
            base.loss_margin,
            reason=reason,
        )
    ]
    if budgets.compared:
        claims.append(_ranks_agree(results))
    verdicts = judge(claims)
    return Findings(
        claims=stated(verdicts),
        tables=tables_of(results),
        figures=figures_of(results, space),
        notes=tuple(_notes(results)),
        facts={
            "trials": [
                {**trial.values._asdict(), "loss": trial.known, "diverged": trial.diverged}
                for trial in results.trials
            ],
            "confirmed": [one.to_json() for one in results.confirmed],
            "flat_set": None if results.flat is None else results.flat.to_json(),
            "importances": results.importances,
            "agreement": None if results.agreement is None else results.agreement.to_json(),
            "verdicts": [verdict.to_json() for verdict in verdicts],
        },
    )


def _results(
    base: Base, measured: Sequence[Measured], space: Space, budgets: Budgets
) -> SearchResults:
    trials, confirmed = trials_in(base, measured), confirmed_in(base, measured)
    primary = nats(base)
    longer = {
        f"trial {one['trial']}": primary.of(one.outcome)
        for one in measured
        if one.point.at(stage=LONGER)
    }
    agreement, why = _agreement({one.name: one.known for one in trials}, longer)
    return SearchResults(
        trials=tuple(trials),
        confirmed=tuple(confirmed),
        flat=flat_of(trials, confirmed),
        importances=importances(space, trials),
        slices=slices(space, trials),
        longer=longer,
        budgets=budgets,
        agreement=agreement,
        no_agreement=why,
    )


def _agreement(
    short: dict[str, float | None], longer: dict[str, float | None]
) -> tuple[Agreement | None, str | None]:
    shared = [name for name in short if name in longer]
    columns = [{budget[name] for name in shared} for budget in (short, longer)]
    if len(shared) < 4 or min(map(len, columns)) < 2:
        return None, f"{len(shared)} configurations have losses that differ at both budgets"
    return rank_agreement({name: short[name] for name in shared}, longer), None


def _ranks_agree(results: SearchResults) -> Claim:
    budgets = results.budgets
    name = (
        f"ranks at {budgets.short:g} and {budgets.long:g} tokens a parameter correlate by more "
        f"than {budgets.agreement:g}"
    )
    if results.agreement is None:
        reason = results.no_agreement
        return Claim(name, "worse", None, margin=0.0, unit="Fisher's z", reason=reason)
    return Claim(
        name,
        "worse",
        _fisher(results.agreement.spearman),
        margin=math.atanh(budgets.agreement),
        unit="Fisher's z",
    )


def _fisher(ranks: RankCorrelation) -> Estimate:
    """atanh of Spearman's correlation, which is normal; all ranks alike count as half a swap of
    neighbours (:mod:`artifacts.statistics.ranks`).
    """
    swap = 6 / (ranks.pairs * (ranks.pairs**2 - 1))
    inside = min(max(ranks.value, swap - 1), 1 - swap)
    error = math.sqrt((1 + inside**2 / 2) / (ranks.pairs - 3))
    return Estimate(math.atanh(inside), error, LARGE)


def _notes(results: SearchResults) -> list[str]:
    notes = [
        f"{trial.name} diverged ({trial.diverged}); the search was told ln V, {trial.loss:.3f}."
        for trial in results.trials
        if trial.diverged
    ]
    notes += [
        f"{one.name} is not in the flat set: it diverged under seed "
        f"{', '.join(map(str, one.lost))}."
        for one in results.confirmed
        if one.lost
    ]
    if results.flat is not None:
        flat = results.flat
        notes.append(
            f"{len(flat.confirmed)} confirmed configurations and {len(flat.untried)} of one run "
            f"alone lie within one standard deviation ({flat.deviation:.4f} nats, between seeds) "
            "of the best confirmed mean. The search cannot tell them apart, so no single best is "
            "given."
        )
    if results.no_agreement and results.longer:
        notes.append(f"Ranks at more tokens cannot be compared: {results.no_agreement}.")
    return notes
