"""The columns of one chunk a report looks at: ids, sizes, who is kept and why not, and signals by
name.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.ids import as_words
from artifacts.paths import Store
from artifacts.tables import read_parquet, read_schema
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.selection import kept_mask
from pipelines.signals.document_language import document_languages


class ChunkColumns:
    """n rows of a measured chunk; columns are read when asked for and held no longer than this
    object.
    """

    def __init__(self, store: Store, chunk: Chunk) -> None:
        self.store = store
        self.chunk = chunk
        self._columns: dict[str, pa.ChunkedArray | None] = {}

    @cached_property
    def ids(self) -> NDArray[np.uint64]:
        """Ids as big-endian halves, (n, 2)."""
        return as_words(self._size["id"].combine_chunks())

    @cached_property
    def characters(self) -> NDArray[np.int64]:
        """Length of the current text in code points, (n,)."""
        characters: NDArray[np.int64] = self._size["characters"].to_numpy()
        return characters

    @cached_property
    def kept(self) -> NDArray[np.bool_]:
        """Who is in the final selection, (n,)."""
        return kept_mask(self.store, self.chunk)

    @cached_property
    def stage(self) -> NDArray[np.object_]:
        """Step that dropped each row, None where none did, (n,)."""
        return self._why("stage")

    @cached_property
    def reason(self) -> NDArray[np.object_]:
        """Reason each row was dropped for, None where it was not, (n,)."""
        return self._why("reason")

    def column(self, name: str) -> pa.ChunkedArray | None:
        """A signal column by its name, of the first measure that has it; None where nobody measured
        it.
        """
        if name not in self._columns:
            self._columns[name] = self._read(name)
        return self._columns[name]

    def languages(self) -> pa.StringArray:
        """Codes of the documents' languages as rules see them, null where none is known, (n,)."""
        declared = read_parquet(self.store, self.chunk.records.name, "documents", ["lang"])["lang"]
        return document_languages(self.column("language"), declared)

    def _read(self, name: str) -> pa.ChunkedArray | None:
        for signal, names in sorted(self._names.items()):
            if name in names:
                file = self.chunk.signals[signal].name
                return read_parquet(self.store, file, "signals", [name])[name]
        return None

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        return {
            signal: read_schema(self.store, ref.name).names
            for signal, ref in self.chunk.signals.items()
        }

    @cached_property
    def _size(self) -> pa.Table:
        return read_parquet(
            self.store, self.chunk.signals["size"].name, "signals", ["id", "characters"]
        )

    @cached_property
    def _selection(self) -> pa.Table | None:
        if self.chunk.selection is None:
            return None
        return read_parquet(self.store, self.chunk.selection.name, "selection", ["stage", "reason"])

    def _why(self, name: str) -> NDArray[np.object_]:
        if self._selection is None:
            return np.full(len(self.ids), None, np.object_)
        values: NDArray[np.object_] = self._selection[name].to_numpy()
        return values
