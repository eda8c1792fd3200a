"""A source's parts, one behind the other, as one stream of tokens with its documents' borders.

Nothing is held in memory but maps of the record batches asked for. Which document a token belongs
to is found by bisection in the mapped offsets. Where parts lie is :mod:`mixtures.parts.part_files`'
business; here they are record batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.commands import Command
from artifacts.errors import UserError
from mixtures.parts.part_files import PartFiles
from mixtures.plan.format import PinnedSource
from tokenizer.shards.manifest import SourceManifest
from tokenizer.shards.reader import token_batch

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class StreamBatch:
    """A record batch, mapped: ``start`` is the place of its first token in the stream,
    ``first_row`` its first row in the part.

    ``values`` (t,) ids; ``offsets`` (rows + 1,) int64 borders of the documents in them. Spans are
    of target tokens, relative to the document: ``span_offsets`` (rows + 1,) int64 into
    ``span_starts`` and ``span_ends``, uint32, or None where all tokens are targets. ``removed``
    (rows,) uint8, or None where no document was taken down.
    """

    part: int
    start: int
    first_row: int
    record: pa.RecordBatch
    values: NDArray[np.uint16 | np.uint32]
    offsets: Ints
    span_offsets: Ints | None
    span_starts: NDArray[np.uint32] | None
    span_ends: NDArray[np.uint32] | None
    removed: NDArray[np.uint8] | None

    @property
    def rows(self) -> int:
        return len(self.offsets) - 1

    def addresses(self) -> tuple[int, ...]:
        """Where the kernel finds values, item bytes, offsets, span offsets, starts, ends and
        removed rows; 0 where there are none.
        """
        spans = (
            _address(array)
            for array in (self.span_offsets, self.span_starts, self.span_ends, self.removed)
        )
        return (_address(self.values), self.values.itemsize, _address(self.offsets), *spans)


@dataclass(frozen=True)
class StreamDocument:
    """A document of the stream: tokens ``start`` to ``stop`` - 1, in row ``row`` of part
    ``part``.
    """

    id: str
    part: int
    row: int
    start: int
    stop: int


class SourceStream:
    """The pinned parts of a source, mapped as they are needed. ``block_tokens``: what is best read
    together, 0 for nothing.

    Raises: UserError when the files are not those that the plan pins.
    """

    def __init__(self, pinned: PinnedSource, files: PartFiles, block_tokens: int = 0) -> None:
        self.pinned = pinned
        self.block_tokens = block_tokens
        self.files = files
        if not files.as_pinned:
            _check_pins(pinned, files)
        self.starts = np.zeros(len(pinned.parts) + 1, np.int64)
        np.cumsum([part.tokens for part in pinned.parts], out=self.starts[1:])
        self.tokens = int(self.starts[-1])
        # rows that were taken down, ascending, by part
        self.removed = {} if files.as_pinned else _removed_rows(pinned, files.manifest)
        self._layouts: dict[int, tuple[Ints, Ints]] = {}
        self._open: dict[tuple[int, int], StreamBatch] = {}

    def part_at(self, place: int) -> int:
        """The part that holds a place of the stream."""
        return int(np.searchsorted(self.starts, place, "right")) - 1

    def layout(self, part: int) -> tuple[Ints, Ints]:
        """(place of each record batch of a part in the stream, with the end; first row of each in
        the part, with the end).

        Raises: UserError when the part's index cannot be read or is not the manifest's.
        """
        if part not in self._layouts:
            index = self.files.index(part)
            self._layouts[part] = index.token_starts + self.starts[part], index.row_starts
        return self._layouts[part]

    def batch(self, part: int, number: int, place: int | None = None) -> StreamBatch:
        """A record batch of a part, mapped; what lies in one block with ``place`` is wanted soon.

        Raises: UserError when the file is missing, damaged, or not what the manifest says.
        """
        found = self._open.get((part, number))
        if found is None:
            starts, rows = self.layout(part)
            record = self.files.record(part, number, self._together(part, place))
            removed = self.removed.get(part)
            found = _stream_batch(part, int(starts[number]), int(rows[number]), record, removed)
            if (
                found.rows != rows[number + 1] - rows[number]
                or len(found.values) != starts[number + 1] - starts[number]
            ):
                raise UserError(
                    "a record batch is not what the part's index says",
                    file=self.files.path(part),
                    fix=(Command("shards verify RUN"), " names the damage"),
                )
            self._open[part, number] = found
        return found

    def close(self, part: int, number: int) -> None:
        """Let go of a record batch."""
        if self._open.pop((part, number), None) is not None:
            self.files.release(part, number)

    def batch_at(self, place: int) -> StreamBatch:
        """The record batch that holds a place of the stream."""
        part = self.part_at(place)
        return self.batch(part, self.number_at(part, place), place)

    def number_at(self, part: int, place: int) -> int:
        """Which record batch of a part holds a place of the stream."""
        return int(np.searchsorted(self.layout(part)[0], place, "right")) - 1

    def touch(self, start: int, stop: int) -> None:
        """The places start to stop - 1 are in use."""
        while start < stop:
            part = self.part_at(start)
            number = self.number_at(part, start)
            self.files.touch(part, number)
            start = int(self.layout(part)[0][number + 1])

    def records(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """(part, first, last + 1) of the record batches that hold the places start to stop - 1,
        part by part.
        """
        stop = min(stop, self.tokens)
        while start < stop:
            part = self.part_at(start)
            end = min(stop, int(self.starts[part + 1]))
            yield part, self.number_at(part, start), self.number_at(part, end - 1) + 1
            start = end

    def _together(self, part: int, place: int | None) -> tuple[int, int] | None:
        """The record batches of a part that have tokens of the block around a place."""
        if place is None or not self.block_tokens:
            return None
        start = place // self.block_tokens * self.block_tokens
        first = max(start, int(self.starts[part]))
        last = min(start + self.block_tokens, int(self.starts[part + 1])) - 1
        return self.number_at(part, first), self.number_at(part, last) + 1

    def batches(self, start: int, stop: int) -> Iterator[StreamBatch]:
        """The record batches that hold the places start to stop - 1."""
        while start < stop:
            batch = self.batch_at(start)
            yield batch
            start = batch.start + len(batch.values)

    def documents(self, start: int, stop: int) -> Iterator[StreamDocument]:
        """The documents that have tokens among the places start to stop - 1."""
        for batch in self.batches(start, stop):
            ids = batch.record.column("id")
            low, high = (
                max(start, batch.start) - batch.start,
                min(stop, batch.start + len(batch.values)) - batch.start,
            )
            first = int(np.searchsorted(batch.offsets, low, "right")) - 1
            for row in range(first, int(np.searchsorted(batch.offsets, high, "left"))):
                begin, end = int(batch.offsets[row]), int(batch.offsets[row + 1])
                yield StreamDocument(
                    ids[row].as_py().hex(),
                    batch.part,
                    batch.first_row + row,
                    batch.start + begin,
                    batch.start + end,
                )

    def borders(self, start: int, stop: int) -> Ints:
        """Where documents begin among the places start to stop - 1, and behind them the end of the
        last that does.
        """
        found = [np.empty(0, np.int64)]
        end = start
        for batch in self.batches(start, min(stop, self.tokens)):
            first, last = np.searchsorted(
                batch.offsets[:-1], [start - batch.start, stop - batch.start], "left"
            )
            if first < last:
                found.append(batch.offsets[first:last] + batch.start)
                end = batch.start + int(batch.offsets[last])
        return np.append(np.concatenate(found), end)


def _stream_batch(
    part: int, start: int, first_row: int, record: pa.RecordBatch, removed: Ints | None
) -> StreamBatch:
    held = token_batch(record.column("tokens"))
    spans = _spans(record.column("trainable"), np.diff(held.offsets))
    rows = (
        None
        if removed is None
        else removed[(removed >= first_row) & (removed < first_row + record.num_rows)] - first_row
    )
    mask = None
    if rows is not None and len(rows):
        mask = np.zeros(record.num_rows, np.uint8)
        mask[rows] = 1
    return StreamBatch(
        part,
        start,
        first_row,
        record,
        held.values,
        np.ascontiguousarray(held.offsets),
        *spans,
        mask,
    )


def _spans(column: pa.ListArray, lengths: Ints) -> tuple[Any, Any, Any]:
    """Target spans with a document without spans as one span over all of it; Nones where that holds
    for all documents.
    """
    if column.null_count == len(column):
        return None, None, None
    null = column.is_null().to_numpy(zero_copy_only=False)
    offsets = column.offsets.to_numpy().astype(np.int64)
    counts = np.where(null, 1, np.diff(offsets))
    out = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=out[1:])
    starts, ends = np.zeros(out[-1], np.uint32), np.zeros(out[-1], np.uint32)
    ends[out[:-1][null]] = lengths[null]
    kept = np.repeat(~null, counts)
    first, last = int(offsets[0]), int(offsets[-1])
    own = np.repeat(~null, np.diff(offsets))
    for name, target in (("start", starts), ("end", ends)):
        target[kept] = column.values.field(name).to_numpy(zero_copy_only=False)[first:last][own]
    return out, starts, ends


def _address(array: NDArray[Any] | None) -> int:
    return 0 if array is None else int(array.ctypes.data)


def _removed_rows(pinned: PinnedSource, manifest: SourceManifest) -> dict[int, Ints]:
    """Rows with a tombstone, ascending, by the number of their part; those of rows that are not
    there are left out.
    """
    numbers = {part.file: number for number, part in enumerate(pinned.parts)}
    rows: dict[int, set[int]] = {}
    for stone in manifest.tombstones:
        if stone.part in numbers and stone.row < pinned.parts[numbers[stone.part]].rows:
            rows.setdefault(numbers[stone.part], set()).add(stone.row)
    return {number: np.array(sorted(found), np.int64) for number, found in rows.items()}


def _check_pins(pinned: PinnedSource, files: PartFiles) -> None:
    """The folder holds the plan's parts, and maybe later ones."""
    parts = files.manifest.parts
    if len(parts) < len(pinned.parts):
        fewer = f"{pinned.name} has fewer parts than the plan pins"
        raise UserError(fewer, file=files.where, found=len(parts), allowed=[len(pinned.parts)])
    for number, (wanted, found) in enumerate(zip(pinned.parts, parts, strict=False)):
        if (wanted.file, wanted.rows, wanted.tokens, wanted.checksum) != (
            found.file,
            found.rows,
            found.tokens,
            found.checksum,
        ):
            raise UserError(
                f"{pinned.name} is not what the plan was frozen with",
                file=files.path(number),
                field="checksum",
                found=f"{found.file}, {found.tokens} tokens, {found.checksum}",
                allowed=[f"{wanted.file}, {wanted.tokens} tokens, {wanted.checksum}"],
                fix="point the run at the shards it was planned over, or freeze a new plan",
            )
