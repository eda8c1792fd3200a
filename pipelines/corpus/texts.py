"""The documents of one chunk with their current text, a batch at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from artifacts.paths import Store
from artifacts.tables import damaged_table, iter_parquet, open_table, read_parquet, sound
from pipelines.corpus.chunk import Chunk

# chunks up to this many text bytes stay in memory between the steps of one task
HOLD_BYTES = 256 << 20


class HeldBatches:
    """Batches kept in memory while they are small together; ``batches`` is None once they are
    not.
    """

    def __init__(self) -> None:
        self.batches: list[pa.RecordBatch] | None = []
        self._size = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Keep one more; none without rows, as files have none."""
        self._size += batch.nbytes
        if self._size > HOLD_BYTES:
            self.batches = None
        if self.batches is not None and batch.num_rows:
            self.batches.append(batch)


class ChunkTexts:
    """Reads a chunk's documents with all text versions applied; keeps them while they are small.

    ``columns``: of the documents, which to read; default all. ``held``: the batches, where they are
    in memory already.
    """

    def __init__(
        self,
        store: Store,
        chunk: Chunk,
        columns: Sequence[str] | None = None,
        held: list[pa.RecordBatch] | None = None,
    ) -> None:
        self.store = store
        self.chunk = chunk
        self.columns = columns
        self._held = held

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Record batches in row order; ``text`` and ``text_hash`` are of the current version."""
        if self._held is not None:
            yield from self._held
            return
        held = HeldBatches()
        for batch in self.stream():
            held.add(batch)
            yield batch
        self._held = held.batches

    def stream(self) -> Iterator[pa.RecordBatch]:
        """The same read once: nothing is kept."""
        overlays = _overlays(self.store, self.chunk)
        start = 0
        for batch in iter_parquet(self.store, self.chunk.records.name, "documents", self.columns):
            for overlay in overlays:
                batch = _overlay(batch, overlay, start)
            yield batch
            start += batch.num_rows


def texts_of_rows(
    store: Store, chunk: Chunk, rows: NDArray[np.int64]
) -> Iterator[pa.LargeStringArray]:
    """Current texts of some rows of a chunk, ascending, a row group's in memory at a time; groups
    without any are not decoded.
    """
    overlays = _overlays(store, chunk, ["row", "text"])
    with open_table(store, chunk.records.name, "documents") as table:
        start = 0
        for group, size in enumerate(table.group_rows):
            end = start + size
            low, high = np.searchsorted(rows, [start, end])
            if low < high:
                batch = table.group(group, ["text"])
                for overlay in overlays:
                    batch = _overlay(batch, overlay, start)
                yield pc.take(batch["text"], pa.array(rows[low:high] - start))
            start = end


@contextlib.contextmanager
def sound_texts(store: Store, chunk: Chunk) -> Iterator[None]:
    """Say of a text of a chunk that is no text which table it is from. Raises: UserError."""
    try:
        yield
    except UnicodeDecodeError as error:
        tables = [(chunk.records.name, "documents")]
        tables += [(ref.name, "rewrite") for ref in chunk.rewrites]
        for name, format_name in tables:
            for batch in iter_parquet(store, name, format_name, ["text"]):
                with sound(store, name):
                    batch.validate(full=True)
        raise damaged_table(store, chunk.records.name, error) from None


def _overlays(store: Store, chunk: Chunk, columns: Sequence[str] | None = None) -> list[pa.Table]:
    """The rewritten rows of a chunk, a table per version. Raises: UserError when one is damaged."""
    tables = []
    for ref in chunk.rewrites:
        table = read_parquet(store, ref.name, "rewrite", columns)
        rows = table["row"].to_numpy()
        inside = not len(rows) or (rows[0] >= 0 and rows[-1] < chunk.records.rows)
        if not inside or (np.diff(rows) <= 0).any():
            raise damaged_table(store, ref.name, "rows that the chunk has not")
        tables.append(table)
    return tables


def _overlay(batch: pa.RecordBatch, overlay: pa.Table, start: int) -> pa.RecordBatch:
    """Put the rewritten rows that fall into this batch in place of the old ones."""
    rows = overlay["row"].to_numpy()
    first, last = np.searchsorted(rows, [start, start + batch.num_rows])
    if first == last:
        return batch
    indices = np.arange(batch.num_rows, dtype=np.int64)
    indices[rows[first:last] - start] = batch.num_rows + np.arange(last - first)
    for name in ("text", "text_hash"):
        column = batch.schema.get_field_index(name)
        if column < 0:
            continue
        replacement = overlay[name].slice(first, last - first).combine_chunks()
        merged = pa.concat_arrays([batch.column(column), replacement]).take(pa.array(indices))
        batch = batch.set_column(column, batch.schema.field(column), merged)
    return batch
