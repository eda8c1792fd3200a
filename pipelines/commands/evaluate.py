"""Measure models: windtunnel evaluate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.options import Json, Runs, print_json, print_table, said_of_options
from pipelines.commands.program_options import (
    Passes,
    ProgramFiles,
    RunPrograms,
    Samples,
    Temperature,
    WithoutWalls,
    asked_programs,
)
from pipelines.commands.scores_table import (
    Harness,
    Items,
    Limit,
    Seen,
    Tasks,
    check_items,
    print_scores,
    write_items,
)
from pipelines.commands.terminal.shown import print_text

if TYPE_CHECKING:
    from pipelines.run.evaluate import Evaluation, Row


Target = Annotated[
    str,
    typer.Argument(
        metavar="CHECKPOINT|RUN|DIR",
        help="folder of a checkpoint; a run, by name or folder: its last checkpoint; or a "
        "folder that export or another program wrote",
    ),
]
Texts = Annotated[
    list[str] | None,
    typer.Option(
        help="file or glob with texts, records or lines, to measure on too; may be repeated"
    ),
]


@said_of_options({"tasks": "task"})
def evaluate_command(
    target: Target,
    texts: Texts = None,
    text_field: Annotated[
        str, typer.Option("--text-field", help="field with the text, of files with records")
    ] = "text",
    task: Tasks = None,
    harness: Harness = None,
    limit: Limit = None,
    programs: ProgramFiles = None,
    run_programs: RunPrograms = False,
    without_walls: WithoutWalls = False,
    samples: Samples = 1,
    passes: Passes = 1,
    temperature: Temperature = 0.0,
    items: Items = None,
    seen: Seen = True,
    branch: Annotated[
        str | None, typer.Option(help="of a run: its branch of this name instead")
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(min=2, help="tokens seen at once; default: its longest window of training"),
    ] = None,
    runs: Runs = "runs",
    as_json: Json = False,
) -> None:
    """Bits per byte of a model: on the held-out documents of its run by source, and on texts of
    yours, with 95 % intervals over documents. They compare between tokenizers. With --task the
    scores on benchmarks too: bits per byte of right answers, and how often they are the likeliest.
    With --programs how often programs that it writes pass their tests.
    """
    from pipelines.run.evaluate import evaluate

    check_items(items, [*(task or ()), *(harness or ()), *(programs or ())])
    asked = asked_programs(programs, run_programs, without_walls, samples, passes, temperature)
    found = evaluate(
        runs,
        target,
        texts=texts or (),
        text_field=text_field,
        tasks=task or (),
        harness=harness or (),
        programs=asked,
        limit=limit,
        branch=branch,
        window=window,
        seen=seen,
    )
    if items is not None:
        write_items(items, found)
    if as_json:
        print_json(found.to_json())
    else:
        _print(found)


def _print(found: Evaluation) -> None:
    header = ("of", "name", "texts", "bytes", "tokens", "bits per byte", "nats per token")
    if found.rows:
        print_table(header, [_cells(row) for row in found.rows])
    if found.scores:
        print_scores(found.scores, found.contamination)
    print_text(f"\n{found.model}, {found.window:,} tokens seen at once")
    for row in found.rows:
        if row.unreadable:
            print_text(f"{row.name}: {row.unreadable:,} records or lines were no text")


def _cells(row: Row) -> tuple[object, ...]:
    whole, half = row.losses.whole, row.losses.half_width
    if not whole.bytes:
        return (row.kind, row.name, row.losses.texts, 0, 0, "-", "-")
    interval = "" if half is None else f" ±{half:.4f}"
    return (
        row.kind,
        row.name,
        row.losses.texts,
        int(whole.bytes),
        int(whole.tokens),
        f"{whole.bits_per_byte:.4f}{interval}",
        f"{whole.per_token:.4f}",
    )


def register(app: typer.Typer) -> None:
    """Hang the command on the main application."""
    app.command("evaluate")(evaluate_command)
