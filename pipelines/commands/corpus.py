"""Commands over a run's documents: windtunnel corpus."""

from __future__ import annotations

from typing import Annotated

import typer

from artifacts.visible_text import shown_json
from pipelines.commands.options import Json, Runs, said_of_options
from pipelines.commands.terminal.shown import ShownConsole

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
        print(shown_json(facts))
    else:
        ShownConsole().print("\n".join(lines(facts)), markup=False, highlight=False, soft_wrap=True)
