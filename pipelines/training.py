"""The second half of a run: freeze the plan, train, and end the run in other ways for comparison.

Everything of one training lies under ``training/KEY/``: checkpoints and metrics, and the same below
``branches/NAME/`` for each other ending. The key is the plan and all settings, so a changed recipe trains
anew beside the old one, and an unchanged one finds its checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.errors import UserError
from artifacts.fingerprints import canonical_json, content_key, load_json
from artifacts.paths import Store
from mixtures.accounting import realised
from mixtures.bands import source_of
from mixtures.plan import Plan, branch, freeze
from pipelines.progress import StoppedError
from pipelines.recipe import LoadedRecipe, Recipe
from pipelines.recipe_names import of_branch
from tokenizer.encode import Tokenizer
from tokenizer.shards import ShardSource, open_source

PLAN = "plan.json"
SUFFIX = "-validation"
SAMPLE_TOKENS = 64
Watch = Callable[[str, int, int, float, float], None]  # title, step, steps, loss, learning rate


@dataclass(frozen=True)
class Materials:
    """What training needs of a finished corpus: shards by source, held-out shards, tokenizer."""

    folders: dict[str, Path]
    validation: dict[str, Path]
    tokenizer: Tokenizer

    @classmethod
    def of(cls, store: Store, record: dict[str, Any]) -> Materials:
        """Raises: UserError when the run has no shards, or lies on a store where they cannot be mapped."""
        if not record["shards"]:
            raise UserError("this run has no shards yet", file=store.root, fix="windtunnel run RECIPE")
        if not store.local:
            raise UserError("training reads shards from a local disk", file=store.root, fix="copy the run's folder to a local disk")
        folders = {name: Path(store.full(entry["folder"])) for name, entry in record["shards"].items() if entry["documents"]}
        model = store.read(record["tokenizer"]["file"]["name"])
        train = {name: folder for name, folder in folders.items() if not name.endswith(SUFFIX)}
        held = {name: folder for name, folder in folders.items() if name.endswith(SUFFIX)}
        return cls(train, held, Tokenizer.load(model))

    def sources(self) -> dict[str, ShardSource]:
        return {name: open_source(folder, self.tokenizer.hash) for name, folder in self.folders.items()}

    def held_out(self, sources: Iterable[str], length: int) -> dict[str, Path]:
        """Held-out shards of these sources, those that fill at least one window of ``length`` tokens."""
        names = [f"{name}{SUFFIX}" for name in sorted(set(sources))]
        found = {name: self.validation[name] for name in names if name in self.validation}
        return {name: folder for name, folder in found.items() if open_source(folder).manifest.tokens > length}


def plan_mixture(loaded: LoadedRecipe, materials: Materials) -> Plan:
    """Freeze the recipe's mixture over the shards. Raises: UserError with the numbers when it cannot be met."""
    spec, train = loaded.recipe.mixture, loaded.recipe.train
    if spec is None:
        raise UserError(
            "the recipe has no mixture", file=loaded.file.path, field="mixture", fix="add mixture: {phases: [...]}; see docs/recipes.md"
        )
    bos = materials.tokenizer.bos_id
    try:
        return freeze(
            spec,
            materials.sources(),
            sequence_length=train.sequence_length,
            batch_tokens=train.batch_tokens,
            seed=loaded.recipe.seed,
            bos_id=bos,
        )
    except UserError as error:
        raise loaded.placed(error) from None


def plan_branches(loaded: LoadedRecipe, materials: Materials, plan: Plan) -> dict[str, Plan]:
    """The plans of the recipe's branches by name, before anything is trained. Raises: UserError as :func:`plan_mixture`."""
    plans: dict[str, Plan] = {}
    sources = materials.sources() if loaded.recipe.branches else {}
    for entry in loaded.recipe.branches:
        try:
            plans[entry.name] = branch(plan, stable_steps(plan), entry.phases, sources, entry.name)
        except UserError as error:
            raise loaded.placed(of_branch(error, entry.name)) from None
    return plans


def train_recipe(loaded: LoadedRecipe, store: Store, record: dict[str, Any], watch: Watch) -> bool:
    """Train what the recipe says, then its branches; fills ``record["training"]``. Returns whether any step was made.

    Raises: StoppedError after a signal; UserError when plan, shards and settings do not fit together.
    """
    materials = Materials.of(store, record)
    plan = plan_mixture(loaded, materials)
    branches = plan_branches(loaded, materials, plan)
    store.write(PLAN, plan.to_json())
    recipe = loaded.recipe
    key = content_key({"plan": plan.hash, "model": recipe.model.model_dump(mode="json"), "train": recipe.train.model_dump(mode="json")})
    folder = f"training/{key}"
    asked = {"branches": [entry.model_dump(mode="json") for entry in recipe.branches], "prompts": list(recipe.prompts), "seed": recipe.seed}
    outcome = f"{folder}/outcome-{content_key(asked)}.json"
    if store.exists(outcome) and store.exists(f"{folder}/checkpoints/step-{plan.steps:08d}/state.json"):
        record.update(load_json(store.read(outcome)))  # trained, measured and sampled already
        return False
    shown = [name for one in (plan, *branches.values()) for name in one.names]
    measured = materials.held_out([*shown, *map(source_of, shown)], plan.sequence_length)
    made = _train(recipe, plan, materials, measured, Store(store.full(folder)), watch, "train")
    record["plan"] = PLAN
    record["training"] = {"folder": folder, "steps": plan.steps, **_facts(plan)}
    record["branches"] = {}
    stable = stable_steps(plan)
    if recipe.branches:
        made |= _branches(recipe, plan, materials, measured, store, folder, record, watch)
    if recipe.prompts:
        record["samples"] = _samples(recipe, Store(store.full(folder)), plan, stable)
    facts = {name: record[name] for name in ("plan", "training", "branches", "samples")}
    store.write(outcome, canonical_json(facts) + b"\n")
    return made


def _branches(
    recipe: Recipe,
    plan: Plan,
    materials: Materials,
    measured: dict[str, Path],
    store: Store,
    folder: str,
    record: dict[str, Any],
    watch: Watch,
) -> bool:
    """End the run in the recipe's other ways, from its last stable checkpoint; returns whether a step was made."""
    from trainer.branch import branch
    from trainer.checkpoint import at_step

    start = at_step(Store(store.full(folder)), stable_steps(plan))
    places = {entry.name: f"{entry.name}-{content_key(entry.model_dump(mode='json'))[:8]}" for entry in recipe.branches}
    comparison = branch(
        start,
        {places[entry.name]: entry.phases for entry in recipe.branches},
        materials.folders,
        store.full(f"{folder}/branches"),
        validation=measured,
        names={place: name for name, place in places.items()},
        on_step=lambda name, report: watch(f"branch {name[:-9]}", report.step, report.steps, report.loss, report.lr),
    )
    if comparison.stopped_by is not None:
        raise StoppedError(comparison.stopped_by, next(o.exit_code for o in comparison.outcomes.values() if o.stopped_by))
    for name, place in places.items():
        outcome = comparison.outcomes[place]
        facts = {"folder": f"{folder}/branches/{place}", "from_step": comparison.step, "steps": outcome.steps, "tokens": outcome.tokens}
        losses = {source: loss.to_json() for source, loss in comparison.losses[place].items()}
        record["branches"][name] = {**facts, "validation": losses}
    return any(outcome.step > outcome.first_step for outcome in comparison.outcomes.values())


def stable_steps(plan: Plan) -> int:
    """Steps before the decay: where branches leave; all of them when nothing decays."""
    return next((segment.first_step for segment in plan.segments if segment.decay), plan.steps)


def _train(
    recipe: Recipe, plan: Plan, materials: Materials, measured: dict[str, Path], output: Store, watch: Watch, title: str, start: Any = None
) -> bool:
    """One training, measured on the same held-out documents as the others; returns whether a step was made."""
    from trainer.loop import train

    outcome = train(
        plan,
        {name: materials.folders[name] for name in plan.names},
        recipe.model,
        recipe.train,
        output,
        materials.tokenizer,
        validation=measured,
        start=start,
        on_step=lambda report: watch(title, report.step, plan.steps, report.loss, report.lr),
    )
    if outcome.stopped_by is not None:
        raise StoppedError(outcome.stopped_by, outcome.exit_code)
    return outcome.step > outcome.first_step


def _facts(plan: Plan) -> dict[str, Any]:
    """Tokens and epochs per source at the end of a plan, and its segments."""
    segments = [
        {"name": part.name, "decay": part.decay, "first_step": part.first_step, "last_step": part.last_step} for part in plan.segments
    ]
    progress = {part.source: {"tokens": part.tokens, "epochs": round(part.epochs, 4)} for part in realised(plan, plan.steps)}
    return {"tokens": plan.tokens, "segments": segments, "sources": progress}


def _samples(recipe: Recipe, output: Store, plan: Plan, stable: int) -> list[dict[str, Any]]:
    """What the model says before and after the decay, from the same prompts."""
    from trainer.checkpoint import at_step
    from trainer.generate import GenerateSettings, generate, speaker

    settings = GenerateSettings(tokens=SAMPLE_TOKENS, seed=recipe.seed)
    said = [generate(*speaker(at_step(output, step)), recipe.prompts, settings) for step in (stable, plan.steps)]
    return [{"prompt": prompt, "before": before, "after": after} for prompt, before, after in zip(recipe.prompts, *said, strict=True)]
