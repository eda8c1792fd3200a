"""The summary at the top of a report: what a run came to, in a few sentences and one picture."""

from __future__ import annotations

from typing import Any

from pipelines.report.calls import TRAIN, recipe_of
from pipelines.report.decay_comparison import comparisons
from pipelines.report.endings import unequal_endings
from pipelines.report.funnel import Funnel
from pipelines.report.numerals import byte_size, count, quantity, share
from pipelines.report.reasons import dropped_by_reason
from pipelines.report.training_metrics import Trainings

NAMED = 3
"""Reasons that the summary names."""


def summary_section(
    record: dict[str, Any], funnel: Funnel, trainings: Trainings | None
) -> dict[str, Any]:
    """Sentences on corpus and training, and the decay compared on held-out documents."""
    lines = [_kept(funnel), _lost(record, funnel), _trained(record, trainings)]
    return {
        "lines": [line for line in lines if line],
        "comparisons": comparisons(trainings),
        "unequal": [] if trainings is None else unequal_endings(trainings),
    }


def _kept(funnel: Funnel) -> str:
    total = funnel.total
    sources = sum(row.kept > 0 for row in funnel.rows)
    tokens = "" if total.tokens is None else f", {quantity(total.tokens)} tokens"
    return (
        f"{count(total.kept)} of {count(total.entered)} records are kept "
        f"({share(total.kept, total.entered)}): {byte_size(total.kept_bytes)} of text{tokens}, "
        f"from {count(sources)} of {count(len(funnel.rows))} sources."
    )


def _lost(record: dict[str, Any], funnel: Funnel) -> str:
    """The reasons that took most documents; nothing where none was dropped."""
    counts = dropped_by_reason(record)
    ordered = sorted(counts, key=lambda key: (-counts[key]["documents"], key))[:NAMED]
    named = [
        f"{reason} ({step.replace('_', ' ')}): {count(gone)}, {share(gone, funnel.total.entered)}"
        for step, reason in ordered
        if (gone := counts[step, reason]["documents"])
    ]
    return f"Most documents went for {'; '.join(named)}." if named else ""


def _trained(record: dict[str, Any], trainings: Trainings | None) -> str:
    """The model and what it was shown; nothing where nothing was trained."""
    if trainings is None:
        return ""
    main, parameters = trainings.main, trainings.parameters
    size = "" if parameters is None else f" with {quantity(parameters)} parameters"
    branches = len(trainings.branches)
    others = f", and {branches} {'branch' if branches == 1 else 'branches'} of it"
    return (
        f"Model {recipe_of(record, TRAIN)['model']['preset']}{size} was trained on "
        f"{quantity(main.tokens)} tokens in {count(main.last_step)} steps"
        f"{others if branches else ''}."
    )
