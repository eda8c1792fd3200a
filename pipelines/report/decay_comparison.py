"""The decay in one picture: what it did to every held-out source, and on which sources a branch is
better or worse than the run.

A difference is the ending named first minus the one it is compared with, so below zero the first
one is better. One whose 95 % interval holds zero is told from none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.report.endings import held_out_rows
from pipelines.report.held_out_loss import HeldOutLoss
from pipelines.report.interval_chart import Interval, IntervalChart, interval_chart
from pipelines.report.numerals import count
from pipelines.report.seed_table import NOISE, SeedTable, difference_of
from pipelines.report.training_metrics import Trainings

BETTER, WORSE, OPEN = "better", "worse", "no difference seen"
_COLOURS = {BETTER: "kept", WORSE: "bad", OPEN: "s0"}
COMPARED = 8
"""Branches that the summary shows; the table of held-out losses has all."""


@dataclass(frozen=True)
class SourceDifference:
    """The difference of two endings on the held-out documents of one source, in nats per token."""

    source: str
    value: HeldOutLoss

    @property
    def verdict(self) -> str:
        """Better, worse, or neither where the interval holds zero or is not known."""
        width = self.value.half_width
        if width is None or abs(self.value.loss) <= width:
            return OPEN
        return BETTER if self.value.loss < 0 else WORSE


@dataclass(frozen=True)
class Comparison:
    """One ending against another, a row per held-out source, drawn on one scale."""

    title: str
    sentence: str
    rows: tuple[SourceDifference, ...]
    chart: IntervalChart


def comparisons(trainings: Trainings | None) -> list[Comparison]:
    """The run after its decay against before it, then every branch against the run; those that
    nothing held out was measured for are left out.
    """
    if trainings is None:
        return []
    rows, main = held_out_rows(trainings), trainings.main.name
    name = main if trainings.branches else "the run"
    found = [
        _comparison(
            f"{name[0].upper()}{name[1:]} after the decay, minus before it",
            f"After the decay {name} is",
            "than before it",
            [(row["source"], row["change"]) for row in rows],
        )
    ]
    for place, ending in enumerate(trainings.branches[:COMPARED]):
        found.append(
            _comparison(
                f"{ending.name}, minus {main}",
                f"{ending.name} is",
                f"than {main}",
                [(row["source"], row["branches"][place][1]) for row in rows],
            )
        )
    for table in trainings.seed_tables:
        found += seed_comparisons(table)
    return [comparison for comparison in found if comparison.rows]


def seed_comparisons(table: SeedTable) -> list[Comparison]:
    """Every mixture of a comparison over seeds against the first, paired by seed."""
    first, *others = table.mixtures
    found = []
    for mixture in others:
        rows = [row for row in table.rows() if row.mixture == mixture]
        comparison = _comparison(
            f"{mixture}, minus {first}: decays of {count(table.tokens)} tokens after step "
            f"{count(table.step)}",
            f"{mixture} is",
            f"than {first}",
            [(row.source, difference_of(row)) for row in rows],
        )
        seeds = f"{table.seeds} seeds" if table.seeds > 1 else "one seed, so without intervals"
        further = (f"Paired over {seeds}", *table.notes, *([NOISE] if table.seeds > 1 else []))
        told = f"{comparison.sentence} {'. '.join(further)}."
        found.append(dataclasses.replace(comparison, sentence=told))
    return found


def _comparison(
    title: str, subject: str, base: str, values: Sequence[tuple[str, HeldOutLoss | None]]
) -> Comparison:
    rows = tuple(SourceDifference(name, value) for name, value in values if value is not None)
    intervals = [
        Interval(row.source, row.value.loss, row.value.half_width, _COLOURS[row.verdict])
        for row in rows
    ]
    return Comparison(title, _sentence(subject, base, rows), rows, interval_chart(intervals))


def _sentence(subject: str, base: str, rows: Sequence[SourceDifference]) -> str:
    """Of how many sources which verdict holds, those that hold of none left out."""
    counts = {
        verdict: sum(row.verdict == verdict for row in rows) for verdict in (BETTER, WORSE, OPEN)
    }
    told = [
        f"{verdict} {base} on {counts[verdict]}" for verdict in (BETTER, WORSE) if counts[verdict]
    ]
    whole = f"of {len(rows)} held-out {'source' if len(rows) == 1 else 'sources'}"
    if not told:
        return f"{subject} neither better nor worse {base} on any {whole}."
    first = " and ".join(told)
    rest = f"; on {counts[OPEN]} no difference is seen" if counts[OPEN] else ""
    return f"{subject} {first} {whole}{rest}."
