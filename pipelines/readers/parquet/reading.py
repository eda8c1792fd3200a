"""Rows of Parquet files into batches, by row groups.

Offsets are row numbers in the file. The bytes of a batch are its rows' share of the uncompressed
size the footer states for their row group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.readers.batch import Batch, Collector
from pipelines.readers.parquet.columns import BROKEN, check_schema
from pipelines.readers.parquet.groups import Extent, HeldChunks, RowGroup, row_groups
from pipelines.readers.parquet.pages import PagesError, TooLargeError
from pipelines.readers.parquet.usual import Usual, usual_columns
from pipelines.readers.parquet.values import as_json, records_of
from pipelines.readers.rows.records import RECORD_TOO_LONG, RecordRejectedError, row_of
from pipelines.readers.span import Fields, Limits, Span
from pipelines.readers.streams.opened import open_input

CORRUPT_FILE = "corrupt_file"
CORRUPT_ROW_GROUP = "corrupt_row_group"
ROW_GROUP_TOO_LARGE = "row_group_too_large"


def read_parquet(span: Span, source_name: str, fields: Fields, limits: Limits) -> Iterator[Batch]:
    """Batches of the row groups [start, end) of one Parquet file.

    Rows that are no documents are quarantined as in JSON Lines, their raw bytes being the row as
    JSON. A file whose footer cannot be read is quarantined as a whole (corrupt_file), and as one
    record more where its footer counts other rows than its row groups. The unreadable rest of a row
    group is one record at its first row (corrupt_row_group); so is a row group whose footer,
    columns and pages do not agree, or which would fill memory out of next to nothing
    (row_group_too_large).

    Raises: UserError when the file cannot be opened, a needed column is missing or of another type,
    or a column is there twice.
    """
    collector = Collector(span, source_name, fields, limits)
    with open_input(span.url) as handle:
        watched = HeldChunks(handle)
        try:
            file = pq.ParquetFile(watched)
            schema = file.schema_arrow
        except BROKEN as error:
            watched.raise_failure()
            _reject_file(handle, collector, limits, str(error))
            yield collector.take()
            return
        check_schema(schema, fields, span.url)
        end = file.num_row_groups if span.end is None else min(span.end, file.num_row_groups)
        groups = row_groups(file.metadata)
        whole = Extent.of(groups)
        if span.start == 0:
            _check_rows(file.metadata.num_rows, whole.rows, collector)
        offset = sum(group.rows for group in groups[: span.start])
        for group in groups[span.start : end]:
            share = Share(group.bytes, group.rows)
            into = RowGroupRows(offset, share, collector, fields, limits)
            for _ in _read_row_group(file, watched, group, whole, into):
                if collector.full:
                    yield collector.take()
            offset += group.rows
    if not collector.empty:
        yield collector.take()


def _check_rows(stated: int, rows: int, collector: Collector) -> None:
    """Quarantine the rows that a footer counts and its row groups do not have, or the reverse."""
    if rows != stated:
        detail = f"the footer says {stated:,} rows, its row groups hold {rows:,}"
        collector.reject(0, 0, b"", RecordRejectedError(CORRUPT_FILE, detail))


def _reject_file(handle: Any, collector: Collector, limits: Limits, complaint: str) -> None:
    length = handle.seek(0, 2)
    handle.seek(0)
    collector.reject(
        0,
        length,
        handle.read(limits.quarantine_bytes),
        RecordRejectedError(CORRUPT_FILE, complaint),
    )
    collector.advance(length)


class Share(NamedTuple):
    """Bytes that a row group is counted as, over its rows."""

    bytes: int
    rows: int

    def until(self, row: int) -> int:
        """Bytes of the rows before one."""
        return self.bytes * row // self.rows if self.rows else 0

    def rows_for(self, more: int, row: int) -> int:
        """Rows from one on that come to so many bytes more, at least one."""
        target = self.until(row) + more
        return max(1, -(-target * self.rows // max(1, self.bytes)) - row)


@dataclass(frozen=True)
class RowGroupRows:
    """The rows of one row group on their way into batches.

    first: the group's first row in the file.
    """

    first: int
    share: Share
    collector: Collector
    fields: Fields
    limits: Limits

    def collect(self, table: pa.RecordBatch, row: int) -> Iterator[None]:
        """Collect a table that begins at that row of the group, pausing wherever a batch may be
        full.
        """
        usual = usual_columns(table, self.fields, self.limits.record_bytes)
        edges = None if usual is None else _stretches(usual.holds)
        if usual is None or edges is None:
            yield from self._records(table, row)
            return
        for start, end in pairwise(edges):
            if usual.holds[start]:
                yield from self._columns(usual, start, end, row)
            else:
                yield from self._records(table.slice(start, end - start), row + start)

    def _columns(self, usual: Usual, start: int, end: int, row: int) -> Iterator[None]:
        collector = self.collector
        while start < end:
            filled = start + self.share.rows_for(collector.room, row + start)
            before = int(usual.taken[start - 1]) if start else 0
            held = 1 + int(np.searchsorted(usual.taken, before + collector.room_held))
            stop = max(start + 1, min(end, filled, held))
            columns = {
                name: values.slice(start, stop - start) for name, values in usual.columns.items()
            }
            offset = self.first + row
            collector.extend(columns, list(range(offset + start, offset + stop)))
            collector.advance(self.share.until(row + stop) - self.share.until(row + start))
            collector.hold(int(usual.taken[stop - 1]) - before)
            yield
            start = stop

    def _records(self, table: pa.RecordBatch, row: int) -> Iterator[None]:
        for done, record in enumerate(records_of(table), row):
            self._collect(record, self.first + done)
            self.collector.advance(self.share.until(done + 1) - self.share.until(done))
            yield

    def _collect(self, record: dict[str, Any] | RecordRejectedError, offset: int) -> None:
        if isinstance(record, RecordRejectedError):
            self.collector.reject(offset, 0, b"", record)
            return
        untouched = dict(record)
        try:
            row = row_of(record, self.fields)
            if len(row.text) > self.limits.record_bytes:
                raise RecordRejectedError(
                    RECORD_TOO_LONG,
                    f"{len(row.text)} characters, the limit is {self.limits.record_bytes} bytes",
                )
        except RecordRejectedError as rejection:
            raw = orjson.dumps(untouched, default=as_json)
            self.collector.reject(offset, len(raw), raw, rejection)
        else:
            self.collector.add(row, offset)
            self.collector.hold(len(row.text.encode()) + len((row.meta or "").encode()))


def _stretches(usual: NDArray[np.bool_]) -> list[int] | None:
    """Where stretches of usual rows and of others begin, and the end; None where these take turns,
    so that stretches would be of a few rows.
    """
    changes = np.flatnonzero(np.diff(usual)) + 1
    return None if len(changes) > len(usual) // 16 else [0, *changes.tolist(), len(usual)]


def _read_row_group(
    file: pq.ParquetFile,
    watched: HeldChunks,
    group: RowGroup,
    whole: Extent,
    into: RowGroupRows,
) -> Iterator[None]:
    """Collect the rows of a row group, pausing wherever a batch may be full."""
    total, rows = into.share
    done = 0
    reason, complaint = CORRUPT_ROW_GROUP, "the row group ends early"
    tables: Iterator[pa.RecordBatch] = iter(())
    try:
        step = group.step(watched, watched.seek(0, 2), whole, into.limits)
        tables = file.iter_batches(batch_size=step, row_groups=[group.number], use_threads=False)
    except TooLargeError as error:
        reason, complaint = ROW_GROUP_TOO_LARGE, str(error)
    except PagesError as error:
        complaint = str(error)
    while done < rows:
        try:
            table = next(tables, None)
        except BROKEN as error:
            watched.raise_failure()
            complaint = str(error)
            break
        if table is None:
            break
        yield from into.collect(table, done)
        done += table.num_rows
    if done < rows or group.stated_rows < 0:
        detail = (
            f"row group {group.number} cannot be read from its row {done} on, "
            f"{rows - done} rows are missing: {complaint}"
        )
        rest = total - into.share.until(done)
        into.collector.reject(into.first + done, rest, b"", RecordRejectedError(reason, detail))
        into.collector.advance(rest)
        yield
    watched.release()
