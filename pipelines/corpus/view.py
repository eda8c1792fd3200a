"""The whole corpus as columns, for steps that compare documents with one another.

Rows are those still kept in the sources a step concerns, chunk after chunk. Signals and ids are
loaded whole (tens of bytes per document); text only for the rows asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.ids import as_words
from artifacts.paths import Store
from artifacts.tables import read_parquet
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.keep_policy import PREFERRED, KeepPolicy, keep_ranks
from pipelines.corpus.selection import kept_mask
from pipelines.corpus.texts import texts_of_rows


class CorpusView:
    """Columns over the n rows that take part in a comparison."""

    def __init__(self, store: Store, chunks: Sequence[Chunk], sources: tuple[str, ...]) -> None:
        self.store = store
        self.chunks = [chunk for chunk in chunks if chunk.source in sources]
        self.sources = sources
        self.masks = [kept_mask(store, chunk) for chunk in self.chunks]
        counts = [int(mask.sum()) for mask in self.masks]
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def ids(self) -> pa.FixedSizeBinaryArray:
        """Document ids, (n,) of 16 bytes."""
        return self.column("size", "id")

    @cached_property
    def text_hashes(self) -> pa.FixedSizeBinaryArray:
        """Hashes of the current texts, (n,) of 16 bytes."""
        return self.column("size", "text_hash")

    def column(self, signal: str, name: str) -> pa.Array:
        """One signal column over the n rows; null where a source was not measured."""
        parts: list[pa.Array | None] = []
        wanted: pa.DataType | None = None
        for chunk, mask in zip(self.chunks, self.masks, strict=True):
            ref = chunk.signals.get(signal)
            if ref is None:
                parts.append(None)
                continue
            values = (
                read_parquet(self.store, ref.name, "signals", [name])[name]
                .combine_chunks()
                .filter(pa.array(mask))
            )
            wanted = values.type
            parts.append(values)
        wanted = wanted or pa.null()
        counts = np.diff(self.starts)
        arrays = [
            pa.nulls(int(count), wanted) if part is None else part
            for part, count in zip(parts, counts, strict=True)
        ]
        return pa.concat_arrays(arrays) if arrays else pa.nulls(0, wanted)

    def priority(self, policy: KeepPolicy) -> NDArray[np.int64]:
        """Rank of each row in keep order, 0 = most wanted; a permutation of 0…n-1."""
        columns = {name: self._policy_column(policy, name) for name in policy.sort_columns()}
        return keep_ranks(policy, as_words(self.ids), columns)

    def texts(self, rows: NDArray[np.int64]) -> pa.LargeStringArray:
        """Current texts of the given rows, which are ascending."""
        parts = list(self.text_parts(rows))
        return pa.concat_arrays(parts) if parts else pa.array([], pa.large_string())

    def text_parts(self, rows: NDArray[np.int64]) -> Iterator[pa.LargeStringArray]:
        """The same in parts, a row group's texts in memory at a time."""
        for index, chunk in enumerate(self.chunks):
            low, high = np.searchsorted(rows, self.starts[index : index + 2])
            if low == high:
                continue
            inside = np.flatnonzero(self.masks[index])[rows[low:high] - self.starts[index]]
            yield from texts_of_rows(self.store, chunk, inside)

    def _policy_column(self, policy: KeepPolicy, name: str) -> NDArray[np.generic] | pl.Series:
        if name in ("source_rank", PREFERRED):
            ranks = [policy.source_place(name, chunk.source, self.sources) for chunk in self.chunks]
            return np.repeat(np.array(ranks, np.int64), np.diff(self.starts))
        values = self.column(policy.measures[name], name)
        series = pl.from_arrow(values)
        assert isinstance(series, pl.Series)
        return series
