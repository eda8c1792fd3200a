"""Commands over a run's documents: windtunnel corpus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from artifacts.errors import UserError
from pipelines.commands.options import Json, Runs, print_json, print_table, said_of_options
from pipelines.commands.terminal.shown import ShownConsole

if TYPE_CHECKING:
    from pipelines.run.export import Exported
    from pipelines.run.requeue import Requeued

corpus_app = typer.Typer(no_args_is_help=True, help="Ask what happened to documents.")


@corpus_app.command()
@said_of_options()
def explain(
    document: Annotated[
        str, typer.Argument(metavar="ID", help="32 hex digits, or SOURCE:NATIVE_ID")
    ],
    run: Annotated[str, typer.Option(help="name of a run, or its folder")],
    runs: Runs = "runs",
    as_json: Json = False,
) -> None:
    """What happened to one document: where it is from, what was measured, why it stayed or went."""
    from pipelines.report.explain import explain_document, lines
    from pipelines.run.record import load_run

    facts = explain_document(*load_run(runs, run), document)
    if as_json:
        print_json(facts)
    else:
        ShownConsole().print("\n".join(lines(facts)), markup=False, highlight=False, soft_wrap=True)


@corpus_app.command("requeue")
@said_of_options({"reasons": "reason", "sources": "source"})
def requeue_command(
    run: Annotated[str, typer.Argument(help="name of a run, or its folder")],
    recipe: Annotated[
        Path | None,
        typer.Option(help="the recipe as mended; default: the run's own, paths from this folder"),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="override a field of the recipe: a.b.c=value"),
    ] = None,
    reason: Annotated[
        list[str] | None, typer.Option(help="only records of this reason; may be repeated")
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="only records of this source; may be repeated")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="folder for the documents, and what is none still"),
    ] = None,
    format: Annotated[
        str, typer.Option("--format", help="of what is written: jsonl or parquet")
    ] = "jsonl",
    runs: Runs = "runs",
    as_json: Json = False,
) -> None:
    """Read quarantined records again after a fix: which are documents now, and which are not."""
    from pipelines.recipe.load import load_recipe
    from pipelines.run.requeue import requeue

    if overrides and recipe is None:
        raise UserError("nothing to override", field="--set", fix="give the recipe with --recipe")
    loaded = None if recipe is None else load_recipe(recipe, overrides or ())
    done = requeue(
        runs, run, loaded,
        reasons=reason or (), sources=source or (), output=output, format=format,
    )  # fmt: skip
    if as_json:
        print_json(done.to_json())
    else:
        print_requeued(done)


def print_requeued(done: Requeued) -> None:
    """A row for each source and reason, why records are none still, and where files lie."""
    rows = [
        (entry["source"], entry["reason"], entry["document"], entry["still_quarantined"],
         entry["not_possible"])
        for entry in done.to_json()["records"]
    ]  # fmt: skip
    if not rows:
        print("no quarantined records")
        return
    header = ("source", "reason", "documents now", "still quarantined", "cannot be read again")
    print_table(header, rows)
    console = ShownConsole()
    for (source, reason), why in sorted(done.why.items()):
        said = ", ".join(f"{now} {number:,}" for now, number in sorted(why.items()))
        console.print(f"{source}, {reason}: {said}", markup=False, highlight=False, soft_wrap=True)
    for file in done.files:
        console.print(f"written   {file}", markup=False, highlight=False, soft_wrap=True)


@corpus_app.command("export")
@said_of_options({"sources": "source"})
def export_command(
    run: Annotated[str, typer.Argument(help="name of a run, or its folder")],
    output: Annotated[
        str, typer.Option("--output", "-o", help="folder to write into, or a store's URL")
    ],
    source: Annotated[
        list[str] | None, typer.Option(help="only documents of this source; may be repeated")
    ] = None,
    format: Annotated[
        str, typer.Option("--format", help="jsonl (zstd), records as they came; or parquet")
    ] = "jsonl",
    workers: Annotated[int, typer.Option(min=1, help="local worker processes")] = 1,
    runs: Runs = "runs",
    as_json: Json = False,
) -> None:
    """Write the kept documents as a dataset: files by source, and a card that tells of them."""
    from pipelines.run.export import export

    done = export(runs, run, output, sources=source or (), format=format, workers=workers)
    if as_json:
        print_json(done.to_json())
    else:
        print_exported(done)


def print_exported(done: Exported) -> None:
    """What was written, and where."""
    from pipelines.report.numerals import byte_size, count

    files = f"{len(done.files)} {'file' if len(done.files) == 1 else 'files'}"
    size = byte_size(done.text_bytes)
    lines = [f"kept      {count(done.documents)} documents, {size} of text, {files}"]
    if done.taken_down:
        lines.append(f"left out  {count(done.taken_down)} documents that were taken down")
    lines += [f"written   {file}" for file in done.files]
    lines.append(f"card      {done.card}" + ("" if done.computed else " (all was there)"))
    ShownConsole().print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
