"""How a training began: anew beside another one of its run, or before there were today's rules.

    {"beside": "training/KEY", "differs": [{"field": "model.layers", "before": 4, "now": 6}]}
    {"rules": {"optimizer": 1, "schedule": 1}}

The first is kept as ``begun.json`` in the training's folder, so that a later call knows it too; the
second stands in its checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from artifacts.books import read_book, sealed
from artifacts.errors import UserError
from artifacts.fingerprints import canonical_json
from artifacts.paths import Store
from mixtures.plan.format import Plan
from pipelines.training.checkpoints import states
from pipelines.training.starting import StartingPoint
from trainer.checkpoints.checkpoint import Checkpoint, latest, saved
from trainer.checkpoints.recorded import model_config, schedule
from trainer.loop.recorded import train_settings
from trainer.loop.settings import TrainSettings
from trainer.optimizer.rule import OPTIMIZER_RULE
from trainer.optimizer.schedules import VERSION
from trainer.shapes.config import ModelConfig

BEGUN = "begun.json"


def beginning(
    store: Store,
    folder: str,
    plan: Plan,
    point: StartingPoint,
    settings: TrainSettings,
) -> dict[str, Any]:
    """What the training in ``folder`` differs in from the run's training that is most like it, if
    there was one when it began; nothing where there was none.

    Trainings with damaged checkpoints, or those of a later release, are not looked at.
    """
    here = Store(store.full(folder))
    if saved(here) or here.exists(BEGUN):
        return read_book(here, BEGUN)
    now = _decided(plan.hash, point.config, settings, OPTIMIZER_RULE, point.weights)
    others = {name: _differences(facts, now) for name, facts in _trained(store)}
    if not others:
        return {}
    nearest = min(others, key=lambda name: (len(others[name]), name))
    return {"beside": nearest, "differs": others[nearest]}


class Beginning:
    """How a training begins, to be written down once: when it has made a step."""

    def __init__(self, store: Store, folder: str, facts: dict[str, Any]) -> None:
        self.store, self.name, self.facts = store, f"{folder}/{BEGUN}", facts

    def made(self) -> None:
        """A step was made, so nothing refused the training."""
        if self.facts and not self.store.exists(self.name):
            self.store.write(self.name, canonical_json(sealed(self.facts)) + b"\n")
        self.facts = {}


def how_begun(store: Store, folder: str) -> dict[str, Any]:
    """How a training that has a checkpoint began, as its run records it: ``beside`` and ``differs``
    of :func:`beginning`, ``rules`` where some have changed since.
    """
    here = Store(store.full(folder))
    newest = latest(here)
    rules = {} if newest is None else former_rules(newest)
    return {**read_book(here, BEGUN), **({"rules": rules} if rules else {})}


def former_rules(checkpoint: Checkpoint) -> dict[str, int]:
    """The versions of rules that a training began with, of those that have changed since."""
    then = {"optimizer": checkpoint.state.counted.rule, "schedule": schedule(checkpoint).version}
    now = {"optimizer": OPTIMIZER_RULE, "schedule": VERSION}
    return {name: version for name, version in then.items() if version != now[name]}


def _trained(store: Store) -> Iterator[tuple[str, dict[str, Any]]]:
    """What decided each training of a run, by its folder."""
    # those of branches lie deeper
    found = {name.rsplit("/", 3)[0] for name in states(store)}
    for folder in sorted(name for name in found if name.count("/") == 1):
        try:
            newest = latest(Store(store.full(folder)))
            if newest is not None:
                state, settings = newest.state, train_settings(newest)
                start = None if state.parent is None else state.parent["weights"]
                rule = state.counted.rule
                yield (
                    folder,
                    _decided(state.plan_hash, model_config(newest), settings, rule, start),
                )
        except UserError:  # nothing here rests on it
            continue


def _decided(
    plan_hash: str, config: ModelConfig, settings: TrainSettings, rule: int, start: str | None
) -> dict[str, Any]:
    """Everything that decides a training, by its address; ``rule`` is the optimizer's, ``start``
    the checksum of the weights that it started at.
    """
    facts = {"model": config.as_dict(), "train": settings.resolved()}
    return {"plan": plan_hash, **dict(_addressed(facts)), "optimizer": rule, "start": start}


def _addressed(facts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _addressed(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"field": field, "before": before.get(field), "now": now.get(field)}
        for field in dict.fromkeys([*now, *before])
        if before.get(field) != now.get(field)
    ]
