"""Reading and writing tables the one deterministic way: Parquet with zstd, bounded row groups."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.errors import UserError
from artifacts.paths import Store
from artifacts.publish import CountedFile, FileRef, Publication, damaged_file
from artifacts.schemas import check_format

# what reading damaged bytes raises; a column that is gone is a KeyError or an IndexError
_DAMAGE = (pa.ArrowException, OSError, ValueError, KeyError, IndexError)
_OF_THE_CONTENT = (None, errno.ENOENT, errno.EINVAL)
# of the machine or the network: the table may be whole (ArrowMemoryError is a MemoryError)
_OF_THE_PLACE = (MemoryError, TimeoutError, ConnectionError)
_OF_A_STORE = "AWS Error"  # Arrow's own file systems raise an OSError without a number

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
    """Read a whole table written by this house, checking its format mark. Raises: UserError when
    it is damaged.
    """
    with open_table(store, name, format_name) as table:
        return table.whole(columns)


def iter_parquet(
    store: Store, name: str, format_name: str, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Read a table one row group at a time. Raises: UserError when it is damaged."""
    with open_table(store, name, format_name) as table:
        for group in range(len(table.group_rows)):
            yield table.group(group, columns)


def read_schema(store: Store, name: str) -> pa.Schema:
    """The schema of a table, format mark included. Raises: UserError when it is damaged."""
    with _opened(store, name) as file, sound(store, name):
        return pq.read_schema(file)


@dataclass(frozen=True)
class OpenTable:
    """A Parquet file open for reading. ``group_rows``: rows of each row group."""

    store: Store
    name: str
    source: pq.ParquetFile
    group_rows: tuple[int, ...]

    def whole(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows. Raises: UserError when they are damaged, as the other methods."""
        with sound(self.store, self.name):
            table = self.source.read(columns=_listed(columns), use_threads=False)
            _validate(table)
            return table

    def group(self, number: int, columns: Sequence[str] | None = None) -> pa.RecordBatch:
        """The rows of one row group."""
        with sound(self.store, self.name):
            table = self.source.read_row_group(number, columns=_listed(columns), use_threads=False)
            batch = table.combine_chunks().to_batches()[0]
            _validate(batch)
            return batch

    def batches(self, rows: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All rows, at most so many at a time."""
        with sound(self.store, self.name):
            found = self.source.iter_batches(rows, columns=_listed(columns), use_threads=False)
        while True:
            with sound(self.store, self.name):
                batch = next(found, None)
                if batch is None:
                    return
                _validate(batch)
            yield batch


@contextlib.contextmanager
def open_table(store: Store, name: str, format_name: str) -> Iterator[OpenTable]:
    """Open a table written by this house, checking its format mark. Raises: UserError when it is
    damaged.
    """
    with _opened(store, name) as file:
        with sound(store, name):
            source = pq.ParquetFile(file)
            footer, schema = source.metadata, source.schema_arrow
            rows = tuple(footer.row_group(group).num_rows for group in range(footer.num_row_groups))
        check_format(schema, format_name, store.full(name))
        yield OpenTable(store, name, source, rows)


@dataclass(frozen=True)
class OpenBatches:
    """An Arrow IPC file open for reading: ``count`` record batches."""

    store: Store
    name: str
    source: pa.RecordBatchFileReader
    schema: pa.Schema
    count: int

    def batch(self, number: int) -> pa.RecordBatch:
        """One record batch; its buffers stay valid after the file is closed. Raises: UserError
        when it is damaged.
        """
        with sound(self.store, self.name):
            batch = self.source.get_batch(number)
            batch.validate(full=True)  # what is not compressed has no mark of its own
            return batch


@contextlib.contextmanager
def open_batches(
    store: Store, name: str, columns: Sequence[str] | None = None
) -> Iterator[OpenBatches]:
    """Open an Arrow IPC file, of which only ``columns`` are read, all by default; mapped where it
    is local, so that what is read is not copied. Raises: UserError when it is damaged.
    """
    with _opened(store, name) as file:
        with sound(store, name):
            # threads would each keep memory of their own for what they decompress
            included = None
            if columns is not None:
                schema = pa.ipc.open_file(file).schema
                included = [schema.get_field_index(column) for column in columns]
            options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=included)
            source = pa.ipc.open_file(file, options=options)
            opened = OpenBatches(store, name, source, source.schema, source.num_record_batches)
        yield opened


@contextlib.contextmanager
def sound(store: Store, name: str) -> Iterator[None]:
    """Say what Arrow finds wrong with a table of a run as an error that names the file. Raises:
    UserError.
    """
    try:
        yield
    except _OF_THE_PLACE:
        raise
    except _DAMAGE as error:
        of_the_disk = isinstance(error, OSError) and error.errno not in _OF_THE_CONTENT
        if of_the_disk or _OF_A_STORE in str(error):
            raise
        raise damaged_table(store, name, error) from error


def damaged_table(store: Store, name: str, error: object) -> UserError:
    """The error of a table that does not hold what was written."""
    lines = str(error).splitlines()
    return damaged_file(store, name, lines[0] if lines else type(error).__name__)


@contextlib.contextmanager
def _opened(store: Store, name: str) -> Iterator[Any]:
    """A file for Arrow to read; local ones are mapped, so that what is not compressed is copied
    once.
    """
    with sound(store, name):
        file = pa.memory_map(store.full(name)) if store.local else store.open(name)
    with file:
        yield file


def _validate(rows: pa.Table | pa.RecordBatch) -> None:
    """Raises: ArrowInvalid for values that cannot be. Texts are spared, of which looking at every
    character takes as long as half of the reading: see :func:`pipelines.corpus.texts.sound_texts`.
    """
    for column in rows.columns:
        column.validate(full=not pa.types.is_large_string(column.type))


def _listed(columns: Sequence[str] | None) -> list[str] | None:
    return None if columns is None else list(columns)
