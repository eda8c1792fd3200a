"""Texts of the kept documents of an index, read again from where each batch wrote them, and only
those asked for.

Of a Parquet file the row groups that hold a wanted row are read, two columns of them; a compressed
JSON Lines file is decompressed from its beginning to the last wanted line, of which only the wanted
ones are parsed. Every text is held against the hash the index has of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
import zstandard

from artifacts.errors import UserError
from artifacts.ids import text_hashes
from artifacts.paths import Store
from dedup.index.columns import as_bytes
from dedup.index.files import BatchRecord, TextFile, taken_back
from dedup.index.segments import StoredSegment, kept_positions
from dedup.near.minhash import MinHashConfig, shingle_sets
from dedup.shingles import ShingleSets
from dedup.words import Rows

NativeIds = dict[int, str | None]


def kept_texts(
    batches: Sequence[BatchRecord], segments: Sequence[StoredSegment], numbers: Rows
) -> Iterator[tuple[Rows, pa.LargeStringArray, list[str | None]]]:
    """Kept documents by number: which of ``numbers``, their texts and native ids, file by file.

    Raises: UserError when a file is gone, is another one, or holds another text than was kept.
    """
    owner, row = kept_positions(list(segments), numbers)
    for batch in np.unique(owner):
        asked = np.flatnonzero(owner == batch)
        record, stored, rows = batches[batch], segments[batch], row[asked]
        files = stored.file[rows]
        for file in np.unique(files):
            here = asked[files == file]
            here = here[np.argsort(stored.row[row[here]], kind="stable")]
            texts, names = _read(
                record, record.texts.files[file], stored.row[row[here]].astype(np.int64)
            )
            if not text_hashes(texts).equals(as_bytes(stored.segment.hashes[row[here]])):
                raise _changed(
                    record, record.texts.files[file], "other texts than those that were kept"
                )
            yield here, texts, names


def candidate_sets(
    batches: Sequence[BatchRecord],
    segments: Sequence[StoredSegment],
    candidates: Rows,
    others: Rows,
    config: MinHashConfig,
) -> tuple[ShingleSets, NativeIds]:
    """Shingle sets of the candidates, in their order, and the native ids of them and of other
    documents.
    """
    numbers = np.concatenate([candidates, np.setdiff1d(others, candidates)])
    rows, parts = [np.zeros(0, np.int64)], []
    names: NativeIds = {}
    for some, texts, own in kept_texts(batches, segments, numbers):
        names |= dict(zip(numbers[some].tolist(), own, strict=True))
        rows.append(some)
        parts.append(shingle_sets(texts, config, some < len(candidates)))
    return arranged(np.concatenate(rows), parts, len(numbers), len(candidates)), names


def arranged(
    rows: Rows, parts: Sequence[ShingleSets], count: int, first: int | None = None
) -> ShingleSets:
    """Sets in parts, those of the given rows, as the sets of rows 0 to ``count`` - 1 (or the first
    of them); others are empty.
    """
    lengths = np.concatenate([np.zeros(0, np.int64), *[np.diff(part.offsets) for part in parts]])
    hashes = np.concatenate([np.zeros(0, np.uint64), *[part.hashes for part in parts]])
    begins = np.cumsum(lengths) - lengths
    order = np.argsort(rows, kind="stable")
    sizes = np.zeros(count, np.int64)
    sizes[rows] = lengths
    sorted_lengths = lengths[order]
    inside = np.arange(lengths.sum()) - np.repeat(
        np.cumsum(sorted_lengths) - sorted_lengths, sorted_lengths
    )
    offsets = np.cumsum(np.concatenate([np.zeros(1, np.int64), sizes[:first]]))
    gathered = hashes[np.repeat(begins[order], sorted_lengths) + inside]
    return ShingleSets(offsets, gathered[: offsets[-1]])


def check_texts(record: BatchRecord) -> None:
    """Read every text file of a batch and hold it against its checksum. Raises: UserError naming
    the one that differs.
    """
    for ref in record.texts.files:
        store = present(record, ref)
        digest = xxhash.xxh3_128()
        with store.open(ref.name) as file:
            while block := file.read(1 << 22):
                digest.update(block)
        if digest.hexdigest() != ref.checksum:
            raise _changed(record, ref, digest.hexdigest())


def _read(
    record: BatchRecord, ref: TextFile, rows: Rows
) -> tuple[pa.LargeStringArray, list[str | None]]:
    """Texts and native ids of rows (ascending) of one file."""
    store = present(record, ref)
    try:
        with store.open(ref.name) as file:
            return (
                _parquet_rows(file, rows)
                if record.texts.format == "parquet"
                else _line_rows(file, rows, record)
            )
    except (
        pa.ArrowException,
        zstandard.ZstdError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
    ) as error:
        raise _changed(record, ref, f"a file that cannot be read: {error}") from None


def present(record: BatchRecord, ref: TextFile) -> Store:
    """The store of a file of kept documents. Raises: UserError when it is gone or has another
    length.
    """
    store = Store(record.texts.folder)
    size = store.size(ref.name)
    if size is None:
        raise UserError(
            f"kept documents of batch {record.number} are gone: near-duplicates cannot be compared "
            "with them",
            file=store.full(ref.name),
            field=f"batches.{record.number - 1}.texts",
            fix=(
                "bring the file back (a link to where it lies now will do), or ",
                *taken_back(record.number),
            ),
        )
    if size != ref.bytes:
        raise _changed(record, ref, f"{size:,} bytes, not {ref.bytes:,}")
    return store


def _changed(record: BatchRecord, ref: TextFile, found: str) -> UserError:
    return UserError(
        f"this file is no longer the one that batch {record.number} wrote",
        file=record.texts.url(ref),
        field=f"batches.{record.number - 1}.texts",
        found=found,
        fix=("bring the file back as it was, or ", *taken_back(record.number)),
    )


def _parquet_rows(file: IO[bytes], rows: Rows) -> tuple[pa.LargeStringArray, list[str | None]]:
    source = pq.ParquetFile(file)
    sizes = [source.metadata.row_group(group).num_rows for group in range(source.num_row_groups)]
    starts = np.cumsum([0, *sizes])
    texts, names = [], []
    for group in np.unique(np.searchsorted(starts, rows, side="right") - 1).tolist():
        inside = rows[(rows >= starts[group]) & (rows < starts[group + 1])] - starts[group]
        table = source.read_row_group(group, columns=["text", "native_id"], use_threads=False).take(
            pa.array(inside)
        )
        texts.append(table["text"].combine_chunks().cast(pa.large_string()))
        names += table["native_id"].to_pylist()
    whole = [
        part
        for text in texts
        for part in (text.chunks if isinstance(text, pa.ChunkedArray) else [text])
    ]
    return pa.concat_arrays(whole), names


def _line_rows(
    file: IO[bytes], rows: Rows, record: BatchRecord
) -> tuple[pa.LargeStringArray, list[str | None]]:
    texts, names = [], []
    wanted = iter(rows.tolist())
    asked = next(wanted, None)
    with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as stream:
        for number, line in enumerate(_lines(stream)):
            if asked is None:
                break
            if number == asked:
                value = orjson.loads(line)
                texts.append(value[record.texts.text_field])
                names.append(
                    None if record.texts.id_field is None else str(value[record.texts.id_field])
                )
                asked = next(wanted, None)
    if asked is not None:
        raise ValueError(f"it ends before line {asked + 1}")
    return pa.array(texts, pa.large_string()), names


def _lines(stream: zstandard.ZstdDecompressionReader) -> Iterator[bytes]:
    rest = b""
    while block := stream.read(1 << 20):
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
    if rest:
        yield rest
