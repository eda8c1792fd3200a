"""The command line: thin wrappers around the Python API, one function per command."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from artifacts.errors import UserError
from artifacts.ledger import LedgerError
from pipelines.commands.dedup import dedup_app
from pipelines.commands.mixture import mixture_app
from pipelines.commands.options import Json, Runs, print_table
from pipelines.commands.training import register
from pipelines.executors.progress import StoppedError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=(
        "From raw crawl to an annealed small language model, with every document and every token "
        "accounted for."
    ),
)
shards_app = typer.Typer(
    no_args_is_help=True, help="Look into token shards, check them, take documents down."
)
corpus_app = typer.Typer(no_args_is_help=True, help="Ask what happened to documents.")
cache_app = typer.Typer(
    no_args_is_help=True, help="What a run folder holds, and removing what no recipe uses any more."
)
app.add_typer(shards_app, name="shards")
app.add_typer(corpus_app, name="corpus")
app.add_typer(cache_app, name="cache")
app.add_typer(mixture_app, name="mixture")
app.add_typer(dedup_app, name="dedup")
register(app)


def run_command() -> None:
    """Run the command line; a user's mistake ends with exit code 2 and no traceback."""
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
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
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from None


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="folder to write into")] = Path(".")) -> None:
    """Write a recipe and a small corpus to start from."""
    from pipelines.starter.write import write_starter

    written = write_starter(folder)
    for path in written:
        print(path)
    print(f"\nnext: windtunnel run {folder / 'recipe.yaml'}")


@app.command()
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
        int | None, typer.Option(min=1, help="local worker processes; default: the number of cores")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="address of a Dask scheduler, tcp://host:port")
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option(help="in-process, dask or datatrove; default: by workers and scheduler"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Carry out a recipe; resumes whatever an earlier call left."""
    from pipelines.commands.terminal.progress import TerminalProgress, print_outcome
    from pipelines.recipe.load import load_recipe
    from pipelines.report import write_report
    from pipelines.run.driver import run_recipe

    started = time.monotonic()
    console = Console(stderr=as_json)
    loaded = load_recipe(recipe, overrides or ())
    with TerminalProgress(console) as progress:
        outcome = run_recipe(
            loaded,
            runs,
            workers=workers or len(os.sched_getaffinity(0)),
            scheduler=scheduler,
            executor=executor,
            until=until,
            progress=progress,
        )
        report = write_report(outcome.store, outcome.record)
    if as_json:
        print(json.dumps({**outcome.record, "computed": outcome.computed}))
    else:
        print_outcome(console, outcome, report, time.monotonic() - started, recipe=str(recipe))


@app.command()
def report(
    run: Annotated[str, typer.Argument(help="name of a run, or its folder")], runs: Runs = "runs"
) -> None:
    """Write the HTML report of a run again."""
    from pipelines.report import write_report
    from pipelines.run.record import load_run

    store, record = load_run(runs, run)
    print(store.full(write_report(store, record)))


@app.command()
def schema() -> None:
    """Print the JSON Schema of recipes, for editors."""
    from pipelines.recipe.load import recipe_schema

    print(json.dumps(recipe_schema(), indent=1))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check this machine: versions, cores, memory, disk, kernel cache."""
    from pipelines.commands.doctor import examine

    findings = examine()
    if as_json:
        print(json.dumps([finding.__dict__ for finding in findings]))
    else:
        print_table(
            ("what", "found", "remark"),
            [(finding.what, finding.found, finding.remark) for finding in findings],
        )
    raise SystemExit(0 if all(finding.ok for finding in findings) else 1)


@corpus_app.command()
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
        print(json.dumps(facts, ensure_ascii=False))
    else:
        Console().print("\n".join(lines(facts)), markup=False, highlight=False, soft_wrap=True)


@shards_app.command()
def verify(
    target: Annotated[
        str, typer.Argument(help="name of a run, or the folder of one source's shards")
    ],
    runs: Runs = "runs",
    as_json: Json = False,
) -> None:
    """Check every byte and every invariant of token shards; exit code 1 when something is wrong."""
    from tokenizer.encode import Tokenizer
    from tokenizer.shards.verify import verify as verify_source

    failed = False
    report: dict[str, Any] = {}
    for source, folder, model in _shard_folders(runs, target):
        findings = verify_source(folder, None if model is None else Tokenizer.load(model))
        report[source] = [str(finding) for finding in findings]
        failed |= bool(findings)
        if not as_json:
            print(f"{source}: {'sound' if not findings else f'{len(findings)} findings'}")
            for finding in findings:
                print(f"  {finding}")
    if as_json:
        print(json.dumps(report))
    raise SystemExit(1 if failed else 0)


@shards_app.command()
def inspect(
    target: Annotated[
        str, typer.Argument(help="name of a run, or the folder of one source's shards")
    ],
    runs: Runs = "runs",
    as_json: Json = False,
) -> None:
    """List the parts of token shards."""
    from tokenizer.shards.reader import inspect as inspect_source

    rows = [
        {"source": source, **row}
        for source, folder, _ in _shard_folders(runs, target)
        for row in inspect_source(folder)
    ]
    if as_json:
        print(json.dumps(rows))
    else:
        print_table(tuple(rows[0]) if rows else ("source",), [tuple(row.values()) for row in rows])


@shards_app.command()
def remove(
    target: Annotated[
        str, typer.Argument(help="name of a run, or the folder of one source's shards")
    ],
    ids: Annotated[
        Path, typer.Option(help="text file with one id a line: 32 hex digits, or SOURCE:NATIVE_ID")
    ],
    reason: Annotated[str, typer.Option(help="why, kept with every tombstone")],
    ignore_missing: Annotated[
        bool, typer.Option("--ignore-missing", help="remove the others where some ids are unknown")
    ] = False,
    runs: Runs = "runs",
    as_json: Json = False,
) -> None:
    """Take documents down: their tokens are never shown again; a second call changes nothing."""
    from pipelines.run.record import load_run
    from pipelines.shards.take_downs import read_ids, remove_from_folder, remove_from_run

    folders = _shard_folders(runs, target)
    if folders[0][2] is None:
        done = remove_from_folder(target, read_ids(ids, None), reason, ignore_missing)
    else:
        store, record = load_run(runs, target)
        sources = [source["name"] for source in record["recipe"]["corpus"]["sources"]]
        done = remove_from_run(store, record, read_ids(ids, sources), reason, ignore_missing)
    if as_json:
        print(json.dumps(done.__dict__))
        return
    for source, count in done.removed.items():
        print(f"{source}: {count:,} taken down")
    print(
        f"{sum(done.removed.values()):,} taken down, {done.already:,} were before, "
        f"{len(done.unknown):,} are in no shard"
    )


@cache_app.command("ls")
def cache_list(
    run: Annotated[str, typer.Argument(help="name of a run, or its folder")],
    runs: Runs = "runs",
    as_json: Json = False,
) -> None:
    """List what a run folder holds, by step, and how much of it the newest recipe uses."""
    from pipelines.run.cache import usage
    from pipelines.run.record import load_run

    rows = usage(*load_run(runs, run))
    if as_json:
        print(json.dumps([row.__dict__ for row in rows]))
    else:
        print_table(
            ("step", "units", "bytes", "used", "bytes used"),
            [(row.step, row.units, row.bytes, row.used_units, row.used_bytes) for row in rows],
        )


@cache_app.command("gc")
def cache_collect(
    run: Annotated[str, typer.Argument(help="name of a run, or its folder")],
    runs: Runs = "runs",
    dry_run: Annotated[bool, typer.Option(help="only say what would be removed")] = False,
) -> None:
    """Remove the units that the newest run of this folder did not use."""
    from pipelines.run.cache import collect
    from pipelines.run.record import load_run

    store, _ = load_run(runs, run)
    units, size = collect(store, dry_run)
    print(f"{'would remove' if dry_run else 'removed'} {units:,} units, {size:,} bytes")


def _shard_folders(runs: str, target: str) -> list[tuple[str, str, bytes | None]]:
    """(source, local folder, tokenizer model) of a run's shards, or of the one folder named."""
    from pipelines.run.record import load_run
    from tokenizer.shards.manifest import MANIFEST_NAME

    if (Path(target) / MANIFEST_NAME).is_file():
        return [(target, target, None)]
    store, record = load_run(runs, target)
    if not record["shards"]:
        raise UserError(
            "this run has no shards yet",
            file=store.root,
            found=f"reached {record['reached']}",
            fix="windtunnel run RECIPE, without --until",
        )
    if not store.local:
        raise UserError(
            "shards on a store are checked from a copy",
            file=store.root,
            fix="copy the shards folder to a local disk and name one source's folder",
        )
    model = store.read(record["tokenizer"]["file"]["name"])
    return [
        (source, store.full(entry["folder"]), model)
        for source, entry in sorted(record["shards"].items())
    ]
