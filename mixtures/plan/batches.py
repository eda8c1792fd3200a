"""Where the size of a plan's batches is said."""

from __future__ import annotations

from artifacts.errors import Address
from mixtures.plan.format import Plan
from mixtures.spec.batches import BATCH_TOKENS


def place_of_batches(plan: Plan, step: int) -> Address:
    """Where it is said how many windows a step holds: at the last phase before it that changed
    that, else where a recipe says it for the whole run.
    """
    for number in range(plan.context_at(step)[0], 0, -1):
        now, before = plan.contexts[number], plan.contexts[number - 1]
        if now.batch_windows != before.batch_windows:
            same = now.batch_tokens == before.batch_tokens
            name = plan.segment_at(now.first_step).name
            return ("mixture", "phases", name, "sequence_length" if same else "batch_tokens")
    return BATCH_TOKENS
