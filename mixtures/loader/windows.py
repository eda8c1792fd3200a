"""From the windows of a step to pieces of the sources' streams.

    windows = Windows(plan, streams)
    source, pieces = windows.of_step(step)

A window of a stream is one piece; one of whole documents has a piece for each document or part of a
document; one made of what an earlier context left has the pieces of the windows it is made of. A
piece is (row, place in the row, source, first token in the source's stream, tokens): its tokens are
the targets of the row from that place on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.jit import kernel
from mixtures.loader.fill import FIRST, LENGTH, PLACE, ROW, SOURCE
from mixtures.order.interleave import numbers_of
from mixtures.order.source_order import LEFT, SourceOrder, shown_windows, source_orders
from mixtures.parts.stream import SourceStream
from mixtures.plan.format import Plan
from mixtures.sequences.packing import Packing, pack

Ints = NDArray[np.int64]
PIECE = 5
_OPEN_PACKINGS = 64  # at least; what is open together must fit
_LEFT_WINDOWS = 4096
Part = tuple[int, int, int]  # place in the window, first token in the stream, tokens


class Windows:
    """Resolves windows of a plan; ``streams`` by the plan's order of sources."""

    def __init__(self, plan: Plan, streams: Sequence[SourceStream]) -> None:
        self.plan = plan
        self.streams = tuple(streams)
        self._orders: dict[int, tuple[SourceOrder, ...]] = {}
        self._rows: dict[int, tuple[Ints, NDArray[np.uint64], NDArray[np.bool_]]] = {}
        self._packings: OrderedDict[tuple[int, int, int, int], tuple[Packing, int]] = OrderedDict()
        self._open_packings = max(
            _OPEN_PACKINGS,
            sum(2 * source.open_blocks for source in plan.sources if source.packing == "documents"),
        )
        self._left_windows: OrderedDict[tuple[int, int, int], list[Part]] = OrderedDict()

    def orders(self, number: int) -> tuple[SourceOrder, ...]:
        """The orders of the sources in a context."""
        if number not in self._orders:
            self._orders[number] = source_orders(self.plan, number)
        return self._orders[number]

    def of_step(self, step: int, first: int = 0, last: int | None = None) -> tuple[Ints, Ints]:
        """(source of each row (B,), pieces (n, 5) by row and place) of windows first to last - 1 of
        a step.
        """
        source, number = numbers_of(self.plan, step, first, last)
        return source, self.of_numbers(self.plan.context_at(step)[0], source, number)

    def of_numbers(self, context: int, source: Ints, number: Ints) -> Ints:
        """Pieces of each source's window ``number`` in a context, (n, 5)."""
        length = self.plan.contexts[context].sequence_length
        rows, keys, packed = self._columns(context)
        epoch, window = np.empty(len(source), np.int64), np.empty(len(source), np.int64)
        shown_windows(rows, keys, source, number, epoch, window)
        pieces = np.empty((len(source), PIECE), np.int64)
        if not whole_windows(source, epoch, window, length, packed, pieces):
            return pieces
        return self._with_odd(
            pieces, np.flatnonzero(packed[source] | (epoch == LEFT)), context, source, number
        )

    def parts(self, context: int, source: int, number: int) -> list[Part]:
        """What one window of a source is made of."""
        order = self.orders(context)[source]
        epoch, place = order.place_of(number)
        if epoch == LEFT:
            return self._left(context, source, place)
        if order.packed:
            return self._packed(order, source, order.epoch_table(epoch).window_at(place))
        window = int(order.shown(np.array([number]))[1][0])
        return [(0, window * order.window, order.window)]

    def packing(self, order: SourceOrder, source: int, block: int) -> tuple[Packing, int]:
        """The windows of a block of whole documents, and where its first document begins in the
        stream.
        """
        size = order.context.block_tokens
        key = (source, order.window, size, block)
        found = self._packings.get(key)
        if found is None:
            borders = self.streams[source].borders(block * size, (block + 1) * size)
            found = pack(borders, order.window), int(borders[0])
            planned = order.context.packed[block + 1] - order.context.packed[block]
            if found[0].windows != planned:
                raise UserError(
                    f"the documents of {order.pinned.name} do not fill the windows that the plan "
                    "counts",
                    file=self.streams[source].files.where,
                    field="contexts.sources.packed",
                    found=f"{found[0].windows:,} windows in block {block}",
                    allowed=[planned],
                    fix=(
                        "plans are never edited; restore it, or freeze a new plan over these shards"
                    ),
                )
            while len(self._packings) >= self._open_packings:
                self._packings.popitem(last=False)
            self._packings[key] = found
        self._packings.move_to_end(key)
        return found

    def _with_odd(self, pieces: Ints, odd: Ints, context: int, source: Ints, number: Ints) -> Ints:
        """The pieces with those of some rows put in anew."""
        kept = np.delete(pieces, odd, axis=0)
        found = [kept]
        for row in odd.tolist():
            parts = np.array(
                self.parts(context, int(source[row]), int(number[row])), np.int64
            ).reshape(-1, 3)
            block = np.empty((len(parts), PIECE), np.int64)
            block[:, ROW] = row
            block[:, SOURCE] = source[row]
            block[:, [PLACE, FIRST, LENGTH]] = parts
            found.append(block)
        joined = np.concatenate(found)
        return np.ascontiguousarray(joined[np.argsort(joined[:, ROW], kind="stable")])

    def _packed(self, order: SourceOrder, source: int, window: int) -> list[Part]:
        block = int(np.searchsorted(order.context.packed, window, "right")) - 1
        packing, base = self.packing(order, source, block)
        inside = window - order.context.packed[block]
        first, last = int(packing.first[inside]), int(packing.first[inside + 1])
        tokens = packing.tokens[first:last].tolist()
        places = np.concatenate([[0], np.cumsum(tokens)]).tolist()
        return [
            (place, base + start, n)
            for place, start, n in zip(
                places, packing.start[first:last].tolist(), tokens, strict=False
            )
        ]

    def _left(self, context: int, source: int, row: int) -> list[Part]:
        """A row of windows that earlier contexts left, one behind the other; what was padding
        between them goes to the row's end.
        """
        length = self.plan.contexts[context].sequence_length
        for left in self.plan.contexts[context].sources[source].left:
            unit = self.plan.contexts[left.context].sequence_length
            rows = -(-(left.last - left.first) * unit // length)
            if row < rows:
                break
            row -= rows
        begin, end = row * length, min((row + 1) * length, (left.last - left.first) * unit)
        parts: list[Part] = []
        filled = 0
        for number in range(begin // unit, -(-end // unit)):
            for place, start, tokens in self._left_window(
                left.context, source, left.first + number
            ):
                at = number * unit + place
                low, high = max(at, begin), min(at + tokens, end)
                if low < high:
                    parts.append((filled, start + low - at, high - low))
                    filled += high - low
        return parts

    def _left_window(self, context: int, source: int, number: int) -> list[Part]:
        """What a window that was left is made of. Kept: neighbouring rows share it, and it may
        itself be made of what was left before.
        """
        key = (context, source, number)
        found = self._left_windows.get(key)
        if found is None:
            found = self.parts(context, source, number)
            while len(self._left_windows) >= _LEFT_WINDOWS:
                self._left_windows.popitem(last=False)
            self._left_windows[key] = found
        return found

    def _columns(self, context: int) -> tuple[Ints, NDArray[np.uint64], NDArray[np.bool_]]:
        if context not in self._rows:
            orders = self.orders(context)
            rows = np.array([_stream_row(order) for order in orders])
            packed = np.array([order.packed for order in orders])
            self._rows[context] = rows, np.array([order.key for order in orders], np.uint64), packed
        return self._rows[context]


@kernel
def whole_windows(
    source: Ints, epoch: Ints, window: Ints, length: int, packed: NDArray[np.bool_], pieces: Ints
) -> int:
    """A piece for each window of a stream, (n, 5); returns how many rows are of another kind, whose
    pieces mean nothing.
    """
    odd = 0
    for row in range(len(source)):
        pieces[row, ROW] = row
        pieces[row, PLACE] = 0
        pieces[row, SOURCE] = source[row]
        pieces[row, FIRST] = window[row] * length
        pieces[row, LENGTH] = length
        if packed[source[row]] or epoch[row] == LEFT:
            odd += 1
    return odd


def _stream_row(order: SourceOrder) -> Ints:
    """A source's row for the kernel; one of whole documents is answered elsewhere and has any row
    that divides by nothing.
    """
    return (
        np.array([1, 1, 1, 1, 0, 0, 0, -1, 0], np.int64)
        if order.packed or not order.windows
        else order.row
    )
