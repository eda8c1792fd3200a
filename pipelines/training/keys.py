"""Under which keys trainings and their branches lie, and how one begun under a former key is found.

    plan, model, settings, rules ─ Keying ─▶ training/KEY        branch's plan ─▶ branches/NAME-HASH

A key holds what decides weights, resolved: the model that a preset stands for, not the preset's
name, and the rules of optimizer and schedule. Before it held the model as the recipe says it. What
was begun then lies under that key still, and is gone on with where its checkpoints hold the model
that the recipe resolves to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from artifacts.fingerprints import content_key
from artifacts.paths import Store
from artifacts.settings import key_settings
from mixtures.plan.format import Plan
from pipelines.recipe.fields import Branch, Recipe
from pipelines.training.checkpoints import TRAINING
from pipelines.training.starting import StartingPoint
from trainer.checkpoints.checkpoint import latest, saved
from trainer.checkpoints.recorded import model_config
from trainer.loop.settings import ModelSettings
from trainer.optimizer.rule import OPTIMIZER_RULE
from trainer.shapes.config import ModelConfig
from trainer.shapes.presets import TINY

_BASE_OF_TINY = 256
"""``dim_model_base`` of the preset ``tiny`` while keys held presets by name."""


@dataclass(frozen=True)
class Keying:
    """What of a training stands in its key besides the plan; ``former`` as a release before did."""

    facts: Mapping[str, Any]
    former: bool = False

    def folder(self, plan_hash: str) -> str:
        """Where the training with the plan of a hash lies in the run."""
        return f"{TRAINING}/{content_key({'plan': plan_hash, **self.facts})}"


@dataclass(frozen=True)
class Places:
    """Where a training lies in its run, and its branches by name below ``branches/`` of it.

    ``former``: whether all lie where they did before keys held what presets stand for.
    """

    keying: Keying
    folder: str
    branches: Mapping[str, str]
    former: bool


def places_of(
    store: Store, recipe: Recipe, point: StartingPoint, plan: Plan, branches: Mapping[str, Plan]
) -> Places:
    """Where the training of a plan and its branches lie, begun or not. Raises: UserError as
    :func:`begun_keying`.
    """
    keying = begun_keying(store, plan, recipe, point)
    folder = keying.folder(plan.hash)
    entries = {entry.name: entry for entry in recipe.branches}
    places = branch_places(store, folder, entries, branches)
    former = keying.former and places == former_places(entries)
    return Places(keying, folder, places, former)


def keying_of(
    recipe: Recipe, config: ModelConfig, start: Mapping[str, Any] | None = None
) -> Keying:
    """The keys of trainings that begin now; ``config`` is what the recipe's model resolves to,
    ``start`` what they start at.
    """
    return Keying(
        {
            "model": key_settings(config),
            "train": key_settings(recipe.train),
            "optimizer": OPTIMIZER_RULE,
            **(start or {}),
        }
    )


def begun_keying(store: Store, plan: Plan, recipe: Recipe, point: StartingPoint) -> Keying:
    """The keys under which the training of a plan, or of one that edits made it from, has begun;
    those of trainings that begin now where none has.

    Raises: UserError when the checkpoint that is to be gone on with is damaged.
    """
    own = keying_of(recipe, point.config, point.key)
    if not point.key and not any(
        saved(Store(store.full(own.folder(name)))) for name in _past(plan)
    ):
        for former in former_keyings(recipe):
            if _trained_as(store, former, plan, point.config):
                return former
    return own


def former_keyings(recipe: Recipe) -> Iterator[Keying]:
    """The keys that a training of the recipe may have had before they held what presets stand
    for.
    """
    train = key_settings(recipe.train)
    del train["schedule"]["version"]
    for model in _as_once_said(recipe.model):
        yield Keying({"model": key_settings(model), "train": train}, former=True)


def branch_places(
    store: Store, folder: str, branches: Mapping[str, Branch], plans: Mapping[str, Plan]
) -> dict[str, str]:
    """The folder of every branch by its name, below ``branches/`` of a training: named after its
    plan.

    Once it was named after what the recipe says of it. One that lies there with this very plan
    stays.
    """
    return {
        name: former
        if _has_plan(store, f"{folder}/branches/{former}", plan := plans[name])
        else f"{name}-{plan.hash[:8]}"
        for name, former in former_places(branches).items()
    }


def former_places(branches: Mapping[str, Branch]) -> dict[str, str]:
    """The branches' folders as they were once named."""
    return {
        name: f"{name}-{content_key(key_settings(entry))[:8]}" for name, entry in branches.items()
    }


def _past(plan: Plan) -> list[str]:
    """The hashes of a plan and of those that it agrees with up to a step, the newest first."""
    return [plan.hash, *(ancestor.hash for ancestor in reversed(plan.history))]


def _trained_as(store: Store, keying: Keying, plan: Plan, config: ModelConfig) -> bool:
    """Whether the newest training of a plan under these keys has the model."""
    found = (latest(Store(store.full(keying.folder(name)))) for name in _past(plan))
    begun = next((checkpoint for checkpoint in found if checkpoint is not None), None)
    return begun is not None and model_config(begun) == config


def _as_once_said(model: ModelSettings) -> Iterator[ModelSettings]:
    """The settings, and those to which a preset once gave what they now say."""
    yield model
    if model.preset == TINY and model.dim_model_base == _BASE_OF_TINY:
        yield model.model_copy(update={"dim_model_base": None})


def _has_plan(store: Store, folder: str, plan: Plan) -> bool:
    newest = latest(Store(store.full(folder)))
    return newest is not None and newest.state.plan_hash == plan.hash
