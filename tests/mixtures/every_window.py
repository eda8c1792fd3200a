"""Which source every window of a context comes from, and what each source is due: what the tests
compare closed forms with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixtures.freeze.freeze import Plan
from mixtures.order.interleave import segments_of


def sources_of(plan: Plan, number: int, first: int, last: int) -> NDArray[np.int64]:
    """Source index of windows first to last - 1 of the context of that number, (last - first,)."""
    context = plan.contexts[number]
    batch = context.batch_windows
    pieces = [np.empty(0, np.int64)]
    for segment in segments_of(plan, number):
        start, stop = (
            (step - context.first_step) * batch for step in (segment.first_step, segment.last_step)
        )
        low, high = max(first, start), min(last, stop)
        if low < high:
            pieces.append(segment.mix(batch).sequence(low - start, high - start))
    return np.concatenate(pieces).astype(np.int64)


def due_before(plan: Plan, step: int, window: int = 0) -> NDArray[np.float64]:
    """What :func:`mixtures.order.interleave.counts_before` would be with fractions of windows, from
    the segment's start on.
    """
    segment = plan.segment_at(step)
    batch = plan.context_at(step)[1].batch_windows
    due = segment.mix(batch).due((step - segment.first_step) * batch + window)
    out = np.zeros(len(plan.sources))
    out[: len(due)] = due + np.array(segment.cursors)
    return out
