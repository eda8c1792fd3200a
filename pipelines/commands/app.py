"""The command line: thin wrappers around the Python API, one function per command."""

from __future__ import annotations

import json
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from artifacts.commands import Command
from artifacts.errors import UserError
from artifacts.extras import extra_of, missing_extra
from artifacts.ledger import LedgerError
from artifacts.store_errors import is_from_a_store, unanswered
from pipelines.commands.cache import cache_app
from pipelines.commands.compare_scores import register as register_compare_scores
from pipelines.commands.corpus import corpus_app
from pipelines.commands.dedup import dedup_app
from pipelines.commands.evaluate import register as register_evaluate
from pipelines.commands.export import register as register_export
from pipelines.commands.laws import laws_app
from pipelines.commands.mixture import mixture_app
from pipelines.commands.options import (
    Back,
    Json,
    Keep,
    Restart,
    Runs,
    print_json,
    print_table,
    said_of_options,
)
from pipelines.commands.preview import register as register_preview
from pipelines.commands.shards import shards_app
from pipelines.commands.terminal.compiling import KernelWatch
from pipelines.commands.terminal.shown import ShownConsole
from pipelines.commands.tokenizer import tokenizer_app
from pipelines.commands.training import register
from pipelines.commands.tunnel.app import tunnel_app
from pipelines.training.watch import StoppedError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=(
        "From raw crawl to an annealed small language model, with every document and every token "
        "accounted for."
    ),
)
app.add_typer(shards_app, name="shards")
app.add_typer(corpus_app, name="corpus")
app.add_typer(cache_app, name="cache")
app.add_typer(mixture_app, name="mixture")
app.add_typer(laws_app, name="laws")
app.add_typer(dedup_app, name="dedup")
app.add_typer(tokenizer_app, name="tokenizer")
app.add_typer(tunnel_app, name="tunnel")
register(app)
register_export(app)
register_evaluate(app)
register_compare_scores(app)
register_preview(app)


def _print_version(asked: bool) -> None:
    if asked:
        print("windtunnel", metadata.version("windtunnel"))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="print the version and exit"
        ),
    ] = False,
) -> None:
    """Options of the command itself: what they ask for is done when they are read."""


def run_command() -> None:
    """Run the command line; a user's mistake ends with exit code 2 and no traceback."""
    try:
        with KernelWatch():
            app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except ModuleNotFoundError as error:
        extra = extra_of(error.name)
        if extra is None:
            raise
        print(f"error: {missing_extra(extra, [str(error.name)])}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        place = ", ".join(
            str(name) for name in (error.filename, error.filename2) if name is not None
        )
        print(f"error: {f'{place}: ' if place else ''}{error.strerror or error}", file=sys.stderr)
        raise SystemExit(2) from None
    except LedgerError as error:
        print(
            f"defect: the ledger does not balance; nothing was published for this step.\n{error}",
            file=sys.stderr,
        )
        raise SystemExit(3) from None
    except StoppedError as stopped:
        print(
            f"stopped by {stopped} after a whole step; the same command goes on from its "
            "checkpoint",
            file=sys.stderr,
        )
        raise SystemExit(stopped.exit_code) from None
    except Exception as error:
        if not is_from_a_store(error):
            raise
        print(f"error: {unanswered(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from None


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="folder to write into")] = Path("."),
    train: Annotated[
        bool,
        typer.Option(
            "--train",
            help="a recipe that also trains a tiny model",
        ),
    ] = False,
) -> None:
    """Write a recipe and a small corpus to start from."""
    from pipelines.starter.write import write_starter

    written = write_starter(folder, train)
    for path in written:
        print(path)
    print(f"\nnext: {Command('run RECIPE', RECIPE=folder / 'recipe.yaml')}")


@app.command()
@said_of_options()
def run(
    recipe: Annotated[Path, typer.Argument(help="recipe file")],
    runs: Runs = "runs",
    until: Annotated[
        str, typer.Option(help="stop after: read, corpus, tokenizer, shards, train")
    ] = "train",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="override a field: a.b.c=value; may be repeated"),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="local worker processes; default: the number of cores, and none for small inputs",
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="address of a Dask scheduler, tls://host:port or tcp://host:port"),
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option(help="in-process, dask or datatrove; default: by workers and scheduler"),
    ] = None,
    keep: Keep = False,
    back: Back = False,
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Carry out a recipe; resumes whatever an earlier call left."""
    from pipelines.commands.terminal.progress import TerminalProgress, print_outcome
    from pipelines.recipe.load import load_recipe
    from pipelines.report.page import write_report
    from pipelines.run.driver import run_recipe

    started = time.monotonic()
    console = ShownConsole(stderr=as_json)
    loaded = load_recipe(recipe, overrides or ())
    with TerminalProgress(console) as progress:
        outcome = run_recipe(
            loaded,
            runs,
            workers=workers,
            scheduler=scheduler,
            executor=executor,
            until=until,
            progress=progress,
            keep=keep,
            back=back,
            restart=restart,
        )
        report = write_report(outcome.store, outcome.record)
    if as_json:
        print_json({**outcome.record, "computed": outcome.computed})
    else:
        print_outcome(console, outcome, report, time.monotonic() - started, recipe=str(recipe))


@app.command()
@said_of_options()
def report(
    run: Annotated[str, typer.Argument(help="name of a run, or its folder")], runs: Runs = "runs"
) -> None:
    """Write the HTML report of a run again."""
    from pipelines.report.page import write_report
    from pipelines.run.record import load_run

    store, record = load_run(runs, run)
    print(store.full(write_report(store, record)))


@app.command()
def schema() -> None:
    """Print the JSON Schema of recipes, for editors."""
    from pipelines.recipe.load import recipe_schema

    print(json.dumps(recipe_schema(), indent=1))


@app.command()
def doctor(
    compile_kernels: Annotated[
        bool, typer.Option("--compile", help="compile all kernels now, so that no run has to")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check this machine: versions, cores, memory, disk, kernel cache."""
    from pipelines.commands.doctor import examine

    findings = examine(compile_kernels)
    if as_json:
        print_json([finding.__dict__ for finding in findings])
    else:
        print_table(
            ("what", "found", "remark"),
            [(finding.what, finding.found, finding.remark) for finding in findings],
        )
    raise SystemExit(0 if all(finding.ok for finding in findings) else 1)
