"""How often a document may be shown where windows of its source were passed over.

An epoch shows every window once, whatever of it is passed over. So no document is shown more often
than there are epochs of which the plan shows a part. Without windows passed over these are the
source's epochs, rounded up, and :mod:`mixtures.freeze.caps` counts tokens; with them it is counted
here.
"""

from __future__ import annotations

from artifacts.errors import UserError
from mixtures.order.interleave import segments_of
from mixtures.order.source_order import LEFT, SourceOrder, source_orders
from mixtures.plan.format import Plan


def epochs_touched(plan: Plan, source: int) -> int:
    """The number of epochs of a source, by its index, of which the plan shows a window."""
    touched: set[int] = set()
    for number, context in enumerate(plan.contexts):
        order = source_orders(plan, number)[source]
        for segment in segments_of(plan, number):
            if source < len(segment.cursors):
                windows = segment.steps * context.batch_windows
                first = segment.cursors[source]
                last = first + int(segment.mix(context.batch_windows).counts(windows)[source])
                if last > first:
                    touched.update(range(_epoch(order, first), _epoch(order, last - 1) + 1))
    return len(touched)


def check_repetitions(plan: Plan) -> None:
    """Raises: UserError where windows of a source are passed over and a document of it may be shown
    more often than ``max_repetitions`` allows.
    """
    times = plan.rules.max_repetitions
    if times is None:
        return
    for source, name in enumerate(plan.names):
        passes = any(sum(segment.passed[source : source + 1]) for segment in plan.segments)
        if passes and (touched := epochs_touched(plan, source)) > times:
            raise UserError(
                f"the plan may show a document of {name} more often than its cap allows",
                field=("mixture", "max_repetitions"),
                found=f"windows of {touched} epochs, of which some pass over others",
                allowed=[f"{times} epochs"],
                fix=f"raise the cap to {touched}, or lower the weight of {name}",
            )


def _epoch(order: SourceOrder, number: int) -> int:
    """The epoch of a source's window in a context; what was left belongs to the one before."""
    epoch = order.place_of(number)[0]
    return order.context.epoch if epoch == LEFT else epoch
