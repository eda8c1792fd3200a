"""One row group of a Parquet file: what the footer says of it, against its columns and their pages.

Nothing is decoded before they were found to agree: a row group in which they do not is refused as a
whole, since nobody can say which of its rows are missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, NamedTuple

import pyarrow.parquet as pq

from pipelines.readers.parquet.pages import (
    BOMB_RATIO,
    Pages,
    PagesError,
    TooLargeError,
    extent,
    read_pages,
)
from pipelines.readers.span import Limits
from pipelines.readers.streams.watched import WatchedFile

_LARGEST_STEP = 8192  # rows
_LARGEST_GROUP = 1 << 40  # bytes that a footer is believed to state
# what comes from next to nothing may take: of a page in longest records, of a step of rows and of
# the values of a nested column in batches
_PAGE_RECORDS, _STEP_BATCHES, _NESTED_BATCHES = 8, 4, 32
# rows of a file for each stored byte, from which it holds nothing of its own in most of them, and
# batches that such a file may come to
_EMPTY_ROWS, _EMPTY_BATCHES = 8, 64


class HeldChunks(WatchedFile):
    """A watched file that serves stretches which were read before, each once, from memory."""

    def __init__(self, inner: IO[bytes]) -> None:
        super().__init__(inner)
        self._held: dict[int, bytes] = {}
        self._at = inner.tell()

    def hold(self, start: int, length: int) -> bytes:
        """Read a stretch and keep it until it is asked for."""
        super().seek(start)
        stretch = super().read(length)
        self._held[start] = stretch
        return stretch

    def release(self) -> None:
        """Forget what was not asked for."""
        self._held = {}

    def read(self, size: int | None = -1, /) -> bytes:
        held = self._held.get(self._at)
        if held is not None and size is not None and 0 <= size <= len(held):
            del self._held[self._at]
            block = held[:size]
        else:
            super().seek(self._at)
            block = super().read(size)
        self._at += len(block)
        return block

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = super().seek(offset, whence) if whence == 2 else offset + whence * self._at
        return self._at

    def tell(self) -> int:
        return self._at


class Extent(NamedTuple):
    """Rows of a whole file, and the bytes that its columns take in it, by its footer."""

    rows: int
    stored: int

    @classmethod
    def of(cls, groups: Sequence[RowGroup]) -> Extent:
        return cls(sum(group.rows for group in groups), sum(group.stored for group in groups))


class RowGroup:
    """A row group by its number. ``rows`` and ``bytes``: as the footer says, where its columns do
    not tell otherwise.
    """

    def __init__(self, footer: pq.FileMetaData, number: int) -> None:
        group = footer.row_group(number)
        self.number = number
        self.columns = [group.column(place) for place in range(group.num_columns)]
        self.flat = [
            footer.schema.column(place).max_repetition_level == 0
            for place in range(group.num_columns)
        ]
        self.stated_rows = group.num_rows
        counts = {
            column.num_values for column, flat in zip(self.columns, self.flat, strict=True) if flat
        }
        self.rows = max(0, counts.pop() if len(counts) == 1 else self.stated_rows)
        self.stored = sum(max(0, column.total_compressed_size) for column in self.columns)
        believed = 0 <= group.total_byte_size <= _LARGEST_GROUP
        self.bytes = group.total_byte_size if believed else min(self.stored, _LARGEST_GROUP)

    def step(self, file: HeldChunks, length: int, whole: Extent, limits: Limits) -> int:
        """Rows to decode at a time; the columns are then held by the file, of this length.

        Raises: PagesError where rows, columns and pages do not agree, TooLargeError where they
        would fill memory.
        """
        for column, flat in zip(self.columns, self.flat, strict=True):
            if column.num_values != self.stated_rows if flat else self.stated_rows < 0:
                raise PagesError(
                    f"the footer says {self.stated_rows:,} rows, and {column.num_values:,} values "
                    f"of column {column.path_in_schema!r}"
                )
        self._check_extents(length)
        row_bytes = total = expanded = 0
        for column, flat in zip(self.columns, self.flat, strict=True):
            pages = self._pages(file, column, limits)
            if pages.rows is not None and pages.rows != self.stated_rows:
                raise PagesError(
                    f"the footer says {self.stated_rows:,} rows, the pages of column "
                    f"{column.path_in_schema!r} hold {pages.rows:,}"
                )
            most = max(_NESTED_BATCHES * limits.batch_bytes, BOMB_RATIO * pages.bytes)
            if not flat and pages.expanded > most:
                raise TooLargeError(
                    f"column {column.path_in_schema!r} repeats its values to {pages.expanded:,} "
                    "bytes"
                )
            total += pages.bytes
            expanded += pages.likely
            row_bytes += pages.value_bytes if flat else pages.expanded // max(1, self.rows)
        of_file = expanded * whole.rows // max(1, self.rows)
        empty = whole.rows > _EMPTY_ROWS * whole.stored
        if empty and of_file > _EMPTY_BATCHES * limits.batch_bytes:
            raise TooLargeError(
                f"the {whole.stored:,} stored bytes of the file become {of_file:,} in "
                f"{whole.rows:,} rows"
            )
        average = max(1, min(max(self.bytes, 1), 2 * total))
        in_batch = limits.batch_bytes * self.rows // average
        in_memory = _STEP_BATCHES * limits.batch_bytes // max(1, row_bytes)
        return int(max(1, min(_LARGEST_STEP, in_batch, in_memory)))

    def _check_extents(self, length: int) -> None:
        stored = 0
        for column in self.columns:
            start, size = extent(column)
            stored += size
            if start < 0 or size < 0 or start + size > length:
                raise PagesError(f"column {column.path_in_schema!r} lies outside of the file")
        if stored > length:
            raise PagesError("the columns take more bytes than the file has")

    def _pages(self, file: HeldChunks, column: pq.ColumnChunkMetaData, limits: Limits) -> Pages:
        try:
            return read_pages(
                file.hold(*extent(column)), column, _PAGE_RECORDS * limits.record_bytes
            )
        except PagesError as error:
            raise type(error)(f"column {column.path_in_schema!r}: {error}") from None


def row_groups(footer: pq.FileMetaData) -> list[RowGroup]:
    """All row groups of a file, in order."""
    return [RowGroup(footer, number) for number in range(footer.num_row_groups)]
