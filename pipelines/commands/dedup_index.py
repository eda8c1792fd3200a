"""Commands of an index of near-duplicates: add batches, ask what resembles what, take a batch back,
merge indexes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifacts.errors import Setting, UserError
from dedup.near.settings import DEFAULTS, INDEX
from pipelines.commands.options import Json, near_option, print_json, print_table, said_of_options

if TYPE_CHECKING:
    from pipelines.commands.terminal.progress import TerminalProgress
    from pipelines.deduplicate.index.changes import AddOutcome

Index = Annotated[
    str, typer.Argument(metavar="INDEX", help="folder of the index, or a store's URL")
]
Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATHS", help="files or globs that a recipe could read, local or of a store"
    ),
]
Output = Annotated[
    str,
    typer.Option("--output", "-o", help="folder of its own for the kept documents of this batch"),
]
KeptFormat = Annotated[
    str, typer.Option("--format", help="of the kept documents: parquet or jsonl (zstd)")
]
TextField = Annotated[str, typer.Option(help="field of a record that holds its text")]
IdField = Annotated[
    str | None, typer.Option(help="field that identifies a record; default: its path and offset")
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="threads that hash; default: the number of cores")
]


def _of_new_index(name: str) -> Any:
    return near_option(name, INDEX, f"of a new index, default {getattr(DEFAULTS, name)}")


_RUNS = {"runs": "output"}  # the folder that is written into

index_app = typer.Typer(
    no_args_is_help=True,
    help="Deduplicate batch by batch: an index to which documents are added as they come.",
)


@index_app.command("add")
@said_of_options(_RUNS)
def index_add(
    index: Index,
    paths: Paths,
    output: Output,
    ngrams: Annotated[int | None, _of_new_index("ngrams")] = None,
    bands: Annotated[int | None, _of_new_index("bands")] = None,
    rows: Annotated[int | None, _of_new_index("rows")] = None,
    seed: Annotated[int | None, _of_new_index("seed")] = None,
    verify: Annotated[float | None, _of_new_index("verify")] = None,
    max_comparisons: Annotated[int | None, _of_new_index("max_comparisons")] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="begins the names of sources, where folders and files are called as before"
        ),
    ] = None,
    keep: Annotated[
        str | None,
        near_option(
            "keep", INDEX, 'of those in the batch; as in "date desc, id"; default: the first'
        ),
    ] = None,
    max_quarantined: Annotated[
        float, typer.Option(help="stop when more than this share of a source cannot be read")
    ] = 0.5,
    text_field: TextField = "text",
    id_field: IdField = None,
    format: KeptFormat = "parquet",
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Add a batch: what resembles a document before it goes, the rest is written out. The same
    batch again changes nothing.
    """
    from pipelines.deduplicate.index.changes import add_batch

    with _progress() as progress:
        done = add_batch(
            index, paths, output, name=name, keep=keep, max_quarantined=max_quarantined,
            text_field=text_field, id_field=id_field, format=format, workers=_threads(workers),
            ngrams=ngrams, bands=bands, rows=rows, seed=seed, verify=verify,
            max_comparisons=max_comparisons, progress=progress,
        )  # fmt: skip
    _print_added(done, as_json)


@index_app.command("merge")
@said_of_options(_RUNS)
def index_merge(
    index: Index,
    other: Annotated[
        str,
        typer.Argument(
            metavar="OTHER", help="index whose documents are added; it is left as it is"
        ),
    ],
    output: Output,
    format: KeptFormat = "parquet",
    as_json: Json = False,
) -> None:
    """Add all documents of another index as one batch, INDEX's own winning."""
    from pipelines.deduplicate.index.changes import merge_index

    done = merge_index(index, other, output, format=format)
    _print_added(done, as_json)


@index_app.command("list")
@said_of_options(_RUNS)
def index_list(
    index: Index,
    check: Annotated[
        bool, typer.Option("--check", help="read all files and hold them against their checksums")
    ] = False,
    as_json: Json = False,
) -> None:
    """Batches of an index, its settings and its size."""
    from pipelines.deduplicate.index.changes import describe_index
    from pipelines.report.numerals import byte_size, count

    facts = describe_index(index, check=check)
    if as_json:
        print_json(facts)
        return
    settings = ", ".join(
        f"{name} {value}" for name, value in facts["settings"].items() if name != "algorithm"
    )
    header = ("batch", "kept", "exact copies", "near copies", "bytes", "kept documents")
    names = ("batch", "kept", "exact_duplicate", "near_duplicate", "bytes", "texts")
    print_table(header, [tuple(row[name] for name in names) for row in facts["batches"]])
    print(f"\nsettings  {settings}")
    print(
        f"index     {count(facts['documents'])} documents, {count(facts['kept'])} of them kept, "
        f"{_size(facts)}"
    )
    if check:
        print(
            "checked   every file of the index and of the kept documents "
            f"({byte_size(facts['bytes'])} of index)"
        )


@index_app.command("match")
@said_of_options(_RUNS)
def index_match(
    index: Index,
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATHS]", help="files or globs with documents to look for"),
    ] = None,
    id: Annotated[
        str | None,
        typer.Option(
            "--id", help="in place of PATHS a document's id (32 hex digits): what became of it"
        ),
    ] = None,
    text_field: TextField = "text",
    id_field: IdField = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Name the kept documents that given ones resemble, without adding them."""
    from pipelines.deduplicate.index.queries import find_document, match_documents

    if bool(paths) == (id is not None):
        raise UserError(
            "give files to match, or one id",
            parameter="paths",
            fix=("name files or globs, or give ", Setting("id", "32 hex digits")),
        )
    if id is not None:
        _print_facts(find_document(index, id), as_json)
        return
    with _progress() as progress:
        found = match_documents(
            index,
            paths or [],
            text_field=text_field,
            id_field=id_field,
            workers=_threads(workers),
            progress=progress,
        )
    rows = found.to_pylist()
    if as_json:
        for row in rows:
            print_json(row)
        return
    shown = []
    for row in rows:
        document, kept = (
            row["native_id"] or f"{row['path']}:{row['offset']}",
            row["kept_native_id"] or row["kept_id"],
        )
        shown.append(
            (
                document,
                f"{row['similarity']:.3f}",
                str(row["kept_batch"]),
                kept,
                f"{row['kept_file']}:{row['kept_row']}",
            )
        )
    print_table(("document", "similarity", "batch", "resembles", "which is row"), shown)
    print(f"\n{len({row['id'] for row in rows}):,} documents resemble a kept one")


@index_app.command("rollback")
@said_of_options(_RUNS)
def index_rollback(
    index: Index,
    batch: Annotated[
        int | None,
        typer.Argument(
            metavar="[BATCH]", help="number of the batch, as list shows it; default: the last"
        ),
    ] = None,
    cascade: Annotated[
        bool, typer.Option("--cascade", help="take back all later batches too")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take a batch back, as if it had never been added. Its kept documents stay where they are, and
    are no longer of the index.
    """
    from pipelines.deduplicate.index.changes import roll_back

    gone = roll_back(index, batch, cascade=cascade)
    if as_json:
        print_json(
            [
                {"batch": record.number, "texts": record.texts.folder, **record.counts}
                for record in gone
            ]
        )
        return
    for record in gone:
        print(f"batch {record.number} taken back; its kept documents lie in {record.texts.folder}")


def _progress() -> TerminalProgress:
    from pipelines.commands.terminal.progress import TerminalProgress
    from pipelines.commands.terminal.shown import ShownConsole

    return TerminalProgress(ShownConsole(stderr=True))


def _threads(workers: int | None) -> int:
    return workers or len(os.sched_getaffinity(0))


def _size(facts: dict[str, Any]) -> str:
    from pipelines.report.numerals import byte_size

    return f"{byte_size(facts['bytes'])}, {facts['bytes_per_document']:.1f} bytes per document"


def _print_facts(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        print(
            f"{name.replace('_', ' '):<12}  "
            f"{', '.join(value) if isinstance(value, list) else value}"
        )


def _print_added(done: AddOutcome, as_json: bool) -> None:
    from pipelines.report.numerals import count, duration

    if as_json:
        print_json(done.to_json())
        return
    if done.repeated:
        print(
            f"everything was there: batch {done.batch} holds the same "
            f"{count(done.counts['repeated'])} documents; nothing was changed"
        )
        return
    rows = [("in", done.entered)]
    rows += [
        (f"not read: {reason}", found.documents) for reason, found in sorted(done.not_read.items())
    ]
    rows += [
        (f"removed: {reason}", found)
        for reason, found in done.counts.items()
        if reason != "kept" and found
    ]
    print_table(("", "documents"), [*rows, ("kept", done.counts["kept"])])
    print()
    if done.batch is None:
        print("nothing new: the index is as it was, and nothing was written")
        return
    print(f"batch     {done.batch} of {done.index}")
    print(
        f"kept      {done.output}/kept ({len(done.files)} "
        f"{'file' if len(done.files) == 1 else 'files'})"
    )
    print(
        f"evidence  {done.output}/evidence.parquet (what did not stay, each with the document that "
        "stands for it)"
    )
    size = {"bytes": done.index_bytes, "bytes_per_document": done.bytes_per_document}
    print(f"index     {count(done.documents)} documents, {_size(size)}")
    print(f"work      {duration(done.seconds)}, {count(done.facts['compared'])} comparisons")
    if done.facts["skipped"]:
        print(
            f"bound     {count(done.facts['skipped'])} comparisons of "
            f"{count(done.facts['bounded'])} documents were left out"
        )
    if done.counts["duplicate_key"]:
        print(
            "note      duplicate_key: their ids are there with another text; --name makes new "
            "ones, where they are other documents"
        )
