"""The documents of one chunk with their current text, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artifacts.paths import Store
from artifacts.schemas import check_format
from artifacts.tables import iter_parquet, read_parquet
from pipelines.state import Chunk

HOLD_BYTES = 256 << 20  # chunks up to this many text bytes stay in memory between the steps of one task


class ChunkTexts:
    """Reads a chunk's documents with all text versions applied; keeps them while they are small."""

    def __init__(self, store: Store, chunk: Chunk) -> None:
        self.store = store
        self.chunk = chunk
        self._held: list[pa.RecordBatch] | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Record batches in row order; ``text`` and ``text_hash`` are of the current version."""
        if self._held is not None:
            yield from self._held
            return
        held: list[pa.RecordBatch] | None = []
        size = 0
        for batch in self._read():
            if held is not None:
                held.append(batch)
                size += batch.nbytes
                if size > HOLD_BYTES:
                    held = None
            yield batch
        self._held = held

    def rewritten(self, chunk: Chunk) -> ChunkTexts:
        """The same chunk after one more rewrite."""
        return ChunkTexts(self.store, chunk)

    def _read(self) -> Iterator[pa.RecordBatch]:
        assert self.chunk.documents is not None
        overlays = [read_parquet(self.store, ref.name, "rewrite") for ref in self.chunk.rewrites]
        start = 0
        for batch in iter_parquet(self.store, self.chunk.documents.name, "documents"):
            for overlay in overlays:
                batch = _overlay(batch, overlay, start)
            yield batch
            start += batch.num_rows


def texts_of_rows(store: Store, chunk: Chunk, rows: NDArray[np.int64]) -> Iterator[pa.LargeStringArray]:
    """Current texts of some rows of a chunk, ascending, a row group's in memory at a time; groups without any are not decoded."""
    assert chunk.documents is not None
    overlays = [read_parquet(store, ref.name, "rewrite", ["row", "text"]) for ref in chunk.rewrites]
    with store.open(chunk.documents.name) as file:
        source = pq.ParquetFile(file)
        check_format(source.schema_arrow, "documents", store.full(chunk.documents.name))
        start = 0
        for group in range(source.num_row_groups):
            end = start + source.metadata.row_group(group).num_rows
            low, high = np.searchsorted(rows, [start, end])
            if low < high:
                batch = source.read_row_group(group, ["text"], use_threads=False).combine_chunks().to_batches()[0]
                for overlay in overlays:
                    batch = _overlay(batch, overlay, start)
                yield pc.take(batch["text"], pa.array(rows[low:high] - start))
            start = end


def _overlay(batch: pa.RecordBatch, overlay: pa.Table, start: int) -> pa.RecordBatch:
    """Put the rewritten rows that fall into this batch in place of the old ones."""
    rows = overlay["row"].to_numpy()
    first, last = np.searchsorted(rows, [start, start + batch.num_rows])
    if first == last:
        return batch
    indices = np.arange(batch.num_rows, dtype=np.int64)
    indices[rows[first:last] - start] = batch.num_rows + np.arange(last - first)
    for name in ("text", "text_hash") if "text_hash" in batch.schema.names else ("text",):
        column = batch.schema.get_field_index(name)
        replacement = overlay[name].slice(first, last - first).combine_chunks()
        merged = pa.concat_arrays([batch.column(column), replacement]).take(pa.array(indices))
        batch = batch.set_column(column, batch.schema.field(column), merged)
    return batch
