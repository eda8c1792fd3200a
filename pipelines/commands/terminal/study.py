"""What commands of experiments print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table as Rows
from rich.text import Text

from pipelines.commands.terminal.shown import ShownConsole
from pipelines.report.numerals import duration

if TYPE_CHECKING:
    from pipelines.studies.ahead import Ahead
    from pipelines.studies.study import StudyOutcome

COLOURS = {"shown": "green", "refuted": "red", "cannot tell": "yellow"}


def study_json(outcome: StudyOutcome) -> dict[str, Any]:
    """The findings, where they lie, and how many runs this call made."""
    return {
        "experiment": outcome.experiment.experiment.name,
        "folder": outcome.folder.root,
        "runs": len(outcome.lines),
        "made": len(outcome.made),
        **outcome.findings.model_dump(mode="json"),
    }


def print_study(console: ShownConsole, outcome: StudyOutcome) -> None:
    """Verdicts first, then tables and notes, then where everything lies."""
    from pipelines.studies.pages import cell, claim_figures

    findings = outcome.findings
    for table in findings.tables:
        rows = Rows(*table.columns, title=table.title, title_justify="left", box=None)
        for row in table.rows:
            rows.add_row(*(cell(value) for value in row))
        console.print(rows)
        if table.note:
            console.print(Text(table.note, style="dim"))
    for claim in findings.claims:
        verdict = Text(f"{claim.verdict}: ", style=COLOURS[claim.verdict])
        console.print(verdict.append(claim.claim, style="default"))
        console.print(Text(f"  {claim_figures(claim)}", style="dim"))
    for note in findings.notes:
        console.print(Text(note, style="dim"))
    there = len(outcome.lines) - len(outcome.made)
    console.print(
        f"{len(outcome.lines)} runs, {len(outcome.made)} made by this call, {there} there before"
    )
    console.print(f"{outcome.folder.root}; figures: windtunnel tunnel figures STUDIES")


def ahead_rows(found: Ahead) -> list[tuple[str, ...]]:
    """A row for each group of runs of one shape."""
    return [
        (
            f"{group.width} x {group.layers}",
            f"{group.batch_tokens:,}",
            str(group.made),
            str(group.to_come),
            f"{group.tokens:,}",
            f"{group.speed:,.0f}" if group.to_come else "-",
            duration(group.seconds) if group.to_come else "-",
        )
        for group in found.groups
    ]


def print_ahead(console: ShownConsole, found: Ahead) -> None:
    """What is there and what is to come."""
    head = ("shape", "batch", "there", "to come", "tokens to come", "tokens/s", "one core")
    rows = Rows(*head, box=None)
    for row in ahead_rows(found):
        rows.add_row(*row)
    console.print(rows)
    console.print(
        f"about {duration(found.seconds)} of training with {found.workers} at a time"
        + ("; the design may want further runs then" if found.more else "")
    )
