"""The record batches that are open, as arrays the kernel can search: where each begins in its
stream, and where it lies in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError
from mixtures.loader.fill import (
    COLUMNS,
    FIRST,
    LENGTH,
    ROWS,
    SOURCE,
    START,
    TOKENS,
    VALUES,
    closed_batches,
)
from mixtures.parts.stream import SourceStream

if TYPE_CHECKING:
    from mixtures.parts.remote_parts import RangeCache

Ints = NDArray[np.int64]


class BatchTable:
    """Open record batches of several streams; addresses stay valid until :meth:`release`.

    ``cache``: where streams of stores keep their ranges; what it lets go is released here.
    ``parts`` (sources + 1,), ``part_starts``, ``part_rows`` and ``rows`` are what
    :func:`mixtures.loader.fill.batch_at` takes.
    """

    def __init__(self, streams: Sequence[SourceStream], cache: RangeCache | None = None) -> None:
        self.streams = tuple(streams)
        self.cache = cache
        if cache is not None:
            sources = {id(stream.files): index for index, stream in enumerate(streams)}
            cache.evicted = lambda parts, part, number: self.release(
                sources[id(parts)], part, number
            )
        self.parts = np.zeros(len(streams) + 1, np.int64)
        np.cumsum([len(stream.pinned.parts) for stream in streams], out=self.parts[1:])
        self.part_starts = np.concatenate([stream.starts[:-1] for stream in streams])
        self.part_rows = np.full((int(self.parts[-1]), 2), -1, np.int64)
        self.rows = np.zeros((64, COLUMNS), np.int64)
        self._tokens = np.array([stream.tokens for stream in streams], np.int64)
        self._used = 0
        self._needed = np.empty((256, 2), np.int64)

    def open(self, pieces: Ints) -> None:
        """Map every record batch that the pieces need. Raises: UserError when one cannot be read,
        or a piece lies outside its source.
        """
        outside = (pieces[:, FIRST] < 0) | (
            pieces[:, FIRST] + pieces[:, LENGTH] > self._tokens[pieces[:, SOURCE]]
        )
        if outside.any():
            source, first, tokens = pieces[int(np.argmax(outside)), SOURCE:].tolist()
            stream = self.streams[source]
            raise UserError(
                f"the plan shows tokens that {stream.pinned.name} does not have",
                file=stream.files.where,
                found=f"tokens {first:,} to {first + tokens:,}",
                allowed=[f"below {stream.tokens:,}"],
                fix="restore the plan, or freeze it again",
            )
        if self.cache is not None:
            self.cache.begin()
            for _, _, source, start, tokens in pieces.tolist():
                self.streams[source].touch(start, start + tokens)
        while found := closed_batches(
            pieces, self.parts, self.part_starts, self.part_rows, self.rows, self._needed
        ):
            for source, place in {
                (int(source), int(place)) for source, place in self._needed[:found]
            }:
                self._open(source, place)

    def release(self, source: int, part: int, number: int) -> None:
        """Forget a record batch whose memory is about to go; it is opened again when needed."""
        first = int(self.part_rows[self.parts[source] + part, 0])
        if first >= 0:
            self.rows[first + number, VALUES] = 0
        self.streams[source].close(part, number)

    def _open(self, source: int, place: int) -> None:
        stream = self.streams[source]
        part = stream.part_at(place)
        first = self._first_row(source, part)
        number = stream.number_at(part, place)
        batch = stream.batch(part, number, place)
        self.rows[first + number, VALUES:] = batch.addresses()

    def _first_row(self, source: int, part: int) -> int:
        """The table's first row of a part, which is given its rows when first asked for."""
        place = int(self.parts[source]) + part
        if self.part_rows[place, 0] < 0:
            starts, rows = self.streams[source].layout(part)
            first, last = self._used, self._used + len(rows) - 1
            if last > len(self.rows):
                grown = np.zeros((max(last, 2 * len(self.rows)), COLUMNS), np.int64)
                grown[: self._used] = self.rows[: self._used]
                self.rows = grown
            self.rows[first:last, START] = starts[:-1]
            self.rows[first:last, TOKENS] = np.diff(starts)
            self.rows[first:last, ROWS] = np.diff(rows)
            self._used = last
            self.part_rows[place] = first, last - first
        return int(self.part_rows[place, 0])
