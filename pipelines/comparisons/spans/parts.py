"""Rows on their way from many tasks to many: each task writes one file, with row groups by who is
to read them.

A task over a chunk writes rows for tasks over shares of the hashes, and the other way round. So
rows are exchanged through the store, each is written and read once, and no task holds more than
what is meant for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artifacts.paths import Store
from artifacts.publish import Publication, published
from artifacts.schemas import check_format
from artifacts.tables import TableWriter, open_parquet

FILE = "parts.parquet"


@dataclass
class PartsWriter:
    """Writes the file; ``readers`` holds, row group by row group, the number of the task that reads
    it.
    """

    table: TableWriter
    readers: list[int]

    def write(self, columns: Sequence[Any], readers: NDArray[np.int64] | int) -> None:
        """Rows in columns, each for one reader, or all for one. Rows of one reader keep their
        order.
        """
        rows = pa.table(list(columns), schema=self.table.schema)
        if isinstance(readers, int):
            self._group(rows, readers)
            return
        order = np.argsort(readers, kind="stable")
        found, first = np.unique(readers[order], return_index=True)
        bounds = np.append(first, len(order))
        for reader, start, end in zip(found.tolist(), bounds[:-1], bounds[1:], strict=True):
            self._group(rows.take(pa.array(order[start:end])), reader)

    def _group(self, rows: pa.Table, reader: int) -> None:
        if len(rows):
            self.table.write(rows)
            self.readers.append(reader)


@contextlib.contextmanager
def open_parts(unit: Publication, schema: pa.Schema) -> Iterator[PartsWriter]:
    """Write a unit's one file of parts."""
    with open_parquet(unit, FILE, schema) as table:
        parts = PartsWriter(table, [])
        yield parts
    unit.facts["readers"] = parts.readers


def read_parts(
    store: Store, prefix: str, reader: int, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """What the unit under ``prefix`` holds for a reader, row group by row group."""
    manifest = published(store, prefix)
    assert manifest is not None, f"{prefix} is gone"
    groups = [group for group, whose in enumerate(manifest.facts["readers"]) if whose == reader]
    if not groups:
        return
    name = manifest.file(FILE).name
    with store.open(name) as file:
        source = pq.ParquetFile(file)
        check_format(source.schema_arrow, "signals", store.full(name))
        for group in groups:
            yield source.read_row_group(
                group, columns=None if columns is None else list(columns), use_threads=False
            )


def numbers(tables: Sequence[pa.Table], schema: pa.Schema) -> dict[str, NDArray[Any]]:
    """Number columns of tables one behind the other."""
    whole = pa.concat_tables([schema.empty_table(), *tables])
    return {name: whole[name].to_numpy() for name in schema.names}
