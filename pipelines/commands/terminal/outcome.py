"""What a run says at its end: the funnel as a table, where things lie, and how to go on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from rich.box import HORIZONTALS
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from artifacts.commands import Command
from pipelines.commands.hints import completed
from pipelines.commands.terminal.names import shortened
from pipelines.commands.terminal.shown import ShownConsole
from pipelines.commands.terminal.training import held_out_table, training_places
from pipelines.report.calls import earlier_stretches
from pipelines.report.endings import unequal_endings
from pipelines.report.funnel import Funnel, FunnelRow, FunnelStep, read_funnel
from pipelines.report.numerals import byte_size, count, duration, share
from pipelines.report.page import REPORT
from pipelines.report.recipe_stages import is_finished
from pipelines.report.training_metrics import Trainings, read_trainings
from pipelines.run.driver import RunOutcome

WIDTH = 100
_LEAST_WHY = 26  # columns below which reasons cannot be read
_LONG_COMMAND = 56  # a longer one has its purpose on a line of its own
_GAP = 2
DEFAULT_RUNS = "runs"  # where commands look for runs by name
# broken where columns are narrow
_HEADERS = {"read": "not read", "unique": "equal keys", "decontaminate": "decon- taminate"}


def funnel_table(record: dict[str, Any], width: int = WIDTH) -> Table:
    """Documents per source: read, leaving at each step (``+2q``: two of them quarantined), kept,
    and tokens.

    Where the steps do not fit into ``width`` columns they are folded into one column of reasons.
    """
    funnel = read_funnel(record)
    headers = [
        "source",
        "read",
        *(_HEADERS.get(step.name, step.label) for _, step in _acting(funnel)),
        "kept",
        "tokens",
    ]
    rows = [_cells(funnel, row) for row in (*funnel.rows, funnel.total)]
    if _least_width(headers, rows) > width:
        return _folded(funnel, record, width)
    table = _plain_table()
    for index, (header, least) in enumerate(zip(headers, _widths(headers, rows), strict=True)):
        table.add_column(
            header, justify="right" if index else "left", vertical="bottom", width=least
        )
    _fill(table, rows)
    return table


def print_outcome(
    console: Console,
    outcome: RunOutcome,
    report: str | None = None,
    seconds: float | None = None,
    *,
    recipe: str = "RECIPE",
) -> None:
    """Show what a run made: funnel, places, next commands.

    ``report``: name of the report in the run's folder (default: the usual one, where it is there);
    ``seconds``: wall time; ``recipe``: its path, for the commands.
    """
    record = outcome.record
    trainings = read_trainings(outcome.store, record)
    if not console.is_terminal and console.width < WIDTH:
        # a file has no width; rich takes it for 80 columns
        console = ShownConsole(file=console.file, width=WIDTH, color_system=None)
    console.print()
    console.print(Padding(funnel_table(record, min(console.width, WIDTH) - 2), (0, 0, 0, 2)))
    console.print()
    for label, value in _places(outcome, report):
        _line(console, label, value)
    for label, value in () if trainings is None else training_places(trainings):
        _line(console, label, value)
    for sentence in earlier_stretches(record):
        _line(console, "earlier", sentence)
    _line(console, "work", _work(outcome, seconds))
    console.print()
    if trainings is not None:
        _held_out(console, trainings)
    _commands(console, _next_commands(outcome, recipe, trainings))


def _commands(console: Console, commands: Sequence[tuple[str, str]]) -> None:
    width = max(
        [len(command) for command, _ in commands if len(command) <= _LONG_COMMAND], default=0
    )
    for command, purpose in commands:
        broken = f"\n{'':{width + 4}}" if len(command) > width else "  "
        console.print(
            Text.assemble(f"  {command:<{width}}{broken}", (purpose, "dim")), soft_wrap=True
        )


def print_training(
    console: Console, outcome: RunOutcome, report: str, seconds: float, *, recipe: str = "RECIPE"
) -> None:
    """Show what a training alone made: how far it is, where it lies, its held-out losses, next
    commands.
    """
    trainings = read_trainings(outcome.store, outcome.record)
    if not console.is_terminal and console.width < WIDTH:
        console = ShownConsole(file=console.file, width=WIDTH, color_system=None)
    console.print()
    _line(console, "report", outcome.store.full(report))
    for label, value in () if trainings is None else training_places(trainings):
        _line(console, label, value)
    _line(console, "work", _training_work(outcome, seconds))
    console.print()
    if trainings is not None:
        _held_out(console, trainings)
    _commands(console, _next_commands(outcome, recipe, trainings, go_on="train"))


def _training_work(outcome: RunOutcome, seconds: float) -> str:
    steps = outcome.record["training"]["steps"]
    whole = "" if is_finished(outcome.record) else f"; the recipe has {count(steps)} steps"
    if not outcome.computed:
        return f"nothing was trained; everything was there ({duration(seconds)}){whole}"
    peak = max(ledger.peak_bytes for ledger in outcome.ledgers)
    return f"{duration(seconds)}, at most {byte_size(peak)} of memory{whole}"


def _held_out(console: Console, trainings: Trainings) -> None:
    found = held_out_table(trainings, min(console.width, WIDTH) - 2)
    if found is None:
        return
    table, left_out = found
    console.print(Padding(table, (0, 0, 0, 2)))
    if left_out:
        console.print(
            Text(
                f"  {left_out} more {'branch' if left_out == 1 else 'branches'} in the report",
                style="dim",
            )
        )
    for sentence in unequal_endings(trainings):
        console.print(f"  {sentence}", soft_wrap=True)
    console.print()


def _line(console: Console, label: str, value: str) -> None:
    console.print(Text.assemble((f"  {label:<10}", "dim"), value), soft_wrap=True)


def _plain_table() -> Table:
    return Table(
        box=HORIZONTALS,
        header_style="dim",
        border_style="dim",
        show_edge=False,
        pad_edge=False,
        padding=(0, 0, 0, _GAP - 1),
    )


def _fill(table: Table, rows: Sequence[Sequence[str]]) -> None:
    """Rows with the last one, the sum, below a line and in bold."""
    for row in rows[:-1]:
        table.add_row(*row)
    table.add_section()
    table.add_row(*rows[-1], style="bold")


def _acting(funnel: Funnel) -> list[tuple[int, FunnelStep]]:
    """Steps to show, with their places: the recipe's, and those before them that took something
    away.
    """
    left = [
        dropped + quarantined
        for dropped, quarantined in zip(funnel.total.dropped, funnel.total.quarantined, strict=True)
    ]
    return [
        (place, step)
        for place, step in enumerate(funnel.steps)
        if left[place] or step.name not in ("read", "unique", "conversations")
    ]


def _cells(funnel: Funnel, row: FunnelRow) -> list[str]:
    left = [_left(row.dropped[place], row.quarantined[place]) for place, _ in _acting(funnel)]
    return [
        shortened(row.source),
        count(row.entered),
        *left,
        count(row.kept),
        "-" if row.tokens is None else count(row.tokens),
    ]


def _left(dropped: int, quarantined: int) -> str:
    """``12``, ``12+3q``, ``3q``, or ``-`` for nothing."""
    parts = ([count(dropped)] if dropped else []) + (
        [f"{count(quarantined)}q"] if quarantined else []
    )
    return "+".join(parts) or "-"


def _least_width(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Columns the table needs when headers are broken between words and cells are not."""
    widths = _widths(headers, rows)
    return sum(widths) + _GAP * (len(widths) - 1)


def _widths(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    widths = [max([len(word) for word in header.split()] or [0]) for header in headers]
    for row in rows:
        widths = [max(width, len(cell)) for width, cell in zip(widths, row, strict=True)]
    return widths


def _folded(funnel: Funnel, record: dict[str, Any], width: int) -> Table:
    """The table with one column for all steps, and the most frequent reasons where there is
    room.
    """
    headers = ["source", "read", "left", "kept", "tokens"]
    rows = []
    for row in (*funnel.rows, funnel.total):
        left = _left(sum(row.dropped), sum(row.quarantined))
        rows.append(
            [
                shortened(row.source),
                count(row.entered),
                left,
                count(row.kept),
                "-" if row.tokens is None else count(row.tokens),
            ]
        )
    room = width - _least_width(headers, rows) - _GAP
    table = _plain_table()
    for index, (header, least) in enumerate(zip(headers, _widths(headers, rows), strict=True)):
        table.add_column(header, justify="right" if index else "left", width=least)
    if room >= _LEAST_WHY:
        table.add_column("most frequent reasons", width=room, overflow="fold")
        for cells, source in zip(rows, [*(row.source for row in funnel.rows), None], strict=True):
            cells.append(_reasons(record, source, room))
    _fill(table, rows)
    return table


def _reasons(record: dict[str, Any], source: str | None, room: int) -> str:
    """Reasons by number of documents, as many as two lines of ``room`` columns take."""
    totals: dict[str, int] = {}
    for ledger in record["ledgers"]:
        entry = (
            ledger["total"] if source is None else ledger["sources"].get(source, {"dropped": {}})
        )
        for reason, dropped in entry["dropped"].items():
            totals[reason] = totals.get(reason, 0) + dropped["documents"]
    said = ""
    for reason, documents in sorted(totals.items(), key=lambda item: (-item[1], item[0])):
        longer = f"{said}, {reason} {count(documents)}" if said else f"{reason} {count(documents)}"
        if said and len(longer) > room * 3 // 2:
            break
        said = longer
    return said


def _places(outcome: RunOutcome, report: str | None) -> list[tuple[str, str]]:
    store, record = outcome.store, outcome.record
    places = [("run", store.full("run.json").removesuffix("/run.json"))]
    if report is not None or store.exists(REPORT):
        places.append(("report", store.full(report or REPORT)))
    if record["tokenizer"]:
        places.append(
            (
                "tokenizer",
                f"{record['tokenizer']['file']['name']}   "
                f"{count(record['tokenizer']['vocab_size'])} pieces",
            )
        )
    width = max((len(shortened(source)) for source in record["shards"]), default=0)
    folders = max((len(facts["folder"]) for facts in record["shards"].values()), default=0)
    for index, (source, facts) in enumerate(sorted(record["shards"].items())):
        parts = f"{count(facts['parts'])} {'part' if facts['parts'] == 1 else 'parts'}"
        places.append(
            (
                "" if index else "shards",
                f"{shortened(source):<{width}}  {facts['folder']:<{folders}}  {parts:>9}  "
                f"{facts['tokens']:>15,} tokens",
            )
        )
    return places


def _work(outcome: RunOutcome, seconds: float | None) -> str:
    total = read_funnel(outcome.record).total
    spent = (
        duration(seconds)
        if seconds is not None
        else f"{duration(sum(ledger.seconds for ledger in outcome.ledgers))} in all steps"
    )
    if not outcome.computed:
        return f"nothing was recomputed; everything was there ({spent})"
    kept = f"{share(total.kept, total.entered)} of documents kept"
    return (
        f"{byte_size(total.entered_bytes)} read, {kept}, "
        f"{count(outcome.computed)} units of work in {spent}"
    )


def _next_commands(
    outcome: RunOutcome, recipe: str, trainings: Trainings | None, go_on: str = "run"
) -> list[tuple[Command, str]]:
    record = outcome.record
    root = outcome.store.root
    name = record["name"]
    run = name if root == os.path.abspath(f"{DEFAULT_RUNS}/{name}") else root
    commands = [
        (Command("report RUN", RUN=run), "see what was kept and why, as one HTML file"),
        (Command("corpus explain ID --run RUN", RUN=run), "what happened to one document"),
    ]
    if not is_finished(record):
        there = (
            "training"
            if record["shards"]
            else "the tokenizer and the shards"
            if record["recipe"].get("tokenizer")
            else "the corpus"
        )
        there = "the end of the training" if go_on == "train" else there
        on = Command("train RECIPE" if go_on == "train" else "run RECIPE", RECIPE=recipe)
        commands.insert(0, (completed(on), f"go on to {there}"))
    if record["shards"]:
        commands.append((Command("shards verify RUN", RUN=run), "check every byte of the shards"))
    if trainings is not None:
        commands.append(
            (Command("mixture trace RUN --step 1", RUN=run), "which documents a step showed")
        )
        if trainings.main.checkpoint is not None:
            folder = f"{DEFAULT_RUNS}/{name}" if run == name else root
            checkpoint = f"{folder}/{trainings.main.checkpoint}"
            says = Command("generate CHECKPOINT TEXT", CHECKPOINT=checkpoint)
            commands.append((says, "let the model go on from a text"))
    return commands
