"""The documents a run kept, written out for other tools: JSON Lines or Parquet, one file per chunk,
and who stands for whom.

Records come out with the fields they came in with, at their newest text version.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard
from numpy.typing import NDArray

from artifacts.books import DamageError, unsealed
from artifacts.errors import UserError
from artifacts.fingerprints import content_key, libraries
from artifacts.paths import Store
from artifacts.publish import MANIFEST, UNIT_FORMAT, FileRef, Publication, publish, published
from artifacts.tables import iter_parquet, read_parquet, read_schema, write_parquet
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.selection import kept_mask
from pipelines.corpus.texts import ChunkTexts
from pipelines.readers import Fields
from pipelines.writers.json_lines import json_line_pieces
from pipelines.writers.messages import with_messages

if TYPE_CHECKING:
    from pipelines.executors import Executor

Written = tuple[tuple[FileRef, ...], bool]  # files, and whether they were written now

VERSION = 5
SUFFIXES = {"jsonl": ".jsonl.zst", "parquet": ".parquet"}
FORMATS = tuple(SUFFIXES)
BEGUN = ".writing-kept"
"""Lies beside the files until all are there; by it a later call knows those of a stopped one."""
# files a seventh (English) to a quarter (Chinese) larger than at level 3, written in three fifths
# of the time
ZSTD_LEVEL = 1

_PLACE = ("native_id", "source", "path", "offset")

PAIRS = pa.schema(
    [
        ("id", pa.string()),
        ("native_id", pa.string()),
        ("source", pa.string()),
        ("path", pa.string()),
        ("offset", pa.int64()),
        ("kept_id", pa.string()),
        ("kept_native_id", pa.string()),
        ("kept_source", pa.string()),
        ("kept_path", pa.string()),
        ("kept_offset", pa.int64()),
        ("reason", pa.string()),
        ("similarity", pa.float32()),
        ("bands_hit", pa.int32()),
        ("cluster", pa.string()),
        ("cluster_size", pa.int64()),
    ]
)


@dataclass(frozen=True)
class KeptTask:
    """One chunk's kept documents, to be written as one file; ``fields`` are the names its records'
    fields had.
    """

    run: str  # roots of the run's store and of the store to write into
    out: str
    name: str
    format: str
    chunk: Chunk
    fields: Fields
    without: tuple[str, ...] = ()  # ids in hex


def write_kept(
    run: Store,
    chunks: Sequence[Chunk],
    fields: dict[str, Fields],
    out: Store,
    prefix: str,
    format: str,
    executor: Callable[[], Executor],
    companions: Sequence[str] = (),
    without: Collection[str] = (),
) -> Written:
    """Write the kept documents of a run's chunks into ``out`` under ``prefix``,
    ``SOURCE-NNNNN.jsonl.zst`` or ``.parquet``.

    ``fields``: per source, the names its records' fields had. A chunk that keeps nothing has no
    file. Returns the files and whether they had to be written: what is there from the same
    documents and selection stays. ``executor``: gives what carries out one :func:`write_chunk` per
    chunk, asked for only then. ``companions``: other files in ``out`` that speak of the same
    selection; they go before new files come, so that none outlives its documents. ``without``: ids
    in hex of documents that are left out.
    Raises: UserError where something else than such files lies under the prefix; ValueError for an
    unknown format.
    """
    if format not in FORMATS:
        raise ValueError(f"format is one of {FORMATS}, not {format!r}")
    inputs = _inputs(chunks, fields, format, without)
    there = published(out, prefix)
    if there is not None and content_key(there.inputs) == content_key(inputs):
        return there.files, False
    counts: dict[str, int] = {}
    tasks = []
    for chunk in chunks:
        number = counts[chunk.source] = counts.get(chunk.source, -1) + 1
        name = f"{prefix}/{chunk.source}-{number:05d}{SUFFIXES[format]}"
        tasks.append(
            KeptTask(
                run.root,
                out.root,
                name,
                format,
                chunk,
                fields[chunk.source],
                tuple(sorted(without)),
            )
        )
    with room_for_kept(out, prefix):
        for name in companions:
            out.delete(name)
        files = executor().map(write_chunk, tasks, lambda index, file: None)
        with publish(out, prefix, inputs) as unit:
            unit.files.extend(file for file in files if file is not None)
    made = published(out, prefix)
    assert made is not None
    return made.files, True


def _inputs(
    chunks: Sequence[Chunk], fields: dict[str, Fields], format: str, without: Collection[str]
) -> dict[str, Any]:
    """What decides the bytes of the files."""
    inputs: dict[str, Any] = {
        "work": "write_kept",
        "version": VERSION,
        "libraries": libraries("pyarrow", "orjson", "zstandard"),
        "format": format,
        "fields": {
            source: [named.id_field, named.messages_field or named.text_field]
            for source, named in sorted(fields.items())
        },
        "chunks": [
            [
                chunk.source,
                *chunk.text_version(),
                chunk.selection_version(),
            ]
            for chunk in chunks
        ],
    }
    return inputs | ({"without": sorted(without)} if without else {})


def write_chunk(task: KeptTask) -> FileRef | None:
    """Write a chunk's file; None where it keeps nothing."""
    run, out = Store(task.run), Store(task.out)
    # texts are not copied where nothing is left out
    kept = None
    if task.chunk.records.rows and (task.chunk.selection is not None or task.without):
        kept, _ = exported_mask(run, task.chunk, task.without)
    if not task.chunk.records.rows or (kept is not None and not kept.any()):
        return None
    folder, name = task.name.rsplit("/", 1)
    unit = Publication(out, folder, {})
    if task.format == "jsonl":
        write_lines(unit, name, _chosen(run, task, kept), task.fields)
    else:
        schema = read_schema(run, task.chunk.records.name)
        write_parquet(unit, name, schema, _kept_batches(run, task.chunk, kept))
    return unit.files[0]


def exported_mask(
    run: Store, chunk: Chunk, without: Collection[str] = ()
) -> tuple[NDArray[np.bool_], int]:
    """Which rows of a chunk are written, (n,): those kept but the ids in hex that are left out, and
    how many these are.
    """
    kept = kept_mask(run, chunk)
    if not without:
        return kept, 0
    ids = read_parquet(run, chunk.signals["size"].name, "signals", ["id"])["id"]
    wanted = pa.array([bytes.fromhex(one) for one in without], pa.binary(16))
    out = kept & pc.is_in(ids, value_set=wanted).to_numpy()
    return kept & ~out, int(out.sum())


def removal_pairs(run: Store, record: dict[str, Any], chunks: Sequence[Chunk]) -> pa.Table:
    """Every document a comparison removed with the one that stands for it and where both are from,
    in the order of stages, then ids.
    """
    parts = []
    for step, entry in record["evidence"].items():
        evidence = read_parquet(run, entry["file"]["name"], "evidence")
        reasons = _reasons(record, step)
        parts.append(evidence.append_column("reason", pa.repeat(pa.scalar(reasons), len(evidence))))
    pairs = pa.concat_tables(parts).combine_chunks() if parts else pa.table({})
    if not len(pairs):
        return PAIRS.empty_table()
    wanted = pa.concat_arrays([_whole(pairs["id"]), _whole(pairs["kept_id"])]).unique()
    places = pa.concat_tables([_places(run, chunk, wanted) for chunk in chunks]).combine_chunks()
    columns: dict[str, Any] = {}
    for end in ("", "kept_"):
        rows = places.take(pc.index_in(_whole(pairs[f"{end}id"]), value_set=_whole(places["id"])))
        columns[f"{end}id"] = pa.array(
            [identity.hex() for identity in pairs[f"{end}id"].to_pylist()], pa.string()
        )
        columns |= {f"{end}{name}": rows[name] for name in _PLACE}
    columns["cluster"] = pa.array(
        [identity.hex() for identity in pairs["cluster"].to_pylist()], pa.string()
    )
    columns |= {name: pairs[name] for name in ("reason", "similarity", "bands_hit", "cluster_size")}
    return pa.table([columns[name] for name in PAIRS.names], schema=PAIRS)


def _reasons(record: dict[str, Any], step: str) -> str:
    """The reason a comparing step drops for; its name where it dropped nothing."""
    ledger = next(ledger for ledger in record["ledgers"] if ledger["step"] == step)
    return next(iter(ledger["total"]["dropped"]), step)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _places(run: Store, chunk: Chunk, wanted: pa.Array) -> pa.Table:
    parts = iter_parquet(run, chunk.records.name, "documents", ["id", *_PLACE])
    found = [part.filter(pc.is_in(part["id"], value_set=wanted)) for part in parts]
    schema = pa.schema(
        [("id", pa.binary(16)), *((name, PAIRS.field(name).type) for name in _PLACE)]
    )
    return pa.Table.from_batches(
        [part.select(schema.names).cast(schema) for part in found], schema=schema
    )


def _kept_batches(
    run: Store, chunk: Chunk, kept: NDArray[np.bool_] | None
) -> Iterator[pa.RecordBatch]:
    start = 0
    for batch in ChunkTexts(run, chunk).stream():
        yield (
            batch if kept is None else batch.filter(pa.array(kept[start : start + batch.num_rows]))
        )
        start += batch.num_rows


def record_columns(fields: Fields) -> list[tuple[str, str]]:
    """Columns of a documents table that go into a record, each with the name the record's field
    has; ``meta`` follows them, with the messages of a conversation in place of its text.
    """
    named = {
        "native_id": fields.id_field,
        "text": fields.text_field if fields.messages_field is None else None,
        "url": fields.url_field,
        "date": fields.date_field,
    }
    named |= {"lang": fields.lang_field, "license": fields.license_field}
    return [(column, field) for column, field in named.items() if field is not None]


def write_lines(
    unit: Publication,
    name: str,
    batches: Iterable[tuple[pa.RecordBatch, NDArray[np.int64] | None]],
    fields: Fields,
) -> None:
    """Documents as JSON Lines, compressed: of each batch the rows named, or all."""
    columns = record_columns(fields)
    with (
        unit.file(name) as out,
        zstandard.ZstdCompressor(level=ZSTD_LEVEL).stream_writer(
            cast(IO[bytes], out.raw), closefd=False
        ) as stream,
    ):
        for batch, rows in batches:
            rest = batch["meta"] if fields.messages_field is None else with_messages(batch)
            for piece in json_line_pieces(
                [(field, batch[column]) for column, field in columns], rest, rows
            ):
                stream.write(piece.data)
            out.rows += batch.num_rows if rows is None else len(rows)


def _chosen(
    run: Store, task: KeptTask, kept: NDArray[np.bool_] | None
) -> Iterator[tuple[pa.RecordBatch, NDArray[np.int64] | None]]:
    start, rest = 0, ["meta"] + ["messages"] * (task.fields.messages_field is not None)
    for batch in ChunkTexts(
        run, task.chunk, [*(column for column, _ in record_columns(task.fields)), *rest]
    ).stream():
        yield batch, None if kept is None else np.flatnonzero(kept[start : start + batch.num_rows])
        start += batch.num_rows


@contextlib.contextmanager
def room_for_kept(out: Store, prefix: str) -> Iterator[None]:
    """Where kept documents are written: what an earlier call wrote goes first. Raises: UserError
    when other files are there.

    An earlier call's files are those its manifest names. Where it was stopped before it wrote one,
    or its manifest is damaged, they are those of the names it gives.
    """
    mark, there = f"{prefix}/{BEGUN}", out.names(prefix)
    known = _of_manifest(out, prefix)
    if mark in there or known is None:
        ours = re.compile(re.escape(prefix) + r"/.+-\d{5,}\.(jsonl\.zst|parquet)")
        named = [name for name in there if ours.fullmatch(name)]
        known = {mark, f"{prefix}/{MANIFEST}", *(known or ()), *named}
    strangers = [
        name for name in there if name not in known and not name.startswith(f"{prefix}/.writing-")
    ]
    if strangers:
        fix = "choose another output folder, or move them away"
        raise UserError(
            "other files lie where the kept documents go",
            file=out.full(strangers[0]),
            parameter="output",
            fix=fix,
        )
    out.delete(prefix)
    out.write(mark, b"")
    yield
    out.delete(mark)


def _of_manifest(out: Store, prefix: str) -> set[str] | None:
    """The manifest of an earlier call with the files that it names; none where there is no such
    manifest, and None where one is damaged.
    """
    name = f"{prefix}/{MANIFEST}"
    if not out.exists(name):
        return set()
    raw = out.read(name)
    try:
        content = unsealed(raw, required=False)
        files = {f"{prefix}/{entry['name']}" for entry in content["files"]}
        return {name, *files} if content["format"] == UNIT_FORMAT else set()
    except (DamageError, KeyError, TypeError):
        return None if not raw or UNIT_FORMAT.encode() in raw else set()


def write_pairs(out: Store, name: str, pairs: pa.Table) -> None:
    """Write the table of :func:`removal_pairs` as one Parquet file."""
    with out.writer(name) as file:
        pq.write_table(pairs, pa.PythonFile(file, mode="w"), compression="zstd")
