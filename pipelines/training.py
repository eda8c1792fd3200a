"""The second half of a run: freeze the plan, train, and end the run in other ways for comparison.

Everything of one training lies under ``training/KEY/``: checkpoints and metrics, and the same below
``branches/NAME/`` for each other ending. The key is the plan and all settings, so a changed recipe
trains anew beside the old one, and an unchanged one finds its checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifacts.errors import UserError
from artifacts.fingerprints import canonical_json, content_key, load_json
from artifacts.ledger import Ledger
from artifacts.paths import Store
from artifacts.settings import key_settings
from mixtures.accounting import realised
from mixtures.bands import names_meant, source_of
from mixtures.plan import Plan, branch, freeze
from mixtures.spec import PhaseSpec
from pipelines.memory import peak_bytes, reset_peak
from pipelines.progress import TrainingWatch, ended
from pipelines.recipe import LoadedRecipe, Recipe
from pipelines.recipe_names import of_branch
from pipelines.run_plan import PLAN, adopt, edited_plan, write_plan
from pipelines.step_names import BRANCH, TRAIN
from tokenizer.encode import Tokenizer
from tokenizer.shards import ShardSource, open_source

if TYPE_CHECKING:
    from trainer.loop import TrainOutcome

SUFFIX = "-validation"
SAMPLE_TOKENS = 64


@dataclass(frozen=True)
class Materials:
    """What training needs of a finished corpus: shards by source, held-out shards, tokenizer."""

    folders: dict[str, Path]
    validation: dict[str, Path]
    tokenizer: Tokenizer

    @classmethod
    def of(cls, store: Store, record: dict[str, Any]) -> Materials:
        """Raises: UserError when the run has no shards, or lies on a store where they cannot be
        mapped.
        """
        if not record["shards"]:
            raise UserError(
                "this run has no shards yet", file=store.root, fix="windtunnel run RECIPE"
            )
        if not store.local:
            raise UserError(
                "training reads shards from a local disk",
                file=store.root,
                fix="copy the run's folder to a local disk",
            )
        folders = {
            name: Path(store.full(entry["folder"]))
            for name, entry in record["shards"].items()
            if entry["documents"]
        }
        model = store.read(record["tokenizer"]["file"]["name"])
        train = {name: folder for name, folder in folders.items() if not name.endswith(SUFFIX)}
        held = {name: folder for name, folder in folders.items() if name.endswith(SUFFIX)}
        return cls(train, held, Tokenizer.load(model))

    def sources(self) -> dict[str, ShardSource]:
        return {
            name: open_source(folder, self.tokenizer.hash) for name, folder in self.folders.items()
        }

    def held_out(
        self, sources: Iterable[str], length: int, whole: Iterable[str] = ()
    ) -> dict[str, Path]:
        """Held-out shards of these sources, those that fill at least one window of ``length``
        tokens.

        ``whole``: sources that are never shown, of which all documents are measured (a band, or all
        bands of a source).
        """
        names = [f"{name}{SUFFIX}" for name in sorted(set(sources))]
        found = {name: self.validation[name] for name in names if name in self.validation}
        found |= {
            name: folder
            for name, folder in self.folders.items()
            if {name, source_of(name)} & set(whole)
        }
        return {
            name: folder
            for name, folder in found.items()
            if open_source(folder).manifest.tokens > length
        }


def plan_mixture(loaded: LoadedRecipe, materials: Materials) -> Plan:
    """Freeze the recipe's mixture over the shards. Raises: UserError with the numbers when it
    cannot be met.
    """
    spec, train = loaded.recipe.mixture, loaded.recipe.train
    if spec is None:
        raise UserError(
            "the recipe has no mixture",
            file=loaded.file.path,
            field="mixture",
            fix="add mixture: {phases: [...]}; see docs/recipes.md",
        )
    sources, tokens = materials.sources(), (train.sequence_length, train.batch_tokens)
    try:
        _check_sources(spec.phases, sources)
        bos = materials.tokenizer.bos_id
        plan = freeze(
            spec,
            sources,
            sequence_length=tokens[0],
            batch_tokens=tokens[1],
            seed=loaded.recipe.seed,
            bos_id=bos,
        )
        train.schedule_of(plan)
    except UserError as error:
        raise loaded.placed(error) from None
    return plan


def plan_branches(loaded: LoadedRecipe, materials: Materials, plan: Plan) -> dict[str, Plan]:
    """The plans of the recipe's branches by name, before anything is trained. Raises: UserError as
    :func:`plan_mixture`.
    """
    plans: dict[str, Plan] = {}
    sources = materials.sources() if loaded.recipe.branches else {}
    start = stable_steps(plan)
    for entry in loaded.recipe.branches:
        try:
            _check_sources(entry.phases, sources)
            plans[entry.name] = branch(plan, start, entry.phases, sources, entry.name)
        except UserError as error:
            raise loaded.placed(of_branch(error, entry.name)) from None
    tokens = {name: made.tokens - made.tokens_before(start) for name, made in plans.items()}
    if len(set(tokens.values())) > 1:
        raise loaded.placed(
            UserError(
                "branches are compared at equal tokens",
                field="branches",
                found=", ".join(f"{name} {count:,}" for name, count in tokens.items()),
                fix="give the phases of every branch the same tokens in all",
            )
        )
    return plans


def _check_sources(phases: Sequence[PhaseSpec], sources: Mapping[str, ShardSource]) -> None:
    """Raises: UserError at the first source that is to be shown and has no shards, with what was
    asked and what there is.
    """
    for phase in phases:
        for name, field in phase.shown.items():
            if not names_meant(name, sources) and source_of(name) == name:
                tokens = round(phase.weights.get(name, 0.0) * (phase.tokens or 0))
                asked = f"{tokens:,} tokens asked of {name}" if tokens else name
                raise UserError(
                    "a source without shards",
                    field=f"{phase.field}.{field}",
                    found=f"{asked}; none of its documents was kept",
                    allowed=[
                        f"{other} ({source.manifest.tokens:,} tokens)"
                        for other, source in sorted(sources.items())
                    ],
                    fix=(
                        "leave it out of the mixture, or loosen the stages that drop its "
                        "documents: the report shows them"
                    ),
                )


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
    if store.exists(outcome) and store.exists(
        f"{folder}/checkpoints/step-{plan.steps:08d}/state.json"
    ):
        record.update(load_json(store.read(outcome)))  # trained, measured and sampled already
        steps = [TRAIN, *(f"{BRANCH}{entry.name}" for entry in recipe.branches)]
        return [Ledger(step, units=1, fingerprint=Path(folder).name) for step in steps]
    shown = [name for one in (plan, *branches.values()) for name in one.names]
    measured = materials.held_out(
        [*shown, *map(source_of, shown)], plan.sequence_length, plan.rules.hold_out
    )
    reset_peak()
    trained = _train(
        recipe, plan, materials, measured, Store(store.full(folder)), watch, until_step
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
    store.write(outcome, canonical_json(facts) + b"\n")
    return ledgers


def check_machine(loaded: LoadedRecipe) -> None:
    """Raises: UserError when this machine cannot train as the recipe says."""
    train = loaded.recipe.train
    if train.precision != "bf16" and train.device != "cuda" and not train.float8:
        return
    from trainer.precision import check_possible

    try:
        check_possible(train.precision, train.device, float8=train.float8)
    except UserError as error:
        raise loaded.placed(error) from None


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
    from trainer.checkpoint import saved

    steps = saved(Store(store.full(folder)))
    if steps:
        raise UserError(
            "this training has begun already",
            file=store.full(folder),
            found=f"a checkpoint of step {steps[-1]:,}",
            fix=(
                f"windtunnel train {loaded.file.path} goes on with it, --set train.seed=N is "
                "another one; remove the folder to repeat it"
            ),
        )


def _branches(
    recipe: Recipe,
    plan: Plan,
    materials: Materials,
    measured: dict[str, Path],
    store: Store,
    folder: str,
    record: dict[str, Any],
    watch: TrainingWatch,
) -> list[Ledger]:
    """End the run in the recipe's other ways, from its last stable checkpoint; a ledger of each."""
    from trainer.branch import branch
    from trainer.checkpoint import at_step

    start = at_step(Store(store.full(folder)), stable_steps(plan))
    places = {
        entry.name: f"{entry.name}-{content_key(key_settings(entry))[:8]}"
        for entry in recipe.branches
    }
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


def stable_steps(plan: Plan) -> int:
    """Steps before the decay: where branches leave; all of them when nothing decays."""
    return next((segment.first_step for segment in plan.segments if segment.decay), plan.steps)


def _train(
    recipe: Recipe,
    plan: Plan,
    materials: Materials,
    measured: dict[str, Path],
    output: Store,
    watch: TrainingWatch,
    until_step: int | None,
) -> TrainOutcome:
    """The run's own training, measured on the same held-out documents as its branches."""
    from trainer.loop import train

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
    from trainer.checkpoint import at_step
    from trainer.generate import GenerateSettings, generate, speaker

    settings = GenerateSettings(tokens=SAMPLE_TOKENS, seed=recipe.seed)
    said = [
        generate(*speaker(at_step(output, step)), recipe.prompts, settings)
        for step in (stable, plan.steps)
    ]
    return [
        {"prompt": prompt, "before": before, "after": after}
        for prompt, before, after in zip(recipe.prompts, *said, strict=True)
    ]
