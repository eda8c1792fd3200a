"""Between sources: which source each window of a context comes from, and how far each has come.

Windows of a context are numbered from 0 at its first step. Inside a segment
:mod:`mixtures.sequences.chairman` keeps every source within one window of its planned share after
every window, counted from the segment's start; at a segment's start the plan holds exact counts. So
any window is reached without walking there, and over the run a source is off by less than a window
for every segment.

Counts are places in a source's order: windows that are *behind* it, shown or passed over.
:func:`passed_over` says how many of them no step shows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.jit import kernel
from mixtures.plan.format import Plan, Segment


def counts_before(plan: Plan, step: int, window: int = 0) -> NDArray[np.int64]:
    """Windows of each source behind it before a window of a step, since the step's context began,
    (sources,), exact; those that the step's segment passes over are among them.

    For the step behind a context's last these are counts of the next context, all 0; see
    :func:`counts_at_end`.
    Raises: UserError outside the plan.
    """
    segment = plan.segment_at(step)
    batch = plan.context_at(step)[1].batch_windows
    return _counts(plan, segment, (step - segment.first_step) * batch + window)


def counts_at_end(plan: Plan, number: int, step: int | None = None) -> NDArray[np.int64]:
    """Windows of each source behind it in a context when it ends, or after the steps before
    ``step`` where that comes first, (sources,); what a segment that begins at ``step`` passes over
    is not among them.
    """
    end = context_end(plan, number)
    step = end if step is None else min(step, end)
    context = plan.contexts[number]
    if step <= context.first_step:
        return np.zeros(len(plan.sources), np.int64)
    segment = plan.segment_at(step - 1)
    return _counts(plan, segment, (step - segment.first_step) * context.batch_windows)


def numbers_of(
    plan: Plan, step: int, first: int = 0, last: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For windows first to last - 1 of a step: the source, and which window of that source in this
    context it is, from 0.
    """
    segment, context = plan.segment_at(step), plan.context_at(step)[1]
    last = context.batch_windows if last is None else last
    begin = (step - segment.first_step) * context.batch_windows
    sequence = segment.mix(context.batch_windows).sequence(begin + first, begin + last)
    sources, numbers = np.empty(len(sequence), np.int64), np.empty(len(sequence), np.int64)
    number_windows(sequence, _counts(plan, segment, begin + first), sources, numbers)
    return sources, numbers


@kernel
def number_windows(
    sequence: NDArray[np.int16],
    counts: NDArray[np.int64],
    sources: NDArray[np.int64],
    numbers: NDArray[np.int64],
) -> None:
    """Number each source's windows in a sequence (n,), on from ``counts`` (sources,), which moves
    with them.
    """
    for window in range(len(sequence)):
        source = sequence[window]
        sources[window] = source
        numbers[window] = counts[source]
        counts[source] += 1


def step_of(plan: Plan, number: int, source: int, shown: int) -> tuple[int, int] | None:
    """(step, window of the step) that shows a source's window ``shown`` of a context; None when the
    context ends before, or passes over it.
    """
    if not 0 <= shown < counts_at_end(plan, number)[source]:
        return None
    context = plan.contexts[number]
    reached = [
        part
        for part in segments_of(plan, number)
        if source < len(part.cursors) and part.cursors[source] <= shown
    ]
    if not reached:
        return None
    segment = reached[-1]
    mix, inside = segment.mix(context.batch_windows), shown - segment.cursors[source]
    if inside >= mix.counts(segment.steps * context.batch_windows)[source]:
        return None
    place = mix.place_of(source, inside)
    return segment.first_step + place // context.batch_windows, place % context.batch_windows


def step_behind(plan: Plan, number: int, source: int, window: int) -> int | None:
    """The first step after which a source's window ``window`` of a context is behind it, shown or
    passed over; None when the context ends before.
    """
    place = step_of(plan, number, source, window)
    if place is not None:
        return place[0]
    later = (
        part.first_step
        for part in segments_of(plan, number)
        if source < len(part.cursors) and part.cursors[source] > window
    )
    return next(later, None)


def segments_of(plan: Plan, number: int) -> list[Segment]:
    """The segments of a context."""
    first, end = plan.contexts[number].first_step, context_end(plan, number)
    return [segment for segment in plan.segments if first <= segment.first_step < end]


def context_end(plan: Plan, number: int) -> int:
    """The step behind a context's last."""
    return plan.contexts[number + 1].first_step if number + 1 < len(plan.contexts) else plan.steps


def tokens_shown(plan: Plan, step: int) -> NDArray[np.int64]:
    """Tokens of the windows each source has shown before ``step``, padding included, (sources,)."""
    shown = np.zeros(len(plan.sources), np.int64)
    for number, context in enumerate(plan.contexts):
        windows = counts_at_end(plan, number, step) - passed_over(plan, number, step)
        shown += windows * context.sequence_length
    return shown


def passed_over(plan: Plan, number: int, step: int | None = None) -> NDArray[np.int64]:
    """Windows of each source that a context passes over, by segments that begin before ``step``
    where it is given, (sources,).
    """
    passed = np.zeros(len(plan.sources), np.int64)
    for segment in segments_of(plan, number):
        if segment.passed and (step is None or segment.first_step < step):
            passed += _padded(plan, np.array(segment.passed, np.int64))
    return passed


def check_cursors(plan: Plan) -> None:
    """Compare every segment's cursors with the counts they stand for. Raises: UserError where they
    differ.
    """
    for number in range(len(plan.contexts)):
        batch = plan.contexts[number].batch_windows
        expected = np.zeros(len(plan.sources), np.int64)
        for segment in segments_of(plan, number):
            found = _padded(plan, np.array(segment.cursors, np.int64))
            expected = expected + _padded(plan, np.array(segment.passed, np.int64))
            if (found != expected).any():
                raise UserError(
                    "the plan's counts do not follow from its segments",
                    field=f"segments.{segment.name}.cursors",
                    found=found.tolist(),
                    allowed=[expected.tolist()],
                    fix="plans are never edited; restore it, or append a segment",
                )
            expected = expected + _padded(plan, segment.mix(batch).counts(segment.steps * batch))


def _counts(plan: Plan, segment: Segment, windows: int) -> NDArray[np.int64]:
    batch = plan.context_at(segment.first_step)[1].batch_windows
    return _padded(plan, np.array(segment.cursors, np.int64) + segment.mix(batch).counts(windows))


def _padded(plan: Plan, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Zeros for the sources that were pinned after a segment."""
    if len(counts) == len(plan.sources):
        return counts
    return np.concatenate([counts, np.zeros(len(plan.sources) - len(counts), np.int64)])
