"""How far each source has come at a step: tokens, epochs, and how many different documents were
shown. Exact, at any step.

What passes by in a step that the plan skips is behind a source, and counts among its tokens and
epochs, but no weights have seen its documents. Windows that a plan passes over
(:mod:`mixtures.freeze.decay_seeds`) are shown by no step and count nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixtures.freeze.caps import epoch_tokens
from mixtures.loader.loader import Folders, open_streams
from mixtures.loader.windows import Windows
from mixtures.order.interleave import (
    context_end,
    counts_at_end,
    counts_before,
    segments_of,
    tokens_shown,
)
from mixtures.order.source_order import SourceOrder
from mixtures.parts.stream import SourceStream
from mixtures.plan.format import Plan

Ints = NDArray[np.int64]
Range = tuple[int, int]


@dataclass(frozen=True)
class SourceProgress:
    """What a source has shown: tokens (padding and skipped steps included), and over the tokens of
    an epoch.
    """

    source: str
    tokens: int
    epochs: float


def realised(plan: Plan, step: int) -> list[SourceProgress]:
    """What each source has shown after ``step`` steps. Raises: UserError outside the plan."""
    plan.segment_at(step)
    shown, available = tokens_shown(plan, step).tolist(), epoch_tokens(plan).tolist()
    return [
        SourceProgress(source.name, tokens, tokens / max(epoch, 1))
        for source, tokens, epoch in zip(plan.sources, shown, available, strict=True)
    ]


def documents_shown(plan: Plan, step: int, folders: Folders) -> dict[str, int]:
    """How many different documents of each source were shown, in part at least, in the first
    ``step`` steps; those of steps that are skipped were not.

    Reads the borders of what was shown; a source that was shown whole once is counted without going
    through its order.
    """
    plan.segment_at(step)
    streams = open_streams(plan, folders)
    windows = Windows(plan, streams)
    found = {}
    for index, stream in enumerate(streams):
        ranges: list[Range] = []
        for number in range(len(plan.contexts)):
            for first, last in _stretches(plan, number, step):
                before, behind = counts_before(plan, first), counts_at_end(plan, number, last)
                ranges += _ranges(windows, number, index, int(before[index]), int(behind[index]))
        found[plan.names[index]] = _documents(stream, _merged(ranges))
    return found


def _stretches(plan: Plan, number: int, step: int) -> Iterator[Range]:
    """The stretches of a context's steps, before ``step``, that make updates, as first and last + 1
    of each; windows are passed over at their borders only.
    """
    first = plan.contexts[number].first_step
    end = min(step, context_end(plan, number))
    gaps = [(one.first_step, one.last_step) for one in plan.skipped]
    gaps += [(one.first_step, one.first_step) for one in segments_of(plan, number) if one.passed]
    for begin, behind in sorted(gaps):
        if first < min(begin, end):
            yield first, min(begin, end)
        first = max(first, behind)
    if first < end:
        yield first, end


def _ranges(windows: Windows, context: int, source: int, first: int, last: int) -> Iterator[Range]:
    """Places of the stream that a source's windows ``first`` to ``last`` - 1 of a context have
    shown; ranges may overlap.
    """
    order = windows.orders(context)[source]
    begun = order.head + order.left_rows
    if first < (end := min(last, order.head)):
        epoch, place = order.context.epoch, order.head_place
        yield from _places(
            windows, context, source, order, epoch, place + first, place + end, first
        )
    for row in range(max(first, order.head), min(last, begun)):
        yield from ((at, at + tokens) for _, at, tokens in windows.parts(context, source, row))
    number = max(first, begun)
    while number < last:
        epoch, place = divmod(number - begun, order.windows)
        stop = min(order.windows, place + last - number)
        if (place, stop) == (0, order.windows):  # an epoch shows all there is
            yield 0, order.pinned.tokens if order.packed else order.windows * order.window
            return
        epoch += order.context.epoch + 1
        yield from _places(windows, context, source, order, epoch, place, stop, number)
        number += stop - place


def _places(
    windows: Windows,
    context: int,
    source: int,
    order: SourceOrder,
    epoch: int,
    first: int,
    last: int,
    number: int,
) -> Iterator[Range]:
    """Places first to last - 1 of an epoch, the first of which is window ``number`` of the context:
    whole groups as their blocks.
    """
    place = first
    while place < last:
        group = order.group_at(epoch, place)
        start, end = order.group_place(epoch, group), order.group_place(epoch, group + 1)
        if place == start and end <= last:
            size = order.context.block_tokens
            for block in order.group_blocks(epoch, group):
                if order.packed:
                    borders = windows.streams[source].borders(block * size, (block + 1) * size)
                    yield int(borders[0]), int(borders[-1])
                else:
                    yield block * size, min((block + 1) * size, order.windows * order.window)
            place = end
        else:
            stop = min(end, last)
            for each in range(place, stop):
                yield from (
                    (begin, begin + tokens)
                    for _, begin, tokens in windows.parts(context, source, number + each - first)
                )
            place = stop


def _merged(ranges: list[Range]) -> list[Range]:
    """The same places as ranges apart from one another, ascending."""
    merged: list[Range] = []
    for start, stop in sorted(ranges):
        if start >= stop:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(stop, merged[-1][1])
        else:
            merged.append((start, stop))
    return merged


def _documents(stream: SourceStream, ranges: list[Range]) -> int:
    """Documents with a token in one of the ranges."""
    rows = np.concatenate([[0], np.cumsum([part.rows for part in stream.pinned.parts])])
    count, behind = 0, 0  # documents before row ``behind`` are counted
    for start, stop in ranges:
        first, last = (_row(stream, rows, place) for place in (start, stop - 1))
        count += last + 1 - max(first, behind) if last >= behind else 0
        behind = max(behind, last + 1)
    return count


def _row(stream: SourceStream, rows: Ints, place: int) -> int:
    """The number of the document, over all parts, that holds a place of the stream."""
    batch = stream.batch_at(place)
    row = int(np.searchsorted(batch.offsets, place - batch.start, "right")) - 1
    return int(rows[batch.part]) + batch.first_row + row
