"""Write take-downs into a plan: which documents no step shows, and from which step on.

    new = unrecorded(plan, sources)          # tombstones of the shards that the plan does not know
    other = recorded(plan, new, 120)         # agrees with the plan in its first 120 steps

Readers mask what has a tombstone at every step. A plan says besides which of its steps were made
before, so that a training that has seen a document is told from one that has not. Which steps show
a document says :mod:`mixtures.inspect.trace`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mixtures.freeze.pinning import Sources
from mixtures.plan.format import Plan, TakeDown
from tokenizer.shards.manifest import SourceManifest


def unrecorded(plan: Plan, sources: Sources) -> tuple[TakeDown, ...]:
    """Documents taken down of the sources that the plan does not record, by source, part and row;
    those of sources it does not pin too, which an edit or a branch may show.
    """
    known = {one.place for one in plan.take_downs}
    found = (one for name in sorted(sources) for one in _taken_down(name, sources[name].manifest))
    return tuple(one for one in found if one.place not in known)


def recorded(plan: Plan, take_downs: Sequence[TakeDown], step: int) -> Plan:
    """A plan that shows the same and records take-downs, also in place of those that it has of the
    same documents. It says that it agrees with this one in its first ``step`` steps: before the
    first that shows one of them no more.
    """
    anew = {one.place: one for one in take_downs}
    known = [anew.pop(one.place, one) for one in plan.take_downs]
    return plan.changed(history=plan.history_of(step), take_downs=(*known, *anew.values()))


def take_downs_until(plan: Plan, step: int) -> tuple[TakeDown, ...]:
    """The take-downs of a plan that agrees with this one in its first ``step`` steps."""
    return tuple(
        one.model_copy(update={"from_step": min(one.from_step, step)}) for one in plan.take_downs
    )


def _taken_down(name: str, manifest: SourceManifest) -> Iterator[TakeDown]:
    """Those of a source's tombstones that name a row of it."""
    rows = {part.file: part.rows for part in manifest.parts}
    for stone in manifest.tombstones:
        if stone.row < rows.get(stone.part, 0):
            yield TakeDown(source=name, part=stone.part, row=stone.row, id=stone.id)
