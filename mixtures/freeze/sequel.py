"""A plan of its own that begins where another stopped: the sources go on, the steps count anew.

    again = sequel(plan, 360, [stable, decay], sources)

    steps     0 ................ 360                   plan
                                 0 ................ 300    again
    a source  ^ its first window ^ the first that no step before 360 has shown

A branch (:func:`mixtures.freeze.freeze.branch`) is the same training with another end: it has its
past, and one decay that lasts to the end. A sequel is another training, which may decay again. It
starts from the weights of the first and shows nothing that those have seen, as WSD-S does
(arXiv 2410.05192). Its first segment passes over what is behind the sources.
"""

from __future__ import annotations

from collections.abc import Sequence

from artifacts.errors import UserError
from mixtures.freeze.freeze import branch
from mixtures.freeze.pinning import Sources
from mixtures.order.interleave import counts_at_end
from mixtures.order.source_order import source_orders
from mixtures.plan.format import Plan, Segment
from mixtures.spec.phase import PhaseSpec


def sequel(
    plan: Plan, step: int, phases: Sequence[PhaseSpec], sources: Sources | None = None
) -> Plan:
    """Plan phases over what a plan has not shown in its first ``step`` steps.

    Seed, windows, batches, pinned shards and rules are the plan's, and its caps count what both
    show. Raises: UserError where windows or batches change in either, and as
    :func:`mixtures.freeze.freeze.branch`.
    """
    steady = plan.changed(
        segments=tuple(segment.model_copy(update={"decay": False}) for segment in plan.segments)
    )
    both = branch(steady, step, phases, sources)
    _check_one_context(both)
    _check_repetitions(both, step)
    segments: list[Segment] = []
    for segment in both.segments:
        if segment.first_step >= step:
            passed = segment.cursors if not segments and any(segment.cursors) else ()
            moved = {"first_step": segment.first_step - step, "passed": passed}
            segments.append(segment.model_copy(update=moved))
    return both.changed(
        contexts=(both.contexts[0].model_copy(update={"first_step": 0}),),
        segments=tuple(segments),
        history=(),
        skipped=(),
        take_downs=tuple(one.model_copy(update={"from_step": 0}) for one in both.take_downs),
    )


def _check_one_context(plan: Plan) -> None:
    if len(plan.contexts) > 1:
        change = plan.contexts[1]
        raise UserError(
            "a plan goes on after another in windows of one length and batches of one size",
            field="mixture.phases",
            found=f"windows of {change.sequence_length} in batches of {change.batch_tokens} tokens "
            f"from step {change.first_step}",
            allowed=[f"windows of {plan.sequence_length} in batches of {plan.batch_tokens} tokens"],
            fix="give all phases of both the same, or branch instead",
        )


def _check_repetitions(plan: Plan, step: int) -> None:
    """Raises: UserError where a source has begun more epochs than a document may be shown times;
    of one that goes on from windows passed over, caps have counted what is shown alone.
    """
    times = plan.rules.max_repetitions
    if times is None:
        return
    begun, ended = counts_at_end(plan, 0, step).tolist(), counts_at_end(plan, 0).tolist()
    for order, before, last in zip(source_orders(plan, 0), begun, ended, strict=True):
        if last > max(before, times * order.windows):
            raise UserError(
                f"{order.pinned.name} has not so much that was not shown before",
                field=("mixture", "max_repetitions"),
                found=f"{last - before:,} windows after {before:,} of {order.windows:,}",
                allowed=[f"{max(0, times * order.windows - before):,} windows"],
                fix="shorten the phases, or raise the cap",
            )
