"""The second half of a run: freeze the plan, train, and end the run in other ways for comparison.

Everything of one training lies under ``training/KEY/``: checkpoints and metrics, and the same below
``branches/NAME/`` for each other ending. The key (:mod:`pipelines.training.keys`) is the plan and
all that the settings resolve to, so another recipe, or another preset under the same name, trains
anew beside the old one, and an unchanged one finds its checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifacts.commands import Command
from artifacts.errors import Setting, UserError
from artifacts.ledger import Ledger
from artifacts.paths import Store
from mixtures.freeze.freeze import Plan
from mixtures.freeze.plan_table import shown_nothing, table
from mixtures.inspect.accounting import realised
from mixtures.inspect.cut_documents import cut_documents
from mixtures.loader.loader import Folders
from pipelines.executors.memory import peak_bytes, reset_peak
from pipelines.recipe.fields import Recipe
from pipelines.recipe.load import LoadedRecipe
from pipelines.report.beginnings import beginning_lines
from pipelines.report.training_metrics import MAIN
from pipelines.shards.take_downs import complete_take_downs
from pipelines.stages.step_names import BRANCH, TRAIN
from pipelines.training.begun import Beginning, beginning, how_begun
from pipelines.training.board import board_run, show_samples
from pipelines.training.keys import Places, begun_keying, places_of
from pipelines.training.materials import Materials
from pipelines.training.not_finite import advised, advised_branch
from pipelines.training.outcomes import Outcome
from pipelines.training.plan_file import PLAN, adopt, adoptable, edited_plan, write_plan
from pipelines.training.plans import (
    asked_of_held_out,
    check_followed,
    plan_branches,
    plan_mixture,
    stable_steps,
)
from pipelines.training.starting import StartingPoint, starting_point
from pipelines.training.taken_down import BRANCHES, exposed, settled, settled_branch
from pipelines.training.watch import TrainingWatch, ended
from pipelines.training.way import Way
from trainer.checkpoints.paths import state_name

if TYPE_CHECKING:
    from trainer.checkpoints.checkpoint import Checkpoint
    from trainer.evaluation.generate import Answer
    from trainer.loop.run import StepReport
    from trainer.loop.training import TrainOutcome

SAMPLE_TOKENS = 64


def train_recipe(
    loaded: LoadedRecipe,
    store: Store,
    record: dict[str, Any],
    watch: TrainingWatch,
    *,
    resume: bool = True,
    until_step: int | None = None,
    plan: Plan | None = None,
    way: Way | None = None,
) -> list[Ledger]:
    """Train what the recipe says, then its branches; fills ``record["training"]``. Returns a ledger
    per training: time and memory.

    ``resume``: go on from what is there, rather than refuse. ``until_step``: stop after so many
    updates; branches come only after the last one. ``plan``: follow this one rather than the run's,
    which is the recipe's or what edits made of it. ``way``: what becomes of weights that have seen
    a document which was taken down since. Raises: StoppedError after a signal; UserError when
    plan, shards and settings do not fit together, and where ``way`` is needed and not said.
    """
    materials = Materials.of(store, record)
    check_machine(loaded)
    recipe, point = loaded.recipe, starting_point(loaded, materials.tokenizer)
    plan = _followed(loaded, store, materials, plan, point, way, watch)
    branches = plan_branches(loaded, materials, plan)
    places = places_of(store, recipe, point, plan, branches)
    if not resume:
        _refuse_if_begun(loaded, store, plan, places)
    write_plan(store, plan)
    folder = places.folder
    adopt(store, plan, folder, places.keying.folder)
    asked = asked_of_held_out(plan, branches)
    measured = materials.held_out(*asked)
    shards = {name: record["shards"][name]["folder"] for name in measured}
    outcome = Outcome(store, recipe, places, shards)
    known = outcome.known()
    if known and store.exists(f"{folder}/{state_name(plan.steps)}"):
        record.update(known)
        record["training"] |= {**_training(store, folder, plan, materials), **point.facts}
        return _nothing_made(recipe, folder)
    begins = Beginning(store, folder, beginning(store, folder, plan, point, recipe.train))
    said = beginning_lines({**point.facts, **begins.facts, **how_begun(store, folder)})
    _tell([*said, point.config.below_base, *materials.too_short(*asked)], plan, watch)
    _tell_cuts([plan, *branches.values()], materials, watch)
    reset_peak()
    made = _train(
        recipe, point, plan, materials, measured, store, folder, watch, begins, until_step
    )
    ledgers = [_ledger(TRAIN, made, folder)]
    record["plan"] = PLAN
    record["training"] = {**_training(store, folder, plan, materials), **point.facts}
    record["branches"], record["samples"] = {}, []
    if not made.finished:
        return ledgers
    if recipe.branches:
        ledgers += _branches(recipe, plan, materials, measured, store, places, record, watch)
    if recipe.prompts:
        _sample(recipe, store, folder, plan, record)
    outcome.keep(record)
    return ledgers


def _nothing_made(recipe: Recipe, folder: str) -> list[Ledger]:
    """The ledgers of a training and its branches that were trained, measured and sampled before."""
    steps = [TRAIN, *(f"{BRANCH}{entry.name}" for entry in recipe.branches)]
    return [Ledger(step, units=1, fingerprint=Path(folder).name) for step in steps]


def _sample(recipe: Recipe, store: Store, folder: str, plan: Plan, record: dict[str, Any]) -> None:
    """Record what the model says before and after the decay, and show it on the board."""
    stable = stable_steps(plan)
    record["samples"] = _samples(recipe, Store(store.full(folder)), plan, stable)
    show_samples(store, recipe, folder, record["samples"], (stable, plan.steps))


def _tell_cuts(plans: Sequence[Plan], materials: Materials, watch: TrainingWatch) -> None:
    """Note which documents the windows of the plans cut."""
    for cut in cut_documents(plans, materials.folders):
        watch.progress.note(cut.sentence)


def _followed(
    loaded: LoadedRecipe,
    store: Store,
    materials: Materials,
    plan: Plan | None,
    point: StartingPoint,
    way: Way | None,
    watch: TrainingWatch,
) -> Plan:
    """The plan that is given, or the run's, with what was taken down since. Raises: UserError as
    :func:`~pipelines.training.taken_down.settled`.
    """
    if again := complete_take_downs(store, materials.record):
        watch.progress.note(f"{again:,} documents that were taken down had no tombstones yet")
    if plan is None:
        plan = edited_plan(store, plan_mixture(loaded, materials))
    else:
        check_followed(loaded, plan, materials)
    keying = begun_keying(store, plan, loaded.recipe, point)
    branches = plan_branches(loaded, materials, plan)
    return settled(store, plan, branches, materials, keying.folder, way, watch.progress.note)


def check_machine(loaded: LoadedRecipe) -> None:
    """Raises: UserError when this machine cannot train as the recipe says."""
    train = loaded.recipe.train
    if train.precision != "bf16" and train.device != "cuda" and not train.float8:
        return
    from trainer.devices.precision import check_possible

    try:
        check_possible(train.precision, train.device, float8=train.float8)
    except UserError as error:
        raise error.relocated(loaded.place) from None


def _tell(lines: Sequence[str], plan: Plan, watch: TrainingWatch) -> None:
    """Note what is odd about a training that begins or goes on, and about its plan."""
    for line in filter(None, (*lines, *shown_nothing(table(plan)))):
        watch.progress.note(line)


def _refuse_if_begun(loaded: LoadedRecipe, store: Store, plan: Plan, places: Places) -> None:
    """Raises: UserError when this very training has a checkpoint, or goes on from one; the same
    settings would only make the same bits again.
    """
    from trainer.checkpoints.checkpoint import saved

    here = Store(store.full(places.folder))
    steps = saved(here)
    if not steps:
        here, steps = adoptable(store, plan, places.keying.folder)
    if steps:
        raise UserError(
            "this training has begun already",
            file=here.root,
            found=f"a checkpoint of step {steps[-1]:,}",
            fix=(
                Command("train RECIPE", RECIPE=loaded.file.path),
                " goes on with it, ",
                Setting("overrides", "train.seed=N"),
                " is another one; remove the folder to repeat it",
            ),
        )


def _branches(
    recipe: Recipe,
    plan: Plan,
    materials: Materials,
    measured: Folders,
    store: Store,
    places: Places,
    record: dict[str, Any],
    watch: TrainingWatch,
) -> list[Ledger]:
    """End the run in the recipe's other ways, from its last stable checkpoint; a ledger of each."""
    from trainer.checkpoints.checkpoint import at_step
    from trainer.devices.determinism import settled_threads
    from trainer.loop.branch import branch_plan, compare

    folder = places.folder
    start = at_step(Store(store.full(folder)), stable_steps(plan))
    plans = {}
    for entry in recipe.branches:
        made = branch_plan(start, entry.phases, materials.folders, entry.name)
        place, of = places.branches[entry.name], places.keying.folder
        below = f"{folder}/{BRANCHES}/{place}"
        plans[place] = settled_branch(
            store, plan, start.state.step, made, materials, of, entry.name, below
        )
    names = {place: name for name, place in places.branches.items()}
    with settled_threads(), advised_branch():
        comparison = compare(
            start,
            plans,
            materials.folders,
            store.full(f"{folder}/{BRANCHES}"),
            validation=measured,
            on_step=lambda place, report: watch(f"{BRANCH}{names[place]}", report),
            boards={
                place: board_run(store, recipe.name, name, f"{folder}/{BRANCHES}/{place}")
                for place, name in names.items()
            },
        )
    ended(*comparison.outcomes.values())
    ledgers = []
    for place, name in names.items():
        outcome = comparison.outcomes[place]
        facts = {
            "folder": f"{folder}/{BRANCHES}/{place}",
            "from_step": comparison.step,
            "steps": outcome.steps,
            "tokens": outcome.tokens,
            **_taken_down(plans[place], materials.folders),
        }
        losses = {source: loss.to_json() for source, loss in comparison.losses[place].items()}
        record["branches"][name] = {**facts, "validation": losses}
        ledgers.append(_ledger(f"{BRANCH}{name}", outcome, folder))
    return ledgers


def _train(
    recipe: Recipe,
    point: StartingPoint,
    plan: Plan,
    materials: Materials,
    measured: Folders,
    store: Store,
    folder: str,
    watch: TrainingWatch,
    begins: Beginning,
    until_step: int | None,
) -> TrainOutcome:
    """The run's own training, measured on the same held-out documents as its branches."""
    from trainer.devices.determinism import settled_threads
    from trainer.loop.training import train

    def seen(report: StepReport) -> None:
        begins.made()
        watch(TRAIN, report)

    with settled_threads(), advised(store, plan):
        outcome = train(
            plan,
            {name: materials.folders[name] for name in plan.names},
            point.settings,
            recipe.train,
            Store(store.full(folder)),
            materials.tokenizer,
            validation=measured,
            start=point.start(),
            until_step=until_step,
            on_step=seen,
            board=board_run(store, recipe.name, MAIN, folder),
        )
    ended(outcome)
    return outcome


def _ledger(step: str, outcome: TrainOutcome, folder: str) -> Ledger:
    """What a training cost in this call; it takes no document away. Its fingerprint is the
    training's key.
    """
    made = outcome.step > outcome.first_step
    return Ledger(
        step,
        fingerprint=Path(folder).name,
        units=1,
        computed=int(made),
        seconds=outcome.seconds if made else 0.0,
        peak_bytes=peak_bytes() if made else 0,
    )


def _training(store: Store, folder: str, plan: Plan, materials: Materials) -> dict[str, Any]:
    """What a run's record says of its own training."""
    return {"folder": folder, **_facts(plan, materials), **how_begun(store, folder)}


def _facts(plan: Plan, materials: Materials) -> dict[str, Any]:
    """Steps of a plan, tokens and epochs per source at its end, its segments with their first and
    last steps, from 1, and what was taken down.
    """
    segments = [
        {
            "name": part.name,
            "decay": part.decay,
            "first_step": part.first_step + 1,
            "last_step": part.last_step,
        }
        for part in plan.segments
    ]
    progress = {
        part.source: {"tokens": part.tokens, "epochs": round(part.epochs, 4)}
        for part in realised(plan, plan.steps)
    }
    return {
        "steps": plan.steps,
        "tokens": plan.tokens,
        "segments": segments,
        "sources": progress,
        **_taken_down(plan, materials.folders),
    }


def _taken_down(plan: Plan, folders: Folders) -> dict[str, Any]:
    """The documents that the plan records as taken down, and those of them that its weights have
    seen, with the steps, from 1; nothing where none was taken down.
    """
    if not plan.take_downs:
        return {}
    seen = [
        {
            "id": exposure.id,
            "source": exposure.source,
            "steps": [step + 1 for step in exposure.steps],
            "tokens": exposure.tokens,
        }
        for exposure in exposed(plan, folders)
    ]
    return {"taken_down": {"documents": len(plan.take_downs), "seen": seen}}


def _samples(recipe: Recipe, output: Store, plan: Plan, stable: int) -> list[dict[str, Any]]:
    """What the model says before and after the decay, from the same prompts."""
    from trainer.checkpoints.checkpoint import at_step
    from trainer.devices.determinism import settled_threads

    with settled_threads():
        said = [_said(recipe, at_step(output, step)) for step in (stable, plan.steps)]
    return [
        {
            "prompt": prompt,
            "before": before.text,
            "after": after.text,
            **({"unseen": unseen} if (unseen := max(before.unseen, after.unseen)) else {}),
        }
        for prompt, before, after in zip(recipe.prompts, *said, strict=True)
    ]


def _said(recipe: Recipe, checkpoint: Checkpoint) -> list[Answer]:
    """What a checkpoint says after each of the recipe's prompts, looking back the window it was
    trained with.
    """
    from trainer.checkpoints.recorded import trained_window
    from trainer.evaluation.generate import GenerateSettings, answer, speaker

    settings = GenerateSettings(
        tokens=SAMPLE_TOKENS, seed=recipe.seed, context=trained_window(checkpoint)
    )
    model, tokenizer = speaker(checkpoint)
    return [answer(model, tokenizer, prompt, settings) for prompt in recipe.prompts]
