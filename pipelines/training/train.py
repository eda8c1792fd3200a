"""The second half of a run: freeze the plan, train, and end the run in other ways for comparison.

Everything of one training lies under ``training/KEY/``: checkpoints and metrics, and the same below
``branches/NAME/`` for each other ending. The key is the plan and all settings, so a changed recipe
trains anew beside the old one, and an unchanged one finds its checkpoints.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifacts.books import read_book, sealed
from artifacts.commands import Command
from artifacts.errors import Setting, UserError
from artifacts.fingerprints import canonical_json, content_key
from artifacts.ledger import Ledger
from artifacts.paths import Store
from artifacts.settings import key_settings
from mixtures.freeze.freeze import Plan
from mixtures.inspect.accounting import realised
from mixtures.loader.loader import Folders
from mixtures.spec.bands import source_of
from pipelines.executors.memory import peak_bytes, reset_peak
from pipelines.recipe.fields import Recipe
from pipelines.recipe.load import LoadedRecipe
from pipelines.stages.step_names import BRANCH, TRAIN
from pipelines.training.materials import Materials
from pipelines.training.not_finite import advised, advised_branch
from pipelines.training.plan_file import PLAN, adopt, edited_plan, write_plan
from pipelines.training.plans import plan_branches, plan_mixture, stable_steps
from pipelines.training.watch import TrainingWatch, ended
from trainer.checkpoints.paths import state_name

if TYPE_CHECKING:
    from trainer.checkpoints.checkpoint import Checkpoint
    from trainer.evaluation.generate import Answer
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
) -> list[Ledger]:
    """Train what the recipe says, then its branches; fills ``record["training"]``. Returns a ledger
    per training: time and memory.

    ``resume``: go on from what is there, rather than refuse. ``until_step``: stop after so many
    updates; branches come only behind the last one. ``plan``: follow this one rather than the
    run's, which is the recipe's or what edits made of it. Raises: StoppedError after a signal;
    UserError when plan, shards and settings do not fit together.
    """
    materials = Materials.of(store, record)
    check_machine(loaded)
    plan = plan or edited_plan(store, plan_mixture(loaded, materials))
    branches = plan_branches(loaded, materials, plan)
    write_plan(store, plan)
    recipe, folder = loaded.recipe, training_folder(loaded, plan.hash)
    adopt(store, plan, folder, lambda plan_hash: training_folder(loaded, plan_hash))
    if not resume:
        _refuse_if_begun(loaded, store, folder)
    asked = {
        "branches": [key_settings(entry) for entry in recipe.branches],
        "prompts": list(recipe.prompts),
        "seed": recipe.seed,
    }
    outcome = f"{folder}/outcome-{content_key(asked)}.json"
    known = read_book(store, outcome)
    if known and store.exists(f"{folder}/{state_name(plan.steps)}"):
        record.update(known)  # trained, measured and sampled already
        steps = [TRAIN, *(f"{BRANCH}{entry.name}" for entry in recipe.branches)]
        return [Ledger(step, units=1, fingerprint=Path(folder).name) for step in steps]
    shown = [name for one in (plan, *branches.values()) for name in one.names]
    measured = materials.held_out(
        [*shown, *map(source_of, shown)], plan.sequence_length, plan.rules.hold_out
    )
    reset_peak()
    trained = _train(
        recipe, plan, materials, measured, Store(store.full(folder)), watch, until_step, store.root
    )
    ledgers = [_ledger(TRAIN, trained, folder)]
    record["plan"] = PLAN
    record["training"] = {"folder": folder, "steps": plan.steps, **_facts(plan)}
    record["branches"], record["samples"] = {}, []
    if not trained.finished:
        return ledgers
    if recipe.branches:
        ledgers += _branches(recipe, plan, materials, measured, store, folder, record, watch)
    if recipe.prompts:
        record["samples"] = _samples(recipe, Store(store.full(folder)), plan, stable_steps(plan))
    facts = {name: record[name] for name in ("plan", "training", "branches", "samples")}
    store.write(outcome, canonical_json(sealed(facts)) + b"\n")
    return ledgers


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


def training_folder(loaded: LoadedRecipe, plan_hash: str) -> str:
    """Where this training lies in the run: under a key of its plan and all its settings."""
    recipe = loaded.recipe
    key = content_key(
        {
            "plan": plan_hash,
            "model": key_settings(recipe.model),
            "train": key_settings(recipe.train),
        }
    )
    return f"training/{key}"


def _refuse_if_begun(loaded: LoadedRecipe, store: Store, folder: str) -> None:
    """Raises: UserError when this very training has a checkpoint; the same settings would only make
    the same bits again.
    """
    from trainer.checkpoints.checkpoint import saved

    steps = saved(Store(store.full(folder)))
    if steps:
        raise UserError(
            "this training has begun already",
            file=store.full(folder),
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
    folder: str,
    record: dict[str, Any],
    watch: TrainingWatch,
) -> list[Ledger]:
    """End the run in the recipe's other ways, from its last stable checkpoint; a ledger of each."""
    from trainer.checkpoints.checkpoint import at_step
    from trainer.devices.determinism import settled_threads
    from trainer.loop.branch import branch

    start = at_step(Store(store.full(folder)), stable_steps(plan))
    places = {
        entry.name: f"{entry.name}-{content_key(key_settings(entry))[:8]}"
        for entry in recipe.branches
    }
    with settled_threads(), advised_branch():
        comparison = branch(
            start,
            {places[entry.name]: entry.phases for entry in recipe.branches},
            materials.folders,
            store.full(f"{folder}/branches"),
            validation=measured,
            names={place: name for name, place in places.items()},
            on_step=lambda place, report: watch(f"{BRANCH}{place[:-9]}", report),
        )
    ended(*comparison.outcomes.values())
    ledgers = []
    for name, place in places.items():
        outcome = comparison.outcomes[place]
        facts = {
            "folder": f"{folder}/branches/{place}",
            "from_step": comparison.step,
            "steps": outcome.steps,
            "tokens": outcome.tokens,
        }
        losses = {source: loss.to_json() for source, loss in comparison.losses[place].items()}
        record["branches"][name] = {**facts, "validation": losses}
        ledgers.append(_ledger(f"{BRANCH}{name}", outcome, folder))
    return ledgers


def _train(
    recipe: Recipe,
    plan: Plan,
    materials: Materials,
    measured: Folders,
    output: Store,
    watch: TrainingWatch,
    until_step: int | None,
    run: str,
) -> TrainOutcome:
    """The run's own training, measured on the same held-out documents as its branches."""
    from trainer.devices.determinism import settled_threads
    from trainer.loop.training import train

    with settled_threads(), advised(run):
        outcome = train(
            plan,
            {name: materials.folders[name] for name in plan.names},
            recipe.model,
            recipe.train,
            output,
            materials.tokenizer,
            validation=measured,
            until_step=until_step,
            on_step=lambda report: watch(TRAIN, report),
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


def _facts(plan: Plan) -> dict[str, Any]:
    """Tokens and epochs per source at the end of a plan, and its segments."""
    segments = [
        {
            "name": part.name,
            "decay": part.decay,
            "first_step": part.first_step,
            "last_step": part.last_step,
        }
        for part in plan.segments
    ]
    progress = {
        part.source: {"tokens": part.tokens, "epochs": round(part.epochs, 4)}
        for part in realised(plan, plan.steps)
    }
    return {"tokens": plan.tokens, "segments": segments, "sources": progress}


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
    from trainer.evaluation.generate import GenerateSettings, answer, speaker, trained_window

    settings = GenerateSettings(
        tokens=SAMPLE_TOKENS, seed=recipe.seed, context=trained_window(checkpoint)
    )
    model, tokenizer = speaker(checkpoint)
    return [answer(model, tokenizer, prompt, settings) for prompt in recipe.prompts]
