"""The run's plan as one of its trainings follows it.

    plan = own_version(store, plan, materials.sources(), folder_of)

A run has one plan and may have several trainings, under other settings. A plan records until which
step weights have seen a document that was taken down since, and that is true of one training alone:
another has seen it until another step, or not at all. So two trainings may follow plans that show
the same windows and differ in their take-downs. ``plan.json`` is that of the training which was
made last, and those of the others lie under ``plans/``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from artifacts.paths import Store
from mixtures.freeze.freeze import common_steps
from mixtures.freeze.pinning import Sources
from mixtures.freeze.take_downs import take_downs_until, unrecorded
from mixtures.plan.format import Ancestor, Plan
from pipelines.training.plan_file import known_plans
from trainer.checkpoints.checkpoint import at_step, saved
from trainer.checkpoints.recorded import plan_of


def own_version(
    store: Store, plan: Plan, sources: Sources, folder_of: Callable[[str], str]
) -> Plan:
    """The version of ``plan`` that a training follows, or is to begin with: what it says of
    documents taken down is true of this training.

    ``folder_of``: where the training with the plan of a hash lies. What the version does not record
    is still to be settled.
    """
    if not plan.take_downs and not unrecorded(plan, sources):
        return plan
    related = [one for one in known_plans(store).values() if _lineage(one) & _lineage(plan)]
    versions = (plan, *(one for one in related if _show_the_same(one, plan)))
    begun = [one for one in versions if store.names(folder_of(one.hash))]
    if begun:
        return max(begun, key=lambda one: len(one.take_downs))  # the first of equal ones
    if not plan.take_downs:
        return plan
    former, reached = _former(store, plan, related, folder_of)
    if former is None:
        return _unseen(plan)
    known = set(take_downs_until(former, reached)) == set(plan.take_downs)
    return plan if known and plan.agrees_with(former.hash, reached) else _continued(plan, former)


def _lineage(plan: Plan) -> set[str]:
    """The hashes of a plan and of those that it was made of."""
    return {plan.hash, *(ancestor.hash for ancestor in plan.history)}


def _former(
    store: Store, plan: Plan, related: Sequence[Plan], folder_of: Callable[[str], str]
) -> tuple[Plan | None, int]:
    """The plan under which the training has come as far as ``plan`` agrees, and how far: of several
    the one that records most, then the farthest.
    """
    known = {one.hash: one for one in related}
    found: list[tuple[int, int, Plan]] = []
    for name in dict.fromkeys((*known, *(ancestor.hash for ancestor in plan.history))):
        training = Store(store.full(folder_of(name)))
        if steps := saved(training):
            former = known.get(name) or plan_of(at_step(training, steps[-1]))
            common = common_steps(plan, former)
            reached = max((step for step in steps if step <= common), default=0)
            found.append((len(former.take_downs) if reached else -1, reached, former))
    if not found:
        return None, 0
    _, reached, former = max(found, key=lambda one: one[:2])
    return (former, reached) if reached else (None, 0)


def _show_the_same(one: Plan, other: Plan) -> bool:
    return one.steps == other.steps == common_steps(one, other)


def _continued(plan: Plan, former: Plan) -> Plan:
    """What edits made in the plan of one that a training followed, with its own take-downs."""
    steps = common_steps(plan, former)
    others = [one for one in plan.history if one.hash != former.hash]
    history = (*others, Ancestor(hash=former.hash, steps=steps))
    return plan.changed(take_downs=take_downs_until(former, steps), history=history)


def _unseen(plan: Plan) -> Plan:
    """The plan for a training that has not begun: it is to see nothing that was taken down."""
    if not any(one.from_step for one in plan.take_downs):
        return plan
    never = {"from_step": 0, "kept": False}
    take_downs = tuple(one.model_copy(update=never) for one in plan.take_downs)
    return plan.changed(take_downs=take_downs, history=plan.history_of(0))
