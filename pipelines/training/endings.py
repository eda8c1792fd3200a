"""Other endings of a checkpoint, named on the command line, over shards of which documents may have
been taken down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from artifacts.errors import Setting, UserError
from artifacts.paths import Store
from mixtures.freeze.take_downs import unrecorded
from mixtures.plan.format import Plan
from mixtures.spec.spec import PhaseSpec
from pipelines.training.materials import Materials
from pipelines.training.plan_file import PLAN, plan_of_run
from pipelines.training.taken_down import Past, Spot, followed, kept_of, sighting
from trainer.checkpoints.checkpoint import Checkpoint, saved
from trainer.loop.branch import branch_plan, check_stable


def ending_plans(
    start: Checkpoint,
    mixtures: Mapping[str, Sequence[PhaseSpec]],
    materials: Materials,
    output: str,
    run: Store,
    *,
    keep: bool = False,
) -> dict[str, Plan]:
    """The plans of a checkpoint's branches, by name; they record what was taken down of the shards.

    ``output``: where the branches lie. ``keep``: go on with weights that have seen such a document,
    as the plan of the ``run`` may say already. Raises: UserError when they have and nobody said so.
    """
    check_stable(start)
    kept = kept_of(plan_of_run(run)) if run.exists(PLAN) else set()
    return {
        name: _ending_plan(
            start,
            branch_plan(start, phases, materials.folders, name),
            materials,
            Store(f"{output.rstrip('/')}/{name}"),
            None if keep else kept,
        )
        for name, phases in mixtures.items()
    }


def settled_ending(
    start: Checkpoint,
    made: Plan,
    materials: Materials,
    place: Store,
    run: Store,
    *,
    keep: bool = False,
) -> Plan:
    """The plan ``made`` of a branch that lies at ``place``, with what was taken down of the shards;
    arguments and errors are those of :func:`ending_plans`.
    """
    kept = kept_of(plan_of_run(run)) if run.exists(PLAN) else set()
    return _ending_plan(start, made, materials, place, None if keep else kept)


def _ending_plan(
    start: Checkpoint, made: Plan, materials: Materials, place: Store, kept: set[Spot] | None
) -> Plan:
    """``kept``: the documents that weights may have seen, None for all."""
    base, steps = followed(place, made)
    new = unrecorded(base, materials.sources())
    if not new:
        return base
    past = Past("it", base, (start.state.step, *steps), new, materials.folders)
    seen = set(past.seen())
    if kept is not None and not seen <= kept:
        raise _seen(start, place, past, begun=bool(steps) and past.clean() >= start.state.step)
    return past.settled(seen)


def _seen(start: Checkpoint, place: Store, past: Past, *, begun: bool) -> UserError:
    """``begun``: a branch has seen the documents and its start has not."""
    first = past.first_shown()
    training = Store(start.folder.rstrip("/").rsplit("/", 2)[0])
    clean = [step for step in saved(training) if step <= first]
    other = (
        "name another folder for the branch (",
        Setting("output"),
        ")",
    )
    earlier = f"branch from step {clean[-1]:,}, which has not" if clean else "train anew"
    return UserError(
        f"the {'branch' if begun else 'checkpoint'} has seen documents that were taken down since",
        file=place.root if begun else start.folder,
        found=sighting(past),
        fix=(
            *(other if begun else (earlier,)),
            ", or give ",
            Setting("keep", True),
            ": the plan records it",
        ),
    )
