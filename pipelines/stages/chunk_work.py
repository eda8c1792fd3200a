"""What a step over one chunk works on: the chunk, its texts while they are in memory, and the files
that were prepared for it; or documents in memory that belong to no run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import pyarrow as pa

from artifacts.paths import Store
from artifacts.publish import FileRef, read_file
from artifacts.tables import read_parquet, read_schema
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.texts import ChunkTexts


@dataclass(frozen=True)
class Prepared:
    """Files that a PrepareStep made."""

    prefix: str  # of their unit
    files: tuple[FileRef, ...]

    def version(self) -> str | dict[str, str]:
        """What fixes the content: the checksum of the one file, or of each by its name."""
        if len(self.files) == 1:
            return self.files[0].checksum
        return {self.name(ref): ref.checksum for ref in self.files}

    def name(self, ref: FileRef) -> str:
        return ref.name.removeprefix(f"{self.prefix}/")


@dataclass(frozen=True)
class PreparedFiles:
    """The same, to be read from a store, by their names in the unit."""

    store: Store
    prepared: Prepared

    def full(self, name: str) -> str:
        """Name of a file in the store. Raises: KeyError where there is none of that name."""
        return self._ref(name).name

    def _ref(self, name: str) -> FileRef:
        for ref in self.prepared.files:
            if self.prepared.name(ref) == name:
                return ref
        raise KeyError(f"{self.prepared.prefix} holds no {name}")

    def read(self, name: str) -> bytes:
        """A whole file. Raises: UserError when it is damaged."""
        return read_file(self.store, self._ref(name))

    def table(self, name: str) -> pa.Table:
        """A table that was written as signals."""
        return read_parquet(self.store, self.full(name), "signals")

    def schema(self, name: str) -> pa.Schema:
        """The schema of a table, without its rows."""
        return read_schema(self.store, self.full(name))


@dataclass(frozen=True)
class Resources:
    """What PrepareSteps made, by step name."""

    prepared: dict[str, Prepared] = field(default_factory=dict)


@dataclass
class ChunkWork:
    """A chunk in one task, moved on from step to step. ``hold``: what is read stays in memory for
    the steps that follow.
    """

    store: Store
    chunk: Chunk
    resources: Resources = field(default_factory=Resources)
    hold: bool = False
    just_read: list[pa.RecordBatch] | None = None  # by the step that was carried out last

    @cached_property
    def texts(self) -> ChunkTexts:
        """The documents with their current text."""
        return ChunkTexts(self.store, self.chunk)

    def prepared(self, step: str) -> PreparedFiles:
        """What a PrepareStep made."""
        return PreparedFiles(self.store, self.resources.prepared[step])

    def signal(self, name: str) -> pa.Table:
        """All that a measure said of the chunk."""
        return read_parquet(self.store, self.chunk.signals[name].name, "signals")

    def move(self, chunk: Chunk) -> None:
        """Go on with the chunk as a step left it; texts stay in memory where it left them alone."""
        before = (self.chunk.documents, self.chunk.rewrites)
        if (chunk.documents, chunk.rewrites) != before:
            self.texts = ChunkTexts(self.store, chunk, held=self.just_read)
        self.chunk, self.just_read = chunk, None


class DocumentsInMemory(Protocol):
    """Documents outside a run, to which steps are applied one after the other."""

    batch: pa.RecordBatch  # of the documents format, with the current texts
    signals: dict[str, pa.Table]  # by measure
    resources: dict[str, Any]  # opened, by PrepareStep

    def measured(self, step: str, signals: pa.Table) -> None: ...

    def rewritten(self, texts: pa.LargeStringArray) -> None: ...

    def chosen(self, reasons: pa.StringArray) -> None:
        """Reasons (n,), null where the document stays."""
        ...
