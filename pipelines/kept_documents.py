"""The documents a run kept, written out for other tools: JSON Lines or Parquet, one file per chunk, and who stands for whom.

Records come out with the fields they came in with, at their newest text version.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import IO, Any, cast

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from artifacts.errors import UserError
from artifacts.fingerprints import content_key, libraries
from artifacts.paths import Store
from artifacts.publish import FileRef, Publication, found_or_made, published
from artifacts.tables import iter_parquet, read_parquet, write_parquet
from pipelines.chunk_texts import ChunkTexts
from pipelines.readers import Fields
from pipelines.state import Chunk

Written = tuple[tuple[FileRef, ...], bool]  # files, and whether they were written now

VERSION = 1
FORMATS = ("jsonl", "parquet")

_ZSTD_LEVEL = 3
_PLACE = ("native_id", "source", "path", "offset")

PAIRS = pa.schema(
    [
        ("id", pa.string()), ("native_id", pa.string()), ("source", pa.string()), ("path", pa.string()), ("offset", pa.int64()),
        ("kept_id", pa.string()), ("kept_native_id", pa.string()), ("kept_source", pa.string()), ("kept_path", pa.string()),
        ("kept_offset", pa.int64()),
        ("reason", pa.string()), ("similarity", pa.float32()), ("bands_hit", pa.int32()), ("cluster_size", pa.int64()),
    ]
)  # fmt: skip


def write_kept(
    run: Store,
    chunks: Sequence[Chunk],
    fields: dict[str, Fields],
    out: Store,
    prefix: str,
    format: str,
    companions: Sequence[str] = (),
) -> Written:
    """Write the kept documents of a run's chunks into ``out`` under ``prefix``, ``SOURCE-NNNNN.jsonl.zst`` or ``.parquet``.

    ``fields``: per source, the names its records' fields had. A chunk that keeps nothing has no file. Returns the files and whether
    they had to be written: what is there from the same documents and selection stays. ``companions``: other files in ``out`` that speak
    of the same selection; they go before new files come, so that none outlives its documents.
    Raises: UserError where something else than such files lies under the prefix; ValueError for an unknown format.
    """
    if format not in FORMATS:
        raise ValueError(f"format is one of {FORMATS}, not {format!r}")
    inputs = {
        "work": "write_kept",
        "version": VERSION,
        "libraries": libraries("pyarrow", "orjson", "zstandard"),
        "format": format,
        "fields": {source: [named.id_field, named.text_field] for source, named in sorted(fields.items())},
        "chunks": [[chunk.source, *chunk.text_version(), chunk.selection.checksum if chunk.selection else None] for chunk in chunks],
    }
    there = published(out, prefix)
    if there is not None and content_key(there.inputs) == content_key(inputs):
        return there.files, False
    _clear(out, prefix)
    for name in companions:
        out.delete(name)

    def make(unit: Publication) -> None:
        counts: dict[str, int] = {}
        for chunk in chunks:
            number = counts[chunk.source] = counts.get(chunk.source, -1) + 1
            name = f"{chunk.source}-{number:05d}"
            if format == "jsonl":
                _write_lines(unit, f"{name}.jsonl.zst", _kept_batches(run, chunk), fields[chunk.source])
            else:
                _write_table(unit, f"{name}.parquet", _kept_batches(run, chunk))

    made = found_or_made(out, prefix, inputs, make, compute=True)
    assert made is not None
    return made[0].files, True


def removal_pairs(run: Store, record: dict[str, Any], chunks: Sequence[Chunk]) -> pa.Table:
    """Every document a comparison removed with the one that stands for it and where both are from, in the order of stages, then ids."""
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
        columns[f"{end}id"] = pa.array([identity.hex() for identity in pairs[f"{end}id"].to_pylist()], pa.string())
        columns |= {f"{end}{name}": rows[name] for name in _PLACE}
    columns |= {name: pairs[name] for name in ("reason", "similarity", "bands_hit", "cluster_size")}
    return pa.table([columns[name] for name in PAIRS.names], schema=PAIRS)


def _reasons(record: dict[str, Any], step: str) -> str:
    """The reason a comparing step drops for; its name where it dropped nothing."""
    ledger = next(ledger for ledger in record["ledgers"] if ledger["step"] == step)
    return next(iter(ledger["total"]["dropped"]), step)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _places(run: Store, chunk: Chunk, wanted: pa.Array) -> pa.Table:
    assert chunk.documents is not None
    parts = iter_parquet(run, chunk.documents.name, "documents", ["id", *_PLACE])
    found = [part.filter(pc.is_in(part["id"], value_set=wanted)) for part in parts]
    schema = pa.schema([("id", pa.binary(16)), *((name, PAIRS.field(name).type) for name in _PLACE)])
    return pa.Table.from_batches([part.select(schema.names).cast(schema) for part in found], schema=schema)


def _kept_batches(run: Store, chunk: Chunk) -> Iterator[pa.RecordBatch]:
    kept = None
    if chunk.selection is not None:
        kept = _whole(read_parquet(run, chunk.selection.name, "selection", ["kept"])["kept"])
    start = 0
    for batch in ChunkTexts(run, chunk).batches():
        rows = batch if kept is None else batch.filter(kept.slice(start, batch.num_rows))
        start += batch.num_rows
        if rows.num_rows:
            yield rows


def _write_lines(unit: Publication, name: str, batches: Iterator[pa.RecordBatch], fields: Fields) -> None:
    first = next(batches, None)
    if first is None:
        return
    named = {"native_id": fields.id_field, "text": fields.text_field, "url": fields.url_field, "date": fields.date_field}
    named |= {"lang": fields.lang_field, "license": fields.license_field}
    columns = [(column, field) for column, field in named.items() if field is not None]
    with (
        unit.file(name) as out,
        zstandard.ZstdCompressor(level=_ZSTD_LEVEL).stream_writer(cast(IO[bytes], out.raw), closefd=False) as stream,
    ):
        for batch in _chained(first, batches):
            values = [batch[column].to_pylist() for column, _ in columns]
            metas = batch["meta"].to_pylist()
            lines = []
            for row, meta in zip(zip(*values, strict=True), metas, strict=True):
                document = {field: value for (_, field), value in zip(columns, row, strict=True) if value is not None}
                line = orjson.dumps(document)
                lines.append(line[:-1] + b"," + meta.encode()[1:] if meta else line)  # two objects made one, not parsed again
            lines.append(b"")
            stream.write(b"\n".join(lines))
            out.rows += batch.num_rows


def _write_table(unit: Publication, name: str, batches: Iterator[pa.RecordBatch]) -> None:
    first = next(batches, None)
    if first is not None:
        write_parquet(unit, name, first.schema, _chained(first, batches))


def _chained(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _clear(out: Store, prefix: str) -> None:
    """Make room for new files: what an earlier call wrote goes. Raises: UserError when other files are there."""
    ours = re.compile(re.escape(prefix) + r"/(manifest\.json|\.writing-.*|.+-\d{5,}\.(jsonl\.zst|parquet))")
    strangers = [name for name in out.names(prefix) if not ours.fullmatch(name)]
    if strangers:
        fix = "choose another output folder, or move them away"
        raise UserError("other files lie where the kept documents go", file=out.full(strangers[0]), field="output", fix=fix)
    out.delete(prefix)


def write_pairs(out: Store, name: str, pairs: pa.Table) -> None:
    """Write the table of :func:`removal_pairs` as one Parquet file."""
    with out.writer(name) as file:
        pq.write_table(pairs, pa.PythonFile(file, mode="w"), compression="zstd")
