"""The order inside a source: which window is the number-th ever shown, in constant time and with no
index.

A source's parts, one behind the other, are one stream of tokens. Blocks of a power of two of
windows follow one another in it (the last may be shorter). In every epoch, anew and with a key of
its own,

1. the blocks are permuted,
2. the windows of every ``open_blocks`` neighbours of that order, a *group*, are permuted among
   themselves,

so reading stays within a few blocks at a time, and every epoch shows every window exactly once.
Both permutations are :mod:`mixtures.sequences.permutation`. A source no larger than a few full
blocks has all its blocks open (:func:`mixtures.order.block_sizes.open_blocks`), so that an epoch of
it is one group, shuffled as a whole.

A source of a *stream* is cut into windows of T tokens; less than a window, left at the end, is
never shown. In a source of whole *documents* a block's windows are what
:mod:`mixtures.sequences.packing` makes of the documents that begin in it; there the plan holds how
many windows each block has.

**Another window length** (a new context) begins at a group's edge. Of the group that is open then
the windows not shown yet are *left*; they are shown behind the epoch's other groups, several to a
row where the new windows are longer, and then whole epochs follow. So no window is shown early or
lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel
from mixtures.plan.format import Context, PinnedSource, Plan, SourceContext
from mixtures.sequences.permutation import mixed, permuted, permuted_all, unpermuted

Ints = NDArray[np.int64]
LEFT = -1  # instead of an epoch: the row is made of windows that earlier contexts left

_COLUMNS = 9
_WINDOWS, _BLOCK, _BLOCKS, _OPEN, _MISSING, _HEAD, _LEFT, _EPOCH, _HEAD_PLACE = range(_COLUMNS)


@dataclass(frozen=True)
class SourceOrder:
    """The order of one source in one context.

    ``window``: tokens of a window. ``head`` windows of ``epoch`` come first, from its place
    ``head_place`` on, then ``left_rows`` rows of what earlier contexts left, then whole epochs of
    ``windows``.
    """

    pinned: PinnedSource
    context: SourceContext
    window: int
    left_rows: int

    @property
    def windows(self) -> int:
        return self.context.windows

    @property
    def block_windows(self) -> int:
        """Windows of a block of a stream; the last block may have fewer."""
        return self.context.block_tokens // self.window

    @property
    def packed(self) -> bool:
        return self.pinned.packing == "documents"

    @cached_property
    def blocks(self) -> int:
        """Blocks of the source, whatever the windows; the last block of a stream may be too short
        for any.
        """
        return (
            len(self.context.packed) - 1
            if self.packed
            else -(-self.pinned.tokens // self.context.block_tokens)
        )

    @property
    def missing(self) -> int:
        """Windows that the last block of a stream has fewer than the others."""
        return self.blocks * self.block_windows - self.windows

    @cached_property
    def key(self) -> np.uint64:
        return np.uint64(int(self.pinned.key, 16))

    @cached_property
    def groups(self) -> int:
        return -(-self.blocks // self.pinned.open_blocks)

    @cached_property
    def head_place(self) -> int:
        return (
            0
            if self.context.epoch < 0
            else self.group_place(self.context.epoch, self.context.group)
        )

    @cached_property
    def head(self) -> int:
        """Windows of the epoch that was being shown when the context began."""
        return 0 if self.context.epoch < 0 else self.windows - self.head_place

    @cached_property
    def row(self) -> Ints:
        """What :func:`shown_windows` needs, for a stream."""
        return np.array(
            [
                self.windows,
                self.block_windows,
                self.blocks,
                self.pinned.open_blocks,
                self.missing,
                self.head,
                self.left_rows,
                self.context.epoch,
                self.head_place,
            ],
            np.int64,
        )

    def epoch_table(self, epoch: int) -> EpochTable:
        """The blocks of an epoch of a source of whole documents, in the order shown."""
        tables: dict[int, EpochTable] = self.__dict__.setdefault("_tables", {})
        if epoch not in tables:
            while len(tables) >= 4:
                tables.pop(next(iter(tables)))
            tables[epoch] = EpochTable.of(self, epoch)
        return tables[epoch]

    def group_place(self, epoch: int, group: int) -> int:
        """How many windows of an epoch come before a group."""
        position = min(group * self.pinned.open_blocks, self.blocks)
        if self.packed:
            return int(self.epoch_table(epoch).starts[position])
        if self.windows == 0:
            return 0
        return int(start_of(position, self.block_windows, self.missing, self._short(epoch)))

    def _short(self, epoch: int) -> int:
        return int(short_position(self.blocks, np.uint64(epoch_key(self.key, epoch))))

    def group_at(self, epoch: int, place: int) -> int:
        """The group that holds the place-th window of an epoch; the number of groups for the
        epoch's end.
        """
        if place >= self.windows:
            return self.groups
        if self.packed:
            position = int(np.searchsorted(self.epoch_table(epoch).starts, place, "right")) - 1
        else:
            position = int(
                position_at(place, self.block_windows, self.missing, self._short(epoch))[0]
            )
        return position // self.pinned.open_blocks

    def group_blocks(self, epoch: int, group: int) -> list[int]:
        """The blocks of a group, in the order of their positions."""
        key = np.uint64(epoch_key(self.key, epoch))
        first = group * self.pinned.open_blocks
        return [
            int(permuted(position, self.blocks, key))
            for position in range(first, min(first + self.pinned.open_blocks, self.blocks))
        ]

    def place_of(self, number: int) -> tuple[int, int]:
        """(epoch, place in it) of the source's window ``number`` in this context; (LEFT, row) for a
        row of what was left.
        """
        if number < self.head:
            return self.context.epoch, self.head_place + number
        number -= self.head
        if number < self.left_rows:
            return LEFT, number
        number -= self.left_rows
        return self.context.epoch + 1 + number // self.windows, number % self.windows

    def shown(self, numbers: Ints) -> tuple[Ints, Ints]:
        """(epoch, window) of each of the source's windows ``numbers`` of this context; (LEFT, row)
        where left windows make it up.
        """
        if self.packed:
            return self._shown_packed(numbers)
        epochs, windows = np.empty(len(numbers), np.int64), np.empty(len(numbers), np.int64)
        rows, keys = self.row.reshape(1, -1), np.array([self.key])
        shown_windows(rows, keys, np.zeros(len(numbers), np.int64), numbers, epochs, windows)
        return epochs, windows

    def number(self, epoch: int, window: int) -> int | None:
        """The inverse of :meth:`shown`: when a window is shown in an epoch; None when that was
        before this context began.
        """
        place = (
            self.epoch_table(epoch).place_of(window)
            if self.packed
            else int(place_of_window(self.row, self.key, epoch, window))
        )
        if epoch < self.context.epoch:
            return None
        if epoch == self.context.epoch:
            return place - self.head_place if place >= self.head_place else None
        return self.head + self.left_rows + (epoch - self.context.epoch - 1) * self.windows + place

    def _shown_packed(self, numbers: Ints) -> tuple[Ints, Ints]:
        epochs, windows = np.empty(len(numbers), np.int64), np.empty(len(numbers), np.int64)
        for index, number in enumerate(numbers.tolist()):
            epoch, place = self.place_of(number)
            epochs[index] = epoch
            windows[index] = place if epoch == LEFT else self.epoch_table(epoch).window_at(place)
        return epochs, windows


@dataclass(frozen=True)
class EpochTable:
    """An epoch of a source of whole documents: its blocks in the order shown, (blocks,), and the
    windows before each, (blocks + 1,).
    """

    order: SourceOrder
    key: np.uint64
    sequence: Ints
    starts: Ints

    @classmethod
    def of(cls, order: SourceOrder, epoch: int) -> EpochTable:
        key = np.uint64(epoch_key(order.key, epoch))
        sequence = permuted_all(order.blocks, key)
        before = np.array(order.context.packed, np.int64)
        return cls(
            order, key, sequence, np.concatenate([[0], np.cumsum(np.diff(before)[sequence])])
        )

    @cached_property
    def positions(self) -> Ints:
        """The place of each block in the order shown, (blocks,)."""
        positions = np.empty(len(self.sequence), np.int64)
        positions[self.sequence] = np.arange(len(self.sequence))
        return positions

    def window_at(self, place: int) -> int:
        """The window shown at a place of the epoch, numbered through the blocks in the source's
        order.
        """
        position = int(np.searchsorted(self.starts, place, "right")) - 1
        first, last, key = self._group(position)
        place = first + int(permuted(place - first, last - first, key))
        position = int(np.searchsorted(self.starts, place, "right")) - 1
        return (
            self.order.context.packed[int(self.sequence[position])]
            + place
            - int(self.starts[position])
        )

    def place_of(self, window: int) -> int:
        """The inverse of :meth:`window_at`."""
        block = int(np.searchsorted(self.order.context.packed, window, "right")) - 1
        position = int(self.positions[block])
        first, last, key = self._group(position)
        place = int(self.starts[position]) + window - self.order.context.packed[block]
        return first + int(unpermuted(place - first, last - first, key))

    def _group(self, position: int) -> tuple[int, int, np.uint64]:
        opened = self.order.pinned.open_blocks
        group = position // opened
        last = min((group + 1) * opened, len(self.sequence))
        return (
            int(self.starts[group * opened]),
            int(self.starts[last]),
            np.uint64(group_key(self.key, group)),
        )


def source_orders(plan: Plan, number: int) -> tuple[SourceOrder, ...]:
    """The orders of all sources in a context of the plan, by its number."""
    context = plan.contexts[number]
    return tuple(
        SourceOrder(
            pinned,
            own,
            context.sequence_length,
            left_rows(plan.contexts, own, context.sequence_length),
        )
        for pinned, own in zip(plan.sources, context.sources, strict=True)
    )


def left_rows(contexts: tuple[Context, ...], own: SourceContext, window: int) -> int:
    """Rows of ``window`` tokens that the windows left by earlier contexts make: each stretch is
    rounded up by itself.
    """
    return sum(
        -(-(left.last - left.first) * contexts[left.context].sequence_length // window)
        for left in own.left
    )


@kernel
def epoch_key(key: np.uint64, epoch: int) -> np.uint64:
    """Key of an epoch's permutation of blocks."""
    return mixed(key ^ mixed(np.uint64(epoch)))


@kernel
def group_key(key: np.uint64, group: int) -> np.uint64:
    """Key of a group's permutation of windows; ``key`` is the epoch's."""
    return mixed(key + mixed(np.uint64(group)))


@kernel
def short_position(blocks: int, key: np.uint64) -> int:
    """Where the (maybe) short last block comes to lie in an epoch."""
    return unpermuted(blocks - 1, blocks, key)


@kernel
def start_of(position: int, block: int, missing: int, short: int) -> int:
    """Windows before a position: blocks of ``block`` windows, of which the one at ``short`` lacks
    ``missing``.
    """
    return position * block - (missing if position > short else 0)


@kernel
def position_at(place: int, block: int, missing: int, short: int) -> tuple[int, int]:
    """(position of the block, offset in it) of a place."""
    full = place + missing if place >= (short + 1) * block - missing else place
    return full // block, full % block


@kernel
def shown_windows(
    rows: Ints, keys: NDArray[np.uint64], source: Ints, number: Ints, epochs: Ints, windows: Ints
) -> None:
    """(epoch, window) of each source's window ``number``, elementwise; (LEFT, row) where earlier
    contexts' windows make the row up.

    ``rows`` (sources, columns) and ``keys`` (sources,) are :attr:`SourceOrder.row` and key.
    """
    for index in range(len(number)):
        row = rows[source[index]]
        rest = number[index]
        if rest < row[_HEAD]:
            epoch, place = row[_EPOCH], row[_HEAD_PLACE] + rest
        elif rest < row[_HEAD] + row[_LEFT]:
            epochs[index], windows[index] = LEFT, rest - row[_HEAD]
            continue
        else:
            rest -= row[_HEAD] + row[_LEFT]
            epoch, place = row[_EPOCH] + 1 + rest // row[_WINDOWS], rest % row[_WINDOWS]
        key = epoch_key(keys[source[index]], epoch)
        short = short_position(row[_BLOCKS], key)
        position, _ = position_at(place, row[_BLOCK], row[_MISSING], short)
        group = position // row[_OPEN]
        first = start_of(group * row[_OPEN], row[_BLOCK], row[_MISSING], short)
        last = start_of(
            min((group + 1) * row[_OPEN], row[_BLOCKS]), row[_BLOCK], row[_MISSING], short
        )
        place = first + permuted(place - first, last - first, group_key(key, group))
        position, offset = position_at(place, row[_BLOCK], row[_MISSING], short)
        epochs[index] = epoch
        windows[index] = permuted(position, row[_BLOCKS], key) * row[_BLOCK] + offset


@kernel
def place_of_window(row: Ints, source_key: np.uint64, epoch: int, window: int) -> int:
    """Where in an epoch a window of a stream is shown."""
    key = epoch_key(source_key, epoch)
    short = short_position(row[_BLOCKS], key)
    position = unpermuted(window // row[_BLOCK], row[_BLOCKS], key)
    place = start_of(position, row[_BLOCK], row[_MISSING], short) + window % row[_BLOCK]
    group = position // row[_OPEN]
    first = start_of(group * row[_OPEN], row[_BLOCK], row[_MISSING], short)
    last = start_of(min((group + 1) * row[_OPEN], row[_BLOCKS]), row[_BLOCK], row[_MISSING], short)
    return first + unpermuted(place - first, last - first, group_key(key, group))
