"""Commands over token shards: windtunnel shards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifacts.commands import Command
from artifacts.errors import UserError
from artifacts.paths import Store
from pipelines.commands.options import Json, Runs, print_json, print_table, said_of_options
from pipelines.shards.local_folder import local_folder

if TYPE_CHECKING:
    from pipelines.shards.take_downs import Removal

shards_app = typer.Typer(
    no_args_is_help=True, help="Look into token shards, check them, take documents down."
)


@shards_app.command()
@said_of_options()
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
    for source, place, model in _shard_folders(runs, target):
        with local_folder(*place) as folder:
            findings = verify_source(folder, None if model is None else Tokenizer.load(model))
        report[source] = [str(finding) for finding in findings]
        failed |= bool(findings)
        if not as_json:
            print(f"{source}: {'sound' if not findings else f'{len(findings)} findings'}")
            for finding in findings:
                print(f"  {finding}")
    if as_json:
        print_json(report)
    raise SystemExit(1 if failed else 0)


@shards_app.command()
@said_of_options()
def inspect(
    target: Annotated[
        str, typer.Argument(help="name of a run, or the folder of one source's shards")
    ],
    runs: Runs = "runs",
    as_json: Json = False,
) -> None:
    """List the parts of token shards."""
    rows = [
        {"source": source, **row}
        for source, place, _ in _shard_folders(runs, target)
        for row in _parts(*place)
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(tuple(rows[0]) if rows else ("source",), [tuple(row.values()) for row in rows])


@shards_app.command()
@said_of_options()
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
    from pipelines.shards.id_lists import sources_of
    from pipelines.shards.take_downs import remove_from_folder, remove_from_run

    folders = _shard_folders(runs, target)
    if folders[0][2] is None:
        with local_folder(*folders[0][1]) as folder:
            done = remove_from_folder(folder, _ids(ids, None), reason, ignore_missing, target)
        _say_removed(done, as_json)
        return
    store, record = load_run(runs, target)
    wanted = _ids(ids, sources_of(record))
    _say_removed(remove_from_run(store, record, wanted, reason, ignore_missing), as_json)
    _report_without(store, record)


def _say_removed(done: Removal, as_json: bool) -> None:
    if as_json:
        print_json(done.__dict__)
        return
    for source, count in done.removed.items():
        print(f"{source}: {count:,} taken down")
    print(
        f"{sum(done.removed.values()):,} taken down, {done.already:,} were before, "
        f"{len(done.unknown):,} are in no shard"
    )


def _report_without(store: Store, record: dict[str, Any]) -> None:
    """Write the report of a run that has one again: it shows texts of documents."""
    from pipelines.report.page import REPORT, write_report

    if store.exists(REPORT):
        write_report(store, record)


def _ids(file: Path, sources: list[str] | None) -> dict[bytes, str]:
    """The ids of a file, at least one. Raises: UserError."""
    from pipelines.shards.id_lists import FORMS, read_ids

    ids = read_ids(file, sources)
    if not ids:
        raise UserError(
            "no id in this file", file=file, parameter="ids", fix=f"write one id a line: {FORMS}"
        )
    return ids


def _parts(store: Store, folder: str) -> list[dict[str, Any]]:
    """A row per part, from the manifest alone."""
    from tokenizer.shards.manifest import MANIFEST_NAME, parse_manifest
    from tokenizer.shards.reader import parts_of

    name = f"{folder}/{MANIFEST_NAME}"
    return parts_of(parse_manifest(store.read(name), store.full(name)))


def _shard_folders(runs: str, target: str) -> list[tuple[str, tuple[Store, str], bytes | None]]:
    """(source, (store, folder in it), tokenizer model) of a run's shards, or of a folder."""
    from pipelines.run.record import load_run
    from pipelines.shards.tokenizer import recorded_model
    from tokenizer.shards.manifest import MANIFEST_NAME

    if Store(target).exists(MANIFEST_NAME):
        parent, _, name = Store(target).base.rstrip("/").rpartition("/")
        return [(target, (Store(parent or "/"), name), None)]
    store, record = load_run(runs, target)
    if not record["shards"]:
        raise UserError(
            "this run has no shards yet",
            file=store.root,
            found=f"reached {record['reached']}",
            fix=(Command("run RECIPE"), ", without --until"),
        )
    model = recorded_model(store, record)
    return [
        (source, (store, entry["folder"]), model)
        for source, entry in sorted(record["shards"].items())
    ]
