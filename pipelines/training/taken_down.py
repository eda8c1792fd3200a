"""Go on with a training after documents were taken down: with weights that have not seen them, or
as the user says.

    plan = settled(store, plan, branches, materials, folder_of, way, note)

The plan before and the one that records them agree up to the first step that shows one of the
documents no more, so every checkpoint up to there is clean and is gone on from. Where a training or
a branch is past that step its weights have seen a document, and somebody says what is to become of
them (:mod:`pipelines.training.way`).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from artifacts.errors import Setting, Text, UserError
from artifacts.paths import Store
from mixtures.freeze.freeze import common_steps
from mixtures.freeze.take_downs import recorded, unrecorded
from mixtures.inspect.trace import Exposure, Tracer
from mixtures.loader.loader import Folders
from mixtures.plan.format import Plan, TakeDown
from pipelines.training.materials import Materials
from pipelines.training.plan_file import adopt, adopt_fitting
from pipelines.training.versions import own_version
from pipelines.training.way import Way
from trainer.checkpoints.checkpoint import PLAN, at_step, saved

BRANCHES = "branches"  # below a training's folder

FolderOf: TypeAlias = Callable[[str], str]
"""Where the training with the plan of a hash lies in the run."""

Spot: TypeAlias = tuple[str, str, int]
"""A document by its source, part and row."""

MOST_NAMED = 5  # documents of an error, and steps of each


@dataclass(frozen=True)
class Past:
    """A training as it stands: the plan it follows and the steps of its checkpoints, ascending.

    ``take_downs`` are those to be recorded, ``folders`` the shards by source.
    """

    name: str
    plan: Plan
    steps: tuple[int, ...]
    take_downs: tuple[TakeDown, ...]
    folders: Folders

    @property
    def newest(self) -> int:
        """Updates of the newest checkpoint, 0 without one."""
        return max(self.steps, default=0)

    @cached_property
    def shown_at(self) -> dict[Spot, tuple[int, ...]]:
        """By place of a document, the steps of the plan that show it; those of none are left
        out.
        """
        return _shown(self.plan, self.folders, self.take_downs)

    def seen(self) -> dict[Spot, tuple[int, ...]]:
        """By place, the steps that have shown a document up to the newest checkpoint."""
        found = {
            place: tuple(step for step in steps if step < self.newest)
            for place, steps in self.shown_at.items()
        }
        return {place: steps for place, steps in found.items() if steps}

    def clean(self, kept: Set[Spot] = frozenset()) -> int:
        """The step of the last checkpoint that has seen no document but ``kept``, 0 without one."""
        first = self.first_shown(kept)
        return max((step for step in self.steps if step <= first), default=0)

    def first_shown(self, kept: Set[Spot] = frozenset()) -> int:
        """The first step of the plan that shows a document but ``kept``; its end where none
        does.
        """
        others = (steps[0] for place, steps in self.shown_at.items() if place not in kept)
        return min(others, default=self.plan.steps)

    def settled(self, kept: Set[Spot], restart: bool = False) -> Plan:
        """The plan with the take-downs: it goes on from the last checkpoint that has seen none but
        ``kept``, or from the start.
        """
        goes_on = 0 if restart else self.clean(kept)
        agrees, records = 0 if restart else self.first_shown(kept), []
        # of those recorded before, weights that are left behind have seen some for longer
        earlier = [one for one in self.plan.take_downs if one.from_step > goes_on]
        shown_at = self.shown_at | _shown(self.plan, self.folders, earlier)
        for one in (*earlier, *self.take_downs):
            shown = shown_at.get(one.place, ())
            may_stay = one.place in kept or one in earlier
            seen = may_stay and any(step < goes_on for step in shown)
            masked_from = goes_on if seen else 0
            agrees = min([agrees, *(step for step in shown if step >= masked_from)])
            facts = {"from_step": masked_from, "kept": one.place in kept or (seen and one.kept)}
            records.append(one.model_copy(update=facts))
        return recorded(self.plan, records, agrees)


def settled(
    store: Store,
    plan: Plan,
    branches: Mapping[str, Plan],
    materials: Materials,
    folder_of: FolderOf,
    way: Way | None,
    note: Callable[[str], None],
) -> Plan:
    """The run's plan, as this training follows it (:mod:`~pipelines.training.versions`), with the
    take-downs of its shards that it does not record.

    ``branches``: their plans by name. ``note`` is told what the training does about them. Raises:
    UserError when weights have seen one of the documents and no ``way`` is said, naming steps and
    checkpoints.
    """
    sources = materials.sources()
    if plan.take_downs or way is None:  # else this is said of a plan that nothing is known of
        plan = own_version(store, plan, sources, folder_of)
    new = unrecorded(plan, sources)
    if not new:
        return plan
    folder = folder_of(plan.hash)
    adopt(store, plan, folder, folder_of)
    steps = tuple(saved(Store(store.full(folder))))
    main = Past("the training", plan, steps, new, materials.folders)
    begun = (
        Past(f"branch {name}", _plan_of(found), tuple(saved(found)), new, materials.folders)
        for name, made in branches.items()
        for found in _begun(store, plan, folder_of, name)
        if common_steps(_plan_of(found), made) == made.steps
    )
    seen_by = [past for past in (main, *begun) if past.seen()]
    if seen_by and way is None:
        raise _undecided(store.full(folder), seen_by)
    kept = {place for past in seen_by for place in past.seen()} if way == "keep" else set()
    restart = way == "restart" and main in seen_by
    note(_told(new, seen_by, way))
    return main.settled(kept, restart)


def settled_branch(
    store: Store,
    run_plan: Plan,
    start: int,
    made: Plan,
    materials: Materials,
    folder_of: FolderOf,
    name: str,
    place: str,
) -> Plan:
    """The plan that a branch, which leaves after ``start`` steps, follows in ``place``: ``made`` of
    its phases, or what take-downs made of that; it begins with the checkpoints that it has under a
    former plan of the run.

    ``run_plan`` says of which documents weights that have seen them are kept.
    """
    here = Store(store.full(place))
    former = [here, *_begun(store, run_plan, folder_of, name)]
    found = next((one for one in former if followed(one, made)[1]), here)
    base, steps = followed(found, made)
    new, plan = unrecorded(base, materials.sources()), base
    if new:
        past = Past(name, base, (start, *steps), new, materials.folders)
        plan = past.settled(kept_of(run_plan))
    adopt_fitting(found, here, plan)
    return plan


def followed(branch: Store, made: Plan) -> tuple[Plan, tuple[int, ...]]:
    """The plan that the checkpoints of a branch follow, and their steps, where take-downs made it
    of the plan ``made`` of its phases; else that plan, and no steps.
    """
    steps = tuple(saved(branch))
    former = _plan_of(branch) if steps else made
    if made.hash in (former.hash, *(ancestor.hash for ancestor in former.history)):
        return former, steps
    return made, ()


def kept_of(plan: Plan) -> set[Spot]:
    """The documents of which weights that have seen them are kept."""
    return {one.place for one in plan.take_downs if one.kept}


def exposed(plan: Plan, folders: Folders) -> list[Exposure]:
    """What a training with the plan has shown of documents that are taken down now: of those whose
    take-down it records as later than its start.
    """
    return _exposures(plan, folders, [one for one in plan.take_downs if one.from_step])


def _exposures(plan: Plan, folders: Folders, take_downs: Iterable[TakeDown]) -> list[Exposure]:
    """Those of the documents that steps of the plan show; a take-down that it does not record shows
    its document at every step.
    """
    pinned = {(source.name, part.file) for source in plan.sources for part in source.parts}
    known = [one.id for one in take_downs if one.place[:2] in pinned]
    if not known:
        return []
    tracer = Tracer(plan, {name: folders[name] for name in plan.names}, plan.steps)
    return [exposure for exposure in tracer.exposures(known) if exposure.steps]


def _shown(
    plan: Plan, folders: Folders, take_downs: Iterable[TakeDown]
) -> dict[Spot, tuple[int, ...]]:
    """By place of a document, the steps that show it; see :func:`_exposures`."""
    exposures = _exposures(plan, folders, take_downs)
    return {(one.source, one.part, one.row): one.steps for one in exposures}


def _begun(store: Store, plan: Plan, folder_of: FolderOf, name: str) -> Iterator[Store]:
    """Where a branch has checkpoints: below the training's folder, or that of a former plan; a
    branch of the name may have had other phases.
    """
    for each in (plan.hash, *(ancestor.hash for ancestor in reversed(plan.history))):
        below = f"{folder_of(each)}/{BRANCHES}/"
        folders = {found.removeprefix(below).split("/", 1)[0] for found in store.names(below)}
        for folder in sorted(fnmatch.filter(folders, f"{name}-????????")):
            begun = Store(store.full(below + folder))
            if saved(begun):
                yield begun


def _plan_of(training: Store) -> Plan:
    """The plan that the newest checkpoint of a training carries."""
    return Plan.model_validate_json(at_step(training, saved(training)[-1]).read(PLAN))


def _undecided(file: str, seen_by: Sequence[Past]) -> UserError:
    """The error that says what has seen which documents, and offers the ways to go on."""
    clean = seen_by[0].clean()
    last = f"step {clean:,}" if clean else "there is none, so from the start"
    fix: Text = (
        Setting("back", True),
        f" goes on from the last checkpoint that has not seen them ({last}), ",
        Setting("restart", True),
        " from the start, ",
        Setting("keep", True),
        " with the weights that have seen them: the plan and the report record it",
    )
    return UserError(
        "the training has seen documents that were taken down since",
        file=file,
        found="; ".join(sighting(past) for past in seen_by),
        fix=fix,
    )


def sighting(past: Past) -> str:
    """What a training has seen: documents with their steps, counted from 1, and checkpoints."""
    seen = past.seen()
    said = [
        f"{one.source} {one.id} at step {_listed(step + 1 for step in seen[one.place])}"
        for one in past.take_downs
        if one.place in seen
    ]
    more = f" and {len(said) - MOST_NAMED:,} more documents" if len(said) > MOST_NAMED else ""
    first = past.first_shown()
    checkpoints = _listed(step for step in past.steps if step > first)
    return (
        f"{past.name} has shown {', '.join(said[:MOST_NAMED])}{more}, "
        f"and its checkpoints of step {checkpoints} have seen that"
    )


def _listed(steps: Iterable[int]) -> str:
    every = list(steps)
    more = len(every) - MOST_NAMED
    return ", ".join(f"{step:,}" for step in every[:MOST_NAMED]) + (
        f" and {more:,} more" if more > 0 else ""
    )


def _told(new: Sequence[TakeDown], seen_by: Sequence[Past], way: Way | None) -> str:
    """What the training does about the take-downs."""
    said = f"taken down since, not shown from here on: {len(new):,} documents"
    if not seen_by:
        return f"{said}; no weights have seen them"
    if way == "keep":
        return f"{said}; the weights go on that have seen some of them, the plan records it"
    places = {
        past.name: f"step {past.clean():,}" if past.clean() and way == "back" else "the start"
        for past in seen_by
    }
    return f"{said}; " + ", ".join(f"{name} goes back to {at}" for name, at in places.items())
