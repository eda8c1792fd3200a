"""Which documents a step shows, when a document is shown, and what a take-down touches.

A document that was taken down keeps its places in the windows. Steps made before have shown it, in
the others its places are masked: no loss, and nothing of it as an input.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from artifacts.errors import UserError
from mixtures.loader.loader import Folders, open_streams
from mixtures.loader.windows import Windows
from mixtures.order.interleave import counts_at_end, step_of
from mixtures.order.source_order import SourceOrder
from mixtures.parts.find_document import Found, find_document
from mixtures.parts.stream import SourceStream
from mixtures.plan.format import Plan


@dataclass(frozen=True)
class ShownSpan:
    """A stretch of one document in a window of a step.

    ``window`` counts in the step, ``place`` in the window; ``part`` is a file name and ``row`` the
    document's row in it. Tokens ``start`` to ``stop`` - 1 of the document are the window's targets
    from that place on; where ``masked``, it was taken down before the step, which does not show
    them; where ``skipped``, the step makes no update, and they pass by.
    """

    step: int
    window: int
    place: int
    source: str
    id: str
    part: str
    row: int
    start: int
    stop: int
    masked: bool = False
    skipped: bool = False


@dataclass(frozen=True)
class Exposure:
    """What a document has to do with a run: where it lies, the steps that show it and how many
    tokens in all, and those in which its places are masked.
    """

    id: str
    source: str
    part: str
    row: int
    steps: tuple[int, ...]
    tokens: int
    masked_steps: tuple[int, ...]
    masked_tokens: int


class Tracer:
    """Answers questions about a plan; opens the shards it needs once.

    ``folders``: each source's folder. ``shown_before``: how many steps were made before the
    take-downs that the plan does not record. Raises: UserError when a folder is missing or holds
    other shards.
    """

    def __init__(self, plan: Plan, folders: Folders, shown_before: int = 0) -> None:
        self.plan = plan
        self.streams = open_streams(plan, folders)
        self.windows = Windows(plan, self.streams)
        self._masked_from = _masked_from(plan, self.streams, shown_before)

    def step(self, step: int, rank: int = 0, world_size: int = 1) -> list[ShownSpan]:
        """Every document of a step's batch, window by window; of one rank's share of it where there
        are several. Of a step that is skipped, what passes by, marked so.

        Raises: UserError when the step is outside the plan.
        """
        if not 0 <= step < self.plan.steps:
            raise UserError(
                "no such step in the plan",
                field="step",
                found=step,
                allowed=[f"0 to {self.plan.steps - 1}"],
            )
        batch = self.plan.context_at(step)[1].batch_windows
        if world_size > batch:
            raise UserError(
                "every rank needs at least a window of each batch",
                field="world_size",
                found=f"{world_size} ranks",
                allowed=[f"1 to {batch}, the windows of this step's batch"],
            )
        first, last = rank * batch // world_size, (rank + 1) * batch // world_size
        _, pieces = self.windows.of_step(step, first, last)
        spans: list[ShownSpan] = []
        for row, place, source, start, tokens in pieces.tolist():
            spans += self._spans(source, step, first + row, place, start, tokens)
        return spans

    def document(self, document: str) -> list[ShownSpan]:
        """Every time a document was or will be shown, by step and window; empty when the plan does
        not reach it. Steps that the plan skips show nothing.

        ``document``: 32 hex digits. Raises: UserError when no source of the plan holds it.
        """
        found = find_document(self.streams, document)
        spans: list[ShownSpan] = []
        for number in range(len(self.plan.contexts)):
            spans += self._in_context(number, found)
        shown = [span for span in spans if not span.skipped]
        return sorted(shown, key=lambda span: (span.step, span.window, span.place))

    def exposures(
        self, documents: Iterable[str], until_step: int | None = None
    ) -> Iterator[Exposure]:
        """What steps before ``until_step`` (default all) have shown and masked of each document."""
        last = self.plan.steps if until_step is None else until_step
        for document in documents:
            found = find_document(self.streams, document)
            spans = [span for span in self.document(document) if span.step < last]
            shown = [span for span in spans if not span.masked]
            masked = [span for span in spans if span.masked]
            stream = self.streams[found.source]
            yield Exposure(
                document,
                stream.pinned.name,
                stream.pinned.parts[found.part].file,
                found.row,
                steps_of(shown),
                tokens_of(shown),
                steps_of(masked),
                tokens_of(masked),
            )

    def _in_context(self, number: int, found: Found) -> Iterator[ShownSpan]:
        count = int(counts_at_end(self.plan, number)[found.source])
        stream = self.streams[found.source]
        for shown in self._numbers(number, found, count):
            place = step_of(self.plan, number, found.source, shown)
            if place is None:  # passed over
                continue
            for at, start, tokens in self.windows.parts(number, found.source, shown):
                if start < found.stop and found.start < start + tokens:
                    spans = self._spans(found.source, *place, at, start, tokens)
                    yield from (
                        span
                        for span in spans
                        if (span.part, span.row)
                        == (stream.pinned.parts[found.part].file, found.row)
                    )

    def _spans(
        self, source: int, step: int, window: int, place: int, start: int, tokens: int
    ) -> Iterator[ShownSpan]:
        """The documents behind ``tokens`` targets of a window from a place on; ``start`` is the
        first's place in the source's stream.
        """
        stream, skipped = self.streams[source], self.plan.skips(step)
        for document in stream.documents(start, start + tokens):
            low, high = max(document.start, start), min(document.stop, start + tokens)
            masked_from = self._masked_from.get((source, document.part, document.row))
            if low < high:
                yield ShownSpan(
                    step=step,
                    window=window,
                    place=place + low - start,
                    source=stream.pinned.name,
                    id=document.id,
                    part=stream.pinned.parts[document.part].file,
                    row=document.row,
                    start=low - document.start,
                    stop=high - document.start,
                    masked=masked_from is not None and step >= masked_from,
                    skipped=skipped,
                )

    def _numbers(self, number: int, found: Found, count: int) -> Iterator[int]:
        """The source's windows of a context, below ``count``, that may show a document."""
        order = self.windows.orders(number)[found.source]
        if count == 0:
            return
        cut = list(self._cut_windows(order, found))
        first = max(order.context.epoch, 0)
        for epoch in range(
            first,
            order.place_of(count - 1)[0] + 1 if count > order.head + order.left_rows else first + 1,
        ):
            for window in cut:
                shown = order.number(epoch, window) if epoch >= 0 else None
                if shown is not None and shown < count:
                    yield shown
        for shown in self._left_rows(number, found, order):
            if shown < count:
                yield shown

    def _cut_windows(self, order: SourceOrder, found: Found) -> Iterator[int]:
        """The windows, numbered through the source, that hold tokens of a document."""
        if not order.windows:
            return
        if not order.packed:
            last = min((found.stop - 1) // order.window + 1, order.windows)
            yield from range(found.start // order.window, last)
            return
        block = found.start // order.context.block_tokens
        packing, base = self.windows.packing(order, found.source, block)
        inside = np.flatnonzero(
            (packing.start + base >= found.start) & (packing.start + base < found.stop)
        )
        for window in np.unique(np.searchsorted(packing.first, inside, "right") - 1).tolist():
            yield order.context.packed[block] + window

    def _left_rows(self, number: int, found: Found, order: SourceOrder) -> Iterator[int]:
        """Rows made of left windows that hold tokens of a document, as numbers of the context."""
        length = self.plan.contexts[number].sequence_length
        row = order.head
        for left in order.context.left:
            unit = self.plan.contexts[left.context].sequence_length
            hit = {
                shown
                for shown in self._numbers(left.context, found, left.last)
                if shown >= left.first
            }
            rows = {
                place // length
                for shown in hit
                for place in _edges((shown - left.first) * unit, unit, length)
            }
            yield from (row + each for each in sorted(rows))
            row += -(-(left.last - left.first) * unit // length)


def _edges(start: int, tokens: int, length: int) -> Iterator[int]:
    """A place in every row of ``length`` places that tokens from ``start`` on touch."""
    yield from range(start, start + tokens, length)
    yield start + tokens - 1


def trace_step(plan: Plan, step: int, folders: Folders) -> list[ShownSpan]:
    """Every document of a step's global batch; see :meth:`Tracer.step`."""
    return Tracer(plan, folders).step(step)


def trace_document(plan: Plan, folders: Folders, document: str) -> list[ShownSpan]:
    """Every time a document is shown; see :meth:`Tracer.document`."""
    return Tracer(plan, folders).document(document)


def _masked_from(
    plan: Plan, streams: Sequence[SourceStream], shown_before: int
) -> Mapping[tuple[int, int, int], int]:
    """By stream, part and row of a document that was taken down, the first step that masks it."""
    recorded = {one.place: one.from_step for one in plan.take_downs}
    places = (
        (index, part, row)
        for index, stream in enumerate(streams)
        for part, rows in stream.removed.items()
        for row in rows.tolist()
    )
    return {
        (index, part, row): recorded.get(
            (plan.names[index], plan.sources[index].parts[part].file, row), shown_before
        )
        for index, part, row in places
    }


def steps_of(spans: Iterable[ShownSpan]) -> tuple[int, ...]:
    """Their steps, in order."""
    return tuple(dict.fromkeys(span.step for span in spans))


def tokens_of(spans: Iterable[ShownSpan]) -> int:
    """Targets in all."""
    return sum(span.stop - span.start for span in spans)
