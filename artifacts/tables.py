"""Reading and writing tables the one deterministic way: Parquet with zstd, bounded row groups."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.paths import Store
from artifacts.publish import CountedFile, FileRef, Publication
from artifacts.schemas import check_format

LIBRARIES = ("pyarrow",)  # decides the bytes of every table
# text a quarter larger than at level 3, written in three quarters to two thirds of the time
ZSTD_LEVEL = 1


@dataclass
class TableWriter:
    """A Parquet file being written, a row group per call."""

    out: CountedFile
    writer: pq.ParquetWriter
    schema: pa.Schema

    def write(self, rows: pa.RecordBatch | pa.Table) -> None:
        """Append rows as one row group; nothing is written for no rows."""
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
        if table.num_rows:
            self.writer.write_table(table.cast(self.schema), row_group_size=table.num_rows)
            self.out.rows += table.num_rows


@contextlib.contextmanager
def open_parquet(unit: Publication, name: str, schema: pa.Schema) -> Iterator[TableWriter]:
    """Write one Parquet file of a unit piece by piece."""
    with (
        unit.file(name) as out,
        pq.ParquetWriter(
            pa.PythonFile(out.raw, mode="w"),
            schema,
            compression="zstd",
            compression_level=ZSTD_LEVEL,
        ) as writer,
    ):
        yield TableWriter(out, writer, schema)


def write_parquet(
    unit: Publication, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch | pa.Table]
) -> FileRef:
    """Write batches as one Parquet file of a unit, a row group each; returns its reference."""
    with open_parquet(unit, name, schema) as table:
        for batch in batches:
            table.write(batch)
    return unit.files[-1]


def read_parquet(
    store: Store, name: str, format_name: str, columns: Sequence[str] | None = None
) -> pa.Table:
    """Read a whole table written by this house, checking its format mark."""
    with opened(store, name) as file:
        source = pq.ParquetFile(file)
        check_format(source.schema_arrow, format_name, store.full(name))
        return source.read(columns=None if columns is None else list(columns), use_threads=False)


def iter_parquet(
    store: Store, name: str, format_name: str, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Read a table one row group at a time."""
    with opened(store, name) as file:
        source = pq.ParquetFile(file)
        check_format(source.schema_arrow, format_name, store.full(name))
        for group in range(source.num_row_groups):
            table = source.read_row_group(
                group, columns=None if columns is None else list(columns), use_threads=False
            )
            yield table.combine_chunks().to_batches()[0]


def opened(store: Store, name: str) -> Any:
    """A file for Arrow to read; local ones are mapped, so that what is not compressed is copied
    once.
    """
    return pa.memory_map(store.full(name)) if store.local else store.open(name)


def read_schema(store: Store, name: str) -> pa.Schema:
    """The schema of a table, format mark included."""
    with store.open(name) as file:
        return pq.read_schema(file)
