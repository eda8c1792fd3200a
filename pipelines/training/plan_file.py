"""The plan a run follows: ``plan.json``. That of its recipe, or what edits made of it; former ones
lie in ``plans/HASH.json``.

An edit appends to the plan and names it as an ancestor; so does a take-down
(:mod:`pipelines.training.taken_down`). So a run whose ``plan.json`` descends from the plan that its
recipe freezes goes on with the edited one. A training has a folder of its own under every plan;
under an edited one it begins with the checkpoints and metrics that the former training left, up to
the step from which on they differ.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from artifacts.commands import Command
from artifacts.errors import UserError
from artifacts.fingerprints import load_json
from artifacts.paths import Store
from mixtures.order.sound_plan import load_plan
from mixtures.plan.format import PLAN_FORMAT, Plan
from trainer.checkpoints.checkpoint import at_step, clean, flush, saved
from trainer.checkpoints.paths import FOLDER as CHECKPOINTS
from trainer.checkpoints.paths import STATE, folder_name
from trainer.loop.metrics import FOLDER as METRICS

PLAN = "plan.json"
FORMER = "plans"
_RESTORE = (
    "copy plan.json of the newest checkpoint there; where the plan was never edited, delete it, ",
    "and ",
    Command("run RECIPE"),
    " freezes it again",
)
_ADOPTING = ".writing-adopted-"


def plan_of_run(store: Store) -> Plan:
    """The run's plan. Raises: UserError when it has none, or it is damaged."""
    if not store.exists(PLAN):
        raise UserError(
            "this run has no plan",
            file=store.root,
            fix=(Command("run RECIPE"), " freezes the mixture of its recipe, if that has one"),
        )
    return _load(store)


def edited_plan(store: Store, frozen: Plan) -> Plan:
    """The run's plan where edits made it from ``frozen``, else ``frozen``. Raises: UserError when
    the run's plan is damaged.
    """
    if not store.exists(PLAN) or not _of_this_release(store):
        return frozen
    kept = _load(store)
    same = _pinned_as(kept, frozen).hash
    known = (kept.hash, *(ancestor.hash for ancestor in kept.history))
    return kept if same in known else frozen


def write_plan(store: Store, plan: Plan) -> None:
    """Make this the run's plan. One that is replaced is kept where an edit made it, or made this
    from it.
    """
    if store.exists(PLAN) and _of_this_release(store):
        before = _load(store)
        if before.hash != plan.hash and (before.history or plan.history):
            keep(store, before)
    store.write(PLAN, plan.to_json())


def keep(store: Store, plan: Plan) -> str:
    """Keep a former plan; its name in the run."""
    name = f"{FORMER}/{plan.hash}.json"
    store.write(name, plan.to_json())
    return name


def known_plans(store: Store) -> dict[str, Plan]:
    """The run's plan and the former ones that are kept, by hash; those that are damaged, or of
    another release, are left out.
    """
    kept = [name for name in store.names(FORMER) if name.endswith(".json")]
    plans: dict[str, Plan] = {}
    for name in (*([PLAN] if store.exists(PLAN) else []), *kept):
        with contextlib.suppress(UserError):
            plan = load_plan(store.full(name))
            plans[plan.hash] = plan
    return plans


def adopt(store: Store, plan: Plan, folder: str, folder_of: Callable[[str], str]) -> int | None:
    """Begin an edited plan's training with what the former one left; the step adopted, None where
    there is nothing to adopt.

    ``folder_of``: where a training with the plan of a hash lies. Checkpoints are linked, not
    copied. A call that was killed is completed by the next.
    """
    here = Store(store.full(folder))
    clean(here)
    former, steps = adoptable(store, plan, folder_of)
    if not steps:
        return None
    if not saved(here):
        _copy_metrics(former, here)
    if max(saved(here), default=0) <= steps[-1]:
        for step in steps:
            _link(former, here, step)
    return steps[-1]


def adoptable(store: Store, plan: Plan, folder_of: Callable[[str], str]) -> tuple[Store, list[int]]:
    """The training that an edited plan's one begins with, and the steps of the checkpoints that it
    takes over; none where there is nothing to adopt.
    """
    for ancestor in reversed(plan.history):
        former = Store(store.full(folder_of(ancestor.hash)))
        if steps := [step for step in saved(former) if step <= ancestor.steps]:
            return former, steps
    return store, []


def adopt_fitting(former: Store, here: Store, plan: Plan) -> None:
    """Begin a training with what a former one left: the checkpoints from which it can go on with
    the plan, and the metrics. A call that was killed is completed by the next.
    """
    clean(here)
    fitting = [
        step
        for step in saved(former)
        if plan.agrees_with(at_step(former, step).state.plan_hash, step)
    ]
    if former.root == here.root or not fitting or max(saved(here), default=0) > fitting[-1]:
        return
    if not saved(here):
        _copy_metrics(former, here)
    for step in fitting:
        _link(former, here, step)


def _load(store: Store) -> Plan:
    """``plan.json``. Raises: UserError when it is damaged: what edits made of it cannot be made
    again.
    """
    try:
        return load_plan(store.full(PLAN))
    except UserError as error:
        raise error.changed(fix=_RESTORE) from None


def _pinned_as(kept: Plan, frozen: Plan) -> Plan:
    """``frozen`` with the pins of a plan that an earlier release froze after a take-down: there a
    source's manifest is empty.
    """
    empty = {source.name for source in kept.sources if not source.manifest}
    if not empty & set(frozen.names):
        return frozen
    sources = tuple(
        source.model_copy(update={"manifest": ""}) if source.name in empty else source
        for source in frozen.sources
    )
    return frozen.changed(sources=sources)


def _of_this_release(store: Store) -> bool:
    """Whether ``plan.json`` says it has this release's format; others are frozen anew, and a
    damaged one is not.
    """
    try:
        facts = load_json(store.read(PLAN))
    except ValueError:
        return True
    found = facts.get("format") if isinstance(facts, dict) else None
    return not isinstance(found, str) or found == PLAN_FORMAT


def _copy_metrics(former: Store, here: Store) -> None:
    """Lines behind the step adopted are cut when the training goes on."""
    for name in former.names(METRICS):
        if name.count("/") == 1 and name.endswith(".jsonl"):
            here.write(name, former.read(name))


def _link(former: Store, here: Store, step: int) -> None:
    if not here.local:
        return _copy(former, here, folder_name(step))
    source, target = Path(former.full(folder_name(step))), Path(here.full(folder_name(step)))
    if target.exists():
        return None
    made = Path(here.full(CHECKPOINTS)) / f"{_ADOPTING}{step}"
    shutil.copytree(source, made, copy_function=_link_or_copy)
    os.rename(made, target)
    flush(target.parent)
    return None


def _copy(former: Store, here: Store, folder: str) -> None:
    """Copy a checkpoint inside a store; the file without which it does not exist comes last."""
    for name in sorted(former.names(folder), key=lambda name: name.endswith(f"/{STATE}")):
        if not here.exists(name):
            here.fs.copy(former.full(name), here.full(name))


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copy2(source, target)
    return target
