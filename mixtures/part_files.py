"""Where a source's parts lie: on a local disk, mapped, or on an object store, behind a bounded local cache.

    files = part_files("shards/web-en", tokenizer_hash)
    rows, tokens = files.batches(0)          # record batches of part 0
    record = files.record(0, 5)              # the sixth, zero-copy
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokenizer.shards import ShardSource, open_source

Ints = NDArray[np.int64]


class PartFiles(Protocol):
    """Record batches of a source's parts, by part and number."""

    source: ShardSource

    def path(self, part: int) -> str:
        """Path or URL of a part, for messages."""
        ...

    def batches(self, part: int) -> tuple[Ints, Ints]:
        """(rows, tokens) of each record batch of a part."""
        ...

    def record(self, part: int, number: int) -> pa.RecordBatch:
        """A record batch. Raises: UserError when it cannot be read or is not sound."""
        ...


class LocalParts:
    """Parts on a local disk, mapped into memory."""

    def __init__(self, source: ShardSource) -> None:
        self.source = source
        self._tables: dict[int, pa.Table] = {}

    def path(self, part: int) -> str:
        return str(self.source.folder / self.source.part(part).file)

    def batches(self, part: int) -> tuple[Ints, Ints]:
        chunks = self._table(part).column("tokens").chunks
        tokens = [chunk.offsets[-1].as_py() - chunk.offsets[0].as_py() for chunk in chunks]
        return np.array([len(chunk) for chunk in chunks], np.int64), np.array(tokens, np.int64)

    def record(self, part: int, number: int) -> pa.RecordBatch:
        return self._table(part).to_batches()[number]

    def _table(self, part: int) -> pa.Table:
        if part not in self._tables:
            self._tables[part] = self.source.table(part)
        return self._tables[part]


def part_files(folder: Path | str, tokenizer_hash: str | None = None) -> PartFiles:
    """The files of a source's folder. Raises: UserError as :func:`tokenizer.shards.open_source`."""
    return LocalParts(open_source(folder, tokenizer_hash))
