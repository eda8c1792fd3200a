"""Commands over units on disk: windtunnel cache."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.commands.options import Json, Runs, print_json, print_table, said_of_options

cache_app = typer.Typer(
    no_args_is_help=True, help="What a run folder holds, and removing what no recipe uses any more."
)


@cache_app.command("ls")
@said_of_options()
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
        print_json([row.__dict__ for row in rows])
    else:
        print_table(
            ("step", "units", "bytes", "used", "bytes used"),
            [(row.step, row.units, row.bytes, row.used_units, row.used_bytes) for row in rows],
        )


@cache_app.command("gc")
@said_of_options()
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
