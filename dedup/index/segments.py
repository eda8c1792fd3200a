"""The columns of a batch on disk: written once under a key of what decides them, read mapped,
checked whole.

Where they lie and which batches belong to an index is said in :mod:`dedup.index.files`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.fingerprints import content_key, libraries
from artifacts.paths import Store
from artifacts.publish import publish, published
from artifacts.schemas import FORMAT_KEY
from dedup.index.columns import Removed, Segment, as_bytes, halves
from dedup.index.files import (
    BATCHES,
    KEPT_FORMAT,
    REBUILD,
    REMOVED_FORMAT,
    BatchRecord,
    kept_schema,
    removed_schema,
    taken_back,
)
from dedup.words import Rows


@dataclass(frozen=True)
class StoredSegment:
    """A segment with what only the files know. Of kept documents file (number in the batch's texts)
    and row in it; of removed ones place (rank in the batch's keep order), input (number in the
    batch's inputs) and offset in it.
    """

    segment: Segment
    file: NDArray[np.uint32]
    row: NDArray[np.uint32]
    place: NDArray[np.uint32]
    input: NDArray[np.uint32]
    offset: NDArray[np.uint64]


def write_segment(
    store: Store, number: int, stored: StoredSegment, inputs: dict[str, Any]
) -> tuple[str, str]:
    """Publish a segment under a key of ``inputs``, which decide its bytes; returns its folder and
    the checksum of its files.
    """
    segment, removed = stored.segment, stored.segment.removed
    inputs = {
        **inputs,
        "work": "index_batch",
        "version": 1,
        "number": number,
        "libraries": libraries("pyarrow"),
    }
    folder = f"{BATCHES}/{number:05d}-{content_key(inputs)}"
    kept = [
        as_bytes(segment.ids),
        as_bytes(segment.hashes),
        stored.file,
        stored.row,
        *segment.bands,
    ]
    gone = [
        as_bytes(removed.ids),
        as_bytes(removed.hashes),
        removed.batch + np.uint32(1),
        removed.row,
        removed.similarity,
        removed.bands_hit,
        removed.reason,
        stored.place,
        stored.input,
        stored.offset,
    ]
    tables = (
        ("kept.arrow", kept_schema(len(segment.bands)), kept),
        ("removed.arrow", removed_schema(), gone),
    )
    with publish(store, folder, inputs) as unit:
        for name, schema, columns in tables:
            batch = pa.record_batch(
                [
                    pa.array(column, field.type)
                    for column, field in zip(columns, schema, strict=True)
                ],
                schema=schema,
            )
            with (
                unit.file(name, rows=batch.num_rows) as out,
                pa.ipc.new_file(pa.PythonFile(out.raw, mode="w"), schema) as writer,
            ):
                writer.write_batch(batch)
    manifest = published(store, folder)
    assert manifest is not None, f"{folder} was published and is gone"
    return folder, manifest.digest


def read_segment(store: Store, batch: BatchRecord) -> StoredSegment:
    """The columns of a batch. Raises: UserError when files are gone, cut, of another batch, or of
    another version.
    """
    manifest = published(store, batch.segment)
    if manifest is None or manifest.digest != batch.checksum:
        raise UserError(
            f"batch {batch.number} of this index is not whole",
            file=store.full(batch.segment),
            field=f"batches.{batch.number - 1}.segment",
            found="other files than the head names" if manifest else "missing or shortened files",
            fix=("bring the folder back from a copy, or ", *taken_back(batch.number)),
        )
    kept = _columns(store, batch.number, f"{batch.segment}/kept.arrow", KEPT_FORMAT, kept_schema(0))
    gone = _columns(
        store, batch.number, f"{batch.segment}/removed.arrow", REMOVED_FORMAT, removed_schema()
    )
    removed = Removed(
        halves(gone["id"]),
        halves(gone["text_hash"]),
        _numbers(gone["kept_batch"]) - np.uint32(1),
        _numbers(gone["kept_row"]),
        _numbers(gone["similarity"]),
        _numbers(gone["bands_hit"]),
        _numbers(gone["reason"]),
    )
    keys = tuple(_numbers(kept[name]) for name in kept.schema.names if name.startswith("band_"))
    segment = Segment(halves(kept["id"]), halves(kept["text_hash"]), keys, removed)
    places = (_numbers(kept[name]) for name in ("file", "row"))
    stored = StoredSegment(
        segment, *places, *(_numbers(gone[name]) for name in ("place", "input", "offset"))
    )
    _check_places(store, batch, stored)
    return stored


def _columns(
    store: Store, batch: int, name: str, format_name: str, schema: pa.Schema
) -> pa.RecordBatch:
    """The columns of a file, those of ``schema`` among them. Raises: UserError."""
    try:
        source = (
            pa.memory_map(store.full(name)) if store.local else pa.BufferReader(store.read(name))
        )
        reader = pa.ipc.open_file(source)
        found = (
            (reader.schema.metadata or {})
            .get(FORMAT_KEY, b"no format mark")
            .decode(errors="replace")
        )
        if found == format_name:
            columns = reader.get_batch(0)
            columns.validate(full=True)
            for field in schema:
                if columns.schema.field(field.name).type != field.type:
                    raise ValueError(f"column {field.name} has another type")
            return columns
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        raise _damaged(store, batch, name, error) from None
    message, field = "not a table this release can read", FORMAT_KEY.decode()
    raise UserError(
        message,
        file=store.full(name),
        field=field,
        found=found,
        allowed=[format_name],
        fix=REBUILD,
    )


def _damaged(store: Store, batch: int, name: str, found: object) -> UserError:
    fix = ("bring the file back from a copy, or ", *taken_back(batch))
    return UserError(f"a file of this index is damaged: {found}", file=store.full(name), fix=fix)


def _check_places(store: Store, batch: BatchRecord, stored: StoredSegment) -> None:
    """Raises: UserError for documents that would lie in no file of the batch, or be removed for one
    of a later batch.
    """
    rows = np.array([file.rows for file in batch.texts.files], np.int64)
    inside = stored.file < len(rows)
    if not inside.all() or (stored.row >= rows[stored.file]).any():
        raise _damaged(store, batch.number, f"{batch.segment}/kept.arrow", "rows of no file")
    if (stored.segment.removed.batch >= batch.number).any():
        raise _damaged(store, batch.number, f"{batch.segment}/removed.arrow", "no such batches")


def _numbers(column: pa.Array) -> NDArray[Any]:
    values: NDArray[Any] = column.to_numpy(zero_copy_only=True)
    return values


def check_files(store: Store, batch: BatchRecord) -> None:
    """Read a segment's files whole and hold them against their checksums. Raises: UserError naming
    the one that differs.
    """
    read_segment(store, batch)
    manifest = published(store, batch.segment)
    assert manifest is not None
    for ref in manifest.files:
        digest = xxhash.xxh3_128()
        with store.open(ref.name) as file:
            while block := file.read(1 << 22):
                digest.update(block)
        if digest.hexdigest() != ref.checksum:
            fix = ("bring the file back from a copy, or ", *taken_back(batch.number))
            message = "a file of this index has other content than when it was written"
            raise UserError(
                message,
                file=store.full(ref.name),
                field="checksum",
                found=digest.hexdigest(),
                allowed=[ref.checksum],
                fix=fix,
            )


def segment_bytes(store: Store, batch: BatchRecord) -> int:
    """Bytes of a batch's segment on disk."""
    return sum(store.size(name) or 0 for name in store.names(batch.segment))


def document_digest(ids: pa.FixedSizeBinaryArray, hashes: pa.FixedSizeBinaryArray) -> str:
    """Digest of a batch as it was read: ids and text hashes in order."""
    digest = xxhash.xxh3_128(halves(ids).tobytes())
    digest.update(halves(hashes).tobytes())
    return digest.hexdigest()


def kept_positions(segments: list[StoredSegment], numbers: Rows) -> tuple[Rows, Rows]:
    """(segment, row in it) of kept documents by their numbers."""
    starts = np.cumsum([0, *[len(stored.segment) for stored in segments]])
    owner = np.searchsorted(starts, numbers, side="right") - 1
    return owner.astype(np.int64), (numbers - starts[owner]).astype(np.int64)
