"""Steps of a plan that are to make no update: what a loss that is not finite asks for.

    other = skipped(plan, 120, 2)       # agrees with the plan in its first 120 steps
    other.skips(120), other.skips(122)  # True, False

The windows of a skipped step pass by without a target, so every other step shows what it would have
shown anyway, and no step is repeated.
"""

from __future__ import annotations

from collections.abc import Iterable

from artifacts.errors import UserError
from mixtures.plan.format import Plan, Skip


def skipped(plan: Plan, step: int, steps: int, of: Plan | None = None) -> Plan:
    """The plan with ``steps`` steps from ``step`` on, counted from 0, skipped as well. ``of``: the
    plan whose history it goes on with, where this one is itself an edit that is not finished.

    Raises: UserError when they are not steps of the plan.
    """
    if not 1 <= steps <= plan.steps - step:
        left = plan.steps - step
        raise UserError(
            "not as many steps as can be skipped",
            parameter=("change", "skip"),
            found=steps,
            allowed=[f"1 to {left}"] if left > 0 else None,
            fix=f"the plan has {plan.steps} steps; skip up to its end at most",
        )
    skips = _joined([*plan.skipped, Skip(first_step=step, steps=steps)])
    return plan.changed(skipped=skips, history=(of or plan).history_of(step))


def skips_until(plan: Plan, step: int) -> tuple[Skip, ...]:
    """The steps skipped of a plan that agrees with this one in its first ``step`` steps."""
    return tuple(
        one.model_copy(update={"steps": min(one.last_step, step) - one.first_step})
        for one in plan.skipped
        if one.first_step < step
    )


def skips_kept(plan: Plan, edited: Plan, step: int) -> Plan:
    """An edit from ``step`` on of a plan, with the steps skipped that the plan skips from there on,
    as far as it goes.
    """
    later = [
        Skip(first_step=first, steps=last - first)
        for one in plan.skipped
        for first, last in [(max(one.first_step, step), min(one.last_step, edited.steps))]
        if first < last
    ]
    return edited.changed(skipped=_joined([*edited.skipped, *later])) if later else edited


def _joined(skips: Iterable[Skip]) -> tuple[Skip, ...]:
    """In order, those that touch or overlap as one."""
    joined: list[Skip] = []
    for one in sorted(skips, key=lambda one: one.first_step):
        if joined and one.first_step <= joined[-1].last_step:
            before = joined.pop()
            last = max(one.last_step, before.last_step)
            one = Skip(first_step=before.first_step, steps=last - before.first_step)
        joined.append(one)
    return tuple(joined)
