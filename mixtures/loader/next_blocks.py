"""Have the disk bring what a source shows next while it shows what is there.

Windows of a group of blocks (:mod:`mixtures.order.source_order`) come in no order, so all its pages
are needed nearly at once when it begins. A group's blocks are asked for one by one while the group
before is shown: of n blocks, block k when k + 1/2 of n parts of that group were shown. So the disk
works at the pace at which the source is used, what is asked for is never more than the next group,
and a run that stops early has asked for little that it did not need.

Only pages of files on a local disk are asked for; what a batch holds does not depend on it. A
source that is one group has no next one: its epochs are made of the same blocks.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from artifacts.errors import UserError
from mixtures.order.interleave import context_end, counts_at_end, step_behind
from mixtures.order.source_order import LEFT, SourceOrder, source_orders
from mixtures.parts.local_parts import LocalParts
from mixtures.parts.stream import SourceStream
from mixtures.plan.format import Plan

Group = tuple[int, int]  # epoch, group


class Records(NamedTuple):
    """Record batches of a part: ``place`` is (part, first, last + 1)."""

    files: LocalParts
    place: tuple[int, int, int]


class NextBlocks:
    """Asks for the blocks that come next in the streams of a plan.

    Steps are told in ascending order; of one that is told again, or late, nothing is asked twice.
    """

    def __init__(self, plan: Plan, streams: Sequence[SourceStream]) -> None:
        self.plan = plan
        self.streams = tuple(streams)
        able = hasattr(os, "posix_fadvise") and hasattr(os, "RWF_NOWAIT")
        local = able and any(isinstance(stream.files, LocalParts) for stream in streams)
        # the step behind which there is something to ask for
        self._due = 0 if local else sys.maxsize
        self._thread: threading.Thread | None = None
        self._context = -1
        self._orders: tuple[SourceOrder, ...] = ()
        self._steps: list[int] = []  # as _due, by source
        # by source: the group asked for last, and how many of its blocks
        self._asked: dict[int, tuple[Group, int]] = {}

    def shown(self, step: int) -> None:
        """A step's batch was read. Costs nothing unless something is due; a thread reads what of it
        is not in the page cache.
        """
        if step < self._due:
            return
        # the first time parts are opened and places searched: not while the second batch is waited
        # for
        if self._context < 0:
            self._due = sys.maxsize
            self._start(lambda: _read(self._missing(step), None))
        elif missing := self._missing(step):
            before = self._thread
            self._start(lambda: _read(missing, before))

    def _start(self, work: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=work, name="windtunnel-next-blocks")
        self._thread.start()

    def _missing(self, step: int) -> list[Records]:
        return [records for records in self.due(step) if not records.files.there(*records.place)]

    def due(self, step: int) -> list[Records]:
        """What is to be asked for behind a step. Each time it is asked, only what was not due
        before.
        """
        number, context = self.plan.context_at(step)
        if number != self._context:
            self._context, self._orders, self._asked = number, source_orders(self.plan, number), {}
            self._steps = [context.first_step] * len(self._orders)
        shown, end = (
            counts_at_end(self.plan, number, step + 1).tolist(),
            context_end(self.plan, number),
        )
        found: list[Records] = []
        for source, (order, stream) in enumerate(zip(self._orders, self.streams, strict=True)):
            if self._steps[source] > step:
                continue
            self._steps[source] = end
            if order.windows and order.groups > 1 and isinstance(stream.files, LocalParts):
                blocks, due = self._blocks_due(source, order, shown[source])
                behind = step_behind(self.plan, number, source, due)
                self._steps[source] = end if behind is None else behind
                found += _records(stream, stream.files, order.context.block_tokens, blocks)
        self._due = min(self._steps, default=end)
        return found

    def _blocks_due(self, source: int, order: SourceOrder, shown: int) -> tuple[list[int], int]:
        """The blocks to ask for after ``shown`` windows of a source, and the window behind which
        the next one is due.
        """
        start, stop, here, behind = _around(order, shown)
        open_now = set() if here is None else set(order.group_blocks(*here))
        blocks = [block for block in order.group_blocks(*behind) if block not in open_now]
        windows, parts = stop - start, 2 * len(blocks)  # in halves of blocks
        ready = min(len(blocks), (parts * (shown - start) + windows) // (2 * windows))
        group, asked = self._asked.get(source, (behind, 0))
        asked = asked if group == behind else 0
        self._asked[source] = behind, max(asked, ready)
        due = stop if ready == len(blocks) else start + -(-(2 * ready + 1) * windows // parts)
        return blocks[asked:ready], due - 1


def _records(
    stream: SourceStream, files: LocalParts, size: int, blocks: list[int]
) -> list[Records]:
    """The record batches of blocks of ``size`` tokens."""
    try:
        return [
            Records(files, place)
            for block in blocks
            for place in stream.records(block * size, (block + 1) * size)
        ]
    except UserError:
        return []  # the batch that needs these blocks says what is wrong with them


def _read(records: list[Records], before: threading.Thread | None) -> None:
    """Read record batches, one behind the other, when another thread is done."""
    if before is not None:
        before.join()
    try:
        for each in records:
            each.files.ask(*each.place, leaving=_leaving)
    except OSError:
        return  # as above


def _leaving() -> bool:
    """Whether the process is about to end. It waits for the thread, which would else be cut off,
    perhaps inside a compiled kernel.
    """
    return not threading.main_thread().is_alive()


def _around(order: SourceOrder, number: int) -> tuple[int, int, Group | None, Group]:
    """(first window, last + 1, group or None for what was left, next group) of the stretch that
    holds a source's window ``number``.
    """
    epoch, place = order.place_of(number)
    if epoch == LEFT:
        return order.head, order.head + order.left_rows, None, (order.context.epoch + 1, 0)
    group = order.group_at(epoch, place)
    start, stop = (number - place + order.group_place(epoch, each) for each in (group, group + 1))
    return (
        start,
        stop,
        (epoch, group),
        ((epoch, group + 1) if group + 1 < order.groups else (epoch + 1, 0)),
    )
