"""What commands of experiments print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from artifacts.commands import Command
from pipelines.commands.options import print_table
from pipelines.commands.terminal.shown import ShownConsole
from pipelines.report.numerals import duration

if TYPE_CHECKING:
    from pipelines.studies.ahead import Ahead
    from pipelines.studies.study import StudyOutcome

MOST_ROWS = 24
"""Of a table on the terminal."""

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
        console.print(Text(table.title, style="bold"))
        shown = table.rows[:MOST_ROWS]
        print_table(table.columns, [tuple(map(cell, row)) for row in shown])
        if len(shown) < len(table.rows):
            console.print(f"and {len(table.rows) - len(shown)} rows more, in the page of figures")
        if table.note:
            console.print(Text(table.note, style="dim"))
        console.print()
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
    drawing = Command("tunnel figures FOLDER", FOLDER=outcome.folder.root.rpartition("/")[0])
    console.print(f"{outcome.folder.root}; {drawing} draws its figures", soft_wrap=True)


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
    print_table(head, list(ahead_rows(found)))
    console.print(
        f"about {duration(found.seconds)} of training with {found.workers} at a time"
        + ("; the design may want further runs then" if found.more else "")
    )
