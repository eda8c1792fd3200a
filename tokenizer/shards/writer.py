"""Write encoded chunks and the shuffled parts of a source.

Bytes depend on the documents and their order alone: record batches are cut by tokens and rows, null
spans are written in one form, and nothing names a time or a machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.commands import Command
from artifacts.errors import UserError
from artifacts.jit import kernel
from tokenizer.shards.checksummed_file import ChecksummedFile
from tokenizer.shards.format import SPAN, TRAINABLE, encoded_schema, shard_schema
from tokenizer.shards.manifest import MANIFEST_NAME, PartRecord, SourceManifest
from tokenizer.shards.part_index import BatchRange, PartIndex
from tokenizer.shards.reader import map_table, token_batch
from tokenizer.shards.shuffle import PART_TOKENS, Part, plan_parts

# whole batches that hold 16 Mi tokens anywhere in a part are at most an eighth longer than these
BATCH_TOKENS = 1 << 21
BATCH_ROWS = 1 << 20


OpenFile = Callable[[Path], AbstractContextManager[IO[bytes]]]


@dataclass(frozen=True)
class Written:
    """What went into a file: documents, tokens, target tokens; of a part also where its record
    batches lie.
    """

    rows: int
    tokens: int
    trainable_tokens: int
    batches: tuple[BatchRange, ...] = ()


EncodedColumns = tuple[
    pa.FixedSizeBinaryArray, pa.FixedSizeBinaryArray, pa.LargeListArray, pa.ListArray | None
]


def write_encoded(
    out: IO[bytes],
    ids: pa.FixedSizeBinaryArray,
    text_hashes: pa.FixedSizeBinaryArray,
    tokens: pa.LargeListArray,
    trainable: pa.ListArray | None = None,
) -> Written:
    """Write a chunk's documents, in their order, as Arrow IPC; tokens end with EOS.

    ``trainable`` None means that every token of every document is a target.
    """
    return write_encoded_batches(
        out, tokens.type.value_type, [(ids, text_hashes, tokens, trainable)]
    )


def write_encoded_batches(
    out: IO[bytes], token_type: pa.DataType, batches: Iterable[EncodedColumns]
) -> Written:
    """The same, a record batch at a time: (ids, text hashes, tokens, trainable) each, in the
    documents' order.
    """
    schema = encoded_schema(token_type)
    rows = total = targets = 0
    with pa.ipc.new_file(_sink(out), schema) as writer:
        for ids, text_hashes, tokens, trainable in batches:
            held = token_batch(tokens)
            token_column = pa.LargeListArray.from_arrays(
                pa.array(held.offsets), pa.array(held.values), type=schema.field("tokens").type
            )
            spans = (
                pa.nulls(len(ids), TRAINABLE) if trainable is None else trainable.cast(TRAINABLE)
            )
            writer.write_batch(
                pa.record_batch([ids, text_hashes, token_column, spans], schema=schema)
            )
            rows, total = rows + len(ids), total + len(held.values)
            targets += trainable_tokens(spans, np.diff(held.offsets))
    return Written(rows, total, targets)


def trainable_tokens(trainable: pa.ListArray, lengths: NDArray[np.int64]) -> int:
    """Target tokens: the spans' lengths, and every token of the documents without spans."""
    spans = trainable.flatten()
    covered = (
        pc.sum(
            pc.subtract(spans.field("end").cast(pa.int64()), spans.field("start").cast(pa.int64()))
        ).as_py()
        or 0
    )
    return int(covered) + int(lengths[trainable.is_null().to_numpy(zero_copy_only=False)].sum())


def write_part(
    out: ChecksummedFile,
    chunks: Sequence[pa.Table],
    part: Part,
    token_type: pa.DataType,
    batch_tokens: int = BATCH_TOKENS,
    batch_rows: int = BATCH_ROWS,
) -> Written:
    """Gather a part's documents from mapped chunks and write them, one record batch after another.

    Memory: one record batch (``batch_tokens`` tokens, 2 Mi unless told otherwise, or one longer
    document) and the part's row numbers.
    """
    gatherer = _Gatherer(chunks, token_type)
    lengths = gatherer.lengths(part.chunk, part.row)
    schema = shard_schema(token_type)
    targets = 0
    places: list[BatchRange] = []
    with pa.ipc.new_file(_sink(out), schema) as writer:
        for first, last in _batch_bounds(lengths, batch_tokens, batch_rows):
            batch = gatherer.batch(
                part.chunk[first:last], part.row[first:last], lengths[first:last], schema
            )
            targets += trainable_tokens(batch.column("trainable"), lengths[first:last])
            writer.write_batch(batch)
            # the message just written, which ends where the file ends now
            length = pa.ipc.get_record_batch_size(batch)
            places.append(
                BatchRange(out.bytes - length, length, last - first, int(lengths[first:last].sum()))
            )
    return Written(len(lengths), int(lengths.sum()), targets, tuple(places))


def add_part(
    folder: Path,
    name: str,
    append: int,
    chunks: Sequence[pa.Table],
    part: Part,
    token_type: pa.DataType,
    open_file: OpenFile,
    batch_rows: int = BATCH_ROWS,
) -> PartRecord:
    """Write a part file and then its index beside it; returns what the manifest says of them."""
    with open_file(folder / name) as file:
        sink = ChecksummedFile(file)
        written = write_part(sink, chunks, part, token_type, batch_rows=batch_rows)
    checksum, blocks = sink.digests()
    index = PartIndex.of(sink.block_bytes, blocks, written.batches)
    record = PartRecord(
        file=name,
        append=append,
        rows=written.rows,
        tokens=written.tokens,
        trainable_tokens=written.trainable_tokens,
        bytes=sink.bytes,
        checksum=checksum,
        index_checksum=index.checksum,
    )
    with open_file(folder / record.index_file) as file:
        file.write(index.to_json())
    return record


def write_source(
    folder: Path,
    encoded: Sequence[Path],
    manifest: SourceManifest,
    part_tokens: int = PART_TOKENS,
    open_file: OpenFile = lambda path: path.open("wb"),
    wanted: Callable[[pa.FixedSizeBinaryArray], NDArray[np.bool_]] | None = None,
    batch_rows: int = BATCH_ROWS,
) -> SourceManifest:
    """Append the documents of encoded chunks to a source: new parts, each with its index, then the
    manifest.

    ``manifest`` is the source's present manifest, without parts for a new source; ids that the
    source holds already are refused. ``wanted`` says of ids (n,) which documents to take, default
    all. ``batch_rows``: most documents of a record batch.
    """
    chunks = [_sound_chunk(path) for path in encoded]
    present = [map_table(folder / part.file, "shard").column("id") for part in manifest.parts]
    columns = [(_one(table.column("id")), _lengths(table)) for table in chunks]
    _refuse_present(columns, present)
    masks = None if wanted is None else [wanted(ids) for ids, _ in columns]
    token_type = pa.uint16() if manifest.dtype == "uint16" else pa.uint32()
    append = 1 + max((part.append for part in manifest.parts), default=-1)
    records: list[PartRecord] = []
    for part in plan_parts(columns, int(manifest.shuffle_key, 16), part_tokens, masks):
        name = f"part-{len(manifest.parts) + len(records):05d}.arrow"
        records.append(
            add_part(folder, name, append, chunks, part, token_type, open_file, batch_rows)
        )
    grown = manifest.with_parts(records)
    with open_file(folder / MANIFEST_NAME) as file:
        file.write(grown.to_json())
    return grown


@kernel
def gather_rows(
    source: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    rows: NDArray[np.int64],
    places: NDArray[np.int64],
    out: NDArray[np.uint8],
    width: int,
) -> None:
    """Copy rows of ``width``-byte items: row ``rows[i]`` of source to item ``places[i]`` of out."""
    for index in range(len(rows)):
        begin = offsets[rows[index]] * width
        count = (offsets[rows[index] + 1]) * width - begin
        place = places[index] * width
        for byte in range(count):
            out[place + byte] = source[begin + byte]


class _Gatherer:
    """Picks rows out of mapped chunks; a global row number counts over all chunks' record
    batches.
    """

    def __init__(self, chunks: Sequence[pa.Table], token_type: pa.DataType) -> None:
        self.width = token_type.bit_width // 8
        self.chunk_starts = np.cumsum([0, *(chunk.num_rows for chunk in chunks)], dtype=np.int64)
        self.batches = [batch for chunk in chunks for batch in chunk.to_batches() if batch.num_rows]
        self.batch_starts = np.cumsum(
            [0, *(batch.num_rows for batch in self.batches)], dtype=np.int64
        )
        self.tokens = [token_batch(batch.column("tokens")) for batch in self.batches]
        for chunk in chunks:
            found = chunk.schema.field("tokens").type.value_type
            if found != token_type:
                raise UserError(
                    "a chunk has tokens of another type",
                    field="tokens",
                    found=found,
                    allowed=[token_type],
                )
        counts = [np.diff(tokens.offsets) for tokens in self.tokens]
        self.token_counts = np.concatenate(counts) if counts else np.empty(0, np.int64)

    def lengths(self, chunk: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of each document, in the order asked for."""
        counts: NDArray[np.int64] = self.token_counts[self.chunk_starts[chunk] + row]
        return counts

    def batch(
        self,
        chunk: NDArray[np.int64],
        row: NDArray[np.int64],
        lengths: NDArray[np.int64],
        schema: pa.Schema,
    ) -> pa.RecordBatch:
        """One record batch of the documents in the order asked for; chunks are read front to
        back.
        """
        numbers = self.chunk_starts[chunk] + row
        order = np.argsort(numbers, kind="stable")
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        tokens = np.empty(int(offsets[-1]) * self.width, np.uint8)
        ids, hashes = np.empty(len(numbers), "V16"), np.empty(len(numbers), "V16")
        spans: list[pa.ListArray] = []
        borders = np.searchsorted(numbers[order], self.batch_starts)
        for number in np.flatnonzero(np.diff(borders)):
            places = order[borders[number] : borders[number + 1]]
            rows = numbers[places] - self.batch_starts[number]
            source, held = self.batches[number], self.tokens[number]
            gather_rows(
                _raw(held.values), np.array(held.offsets), rows, offsets[places], tokens, self.width
            )
            ids[places] = _sixteen(source.column("id"))[rows]
            hashes[places] = _sixteen(source.column("text_hash"))[rows]
            spans.append(source.column("trainable").take(pa.array(rows)))
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        token_values = pa.array(tokens.view(f"u{self.width}"))
        columns = [
            pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(16), len(ids), [None, pa.py_buffer(ids)]
            ),
            pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(16), len(hashes), [None, pa.py_buffer(hashes)]
            ),
            pa.LargeListArray.from_arrays(
                pa.array(offsets), token_values, type=schema.field("tokens").type
            ),
            _canonical_spans(pa.concat_arrays(spans).take(pa.array(back))),
        ]
        return pa.record_batch(columns, schema=schema)


def _sound_chunk(path: Path) -> pa.Table:
    """An encoded chunk, mapped. Its offsets are followed without a bounds check, so they are
    checked first. Raises: UserError when it is damaged.
    """
    again = (
        f"delete the folder {path.parent}; ",
        Command("run RECIPE"),
        " encodes its documents again",
    )
    table = map_table(path, "encoded", again)
    try:
        table.validate(full=True)
    except pa.ArrowInvalid as error:
        raise UserError("an encoded chunk is damaged", file=path, found=error, fix=again) from None
    return table


def _batch_bounds(
    lengths: NDArray[np.int64], batch_tokens: int, batch_rows: int
) -> list[tuple[int, int]]:
    """Row ranges of the record batches: as many documents as fit, at least one."""
    ends = np.cumsum(lengths)
    bounds: list[tuple[int, int]] = []
    first = 0
    while first < len(lengths):
        before = int(ends[first - 1]) if first else 0
        fitting = int(np.searchsorted(ends, before + batch_tokens, "right"))
        last = max(first + 1, min(fitting, first + batch_rows))
        bounds.append((first, last))
        first = last
    return bounds


def _canonical_spans(spans: pa.ListArray) -> pa.ListArray:
    """The same spans in buffers that depend on the values alone."""
    if spans.null_count == len(spans):
        return pa.nulls(len(spans), TRAINABLE)
    counts = pc.fill_null(pc.list_value_length(spans), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([np.zeros(1, np.int32), np.cumsum(counts, dtype=np.int32)])
    flat = spans.flatten()
    children = [pa.array(np.array(flat.field(name).to_numpy())) for name in ("start", "end")]
    mask = spans.is_null() if spans.null_count else None
    return pa.ListArray.from_arrays(
        pa.array(offsets),
        pa.StructArray.from_arrays(children, fields=list(SPAN)),
        type=TRAINABLE,
        mask=mask,
    )


def _sink(out: Any) -> pa.PythonFile:
    return pa.PythonFile(out, mode="w")


def _raw(values: NDArray[Any]) -> NDArray[np.uint8]:
    view = np.frombuffer(values, np.uint8) if len(values) else np.frombuffer(b"", np.uint8)
    view.flags.writeable = False
    return view


def _sixteen(column: pa.FixedSizeBinaryArray) -> NDArray[np.void]:
    return np.frombuffer(column.buffers()[1], "V16", len(column), column.offset * 16)


def _one(column: pa.ChunkedArray) -> pa.Array:
    chunks = column.chunks
    return (
        chunks[0]
        if len(chunks) == 1
        else pa.concat_arrays(chunks)
        if chunks
        else pa.array([], column.type)
    )


def _lengths(table: pa.Table) -> NDArray[np.int64]:
    lengths: NDArray[np.int64] = (
        pc.list_value_length(table.column("tokens")).to_numpy().astype(np.int64)
    )
    return lengths


def _refuse_present(
    columns: Sequence[tuple[pa.Array, NDArray[np.int64]]], present: Sequence[pa.ChunkedArray]
) -> None:
    """Refuse documents the source has already."""
    if not present:
        return
    known = pa.chunked_array(
        [chunk for column in present for chunk in column.chunks], pa.binary(16)
    ).combine_chunks()
    for ids, _ in columns:
        again = pc.filter(ids, pc.is_in(ids, value_set=known))
        if len(again):
            raise UserError(
                "the source holds this document already",
                field="id",
                found=again[0].as_py().hex(),
                fix="append only new documents; a changed document belongs to a new source",
            )
