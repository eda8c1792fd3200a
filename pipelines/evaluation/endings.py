"""Score every ending of a run's training on the tasks of its recipe, each once.

    ledgers = score_endings(loaded, store, record, progress)
    record["training"]["scores"]["mmlu-redux"]

Scores lie beside the ending's checkpoints, ``scores/TASK-KEY.json``, with the figure of every item.
The key holds the task's files and the rule of scoring; the folder is that of one training.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from artifacts.books import read_book, sealed
from artifacts.fingerprints import canonical_json, content_key
from artifacts.ledger import Ledger
from artifacts.paths import Store
from pipelines.evaluation.asked import AskedTask, asked_tasks
from pipelines.evaluation.contamination import Contamination, SeenItems, shown_sources
from pipelines.executors.progress import Progress
from pipelines.recipe.load import LoadedRecipe
from pipelines.stages.step_names import BRANCH, EVALUATE, TRAIN
from pipelines.training.materials import Materials
from tokenizer.encode import Tokenizer
from trainer.checkpoints.checkpoint import TOKENIZER, Checkpoint, at_step
from trainer.checkpoints.recorded import plan_of, trained_window
from trainer.checkpoints.weights import model_of
from trainer.devices.determinism import settled_threads
from trainer.devices.precision import device_of
from trainer.evaluation.comparison import checkpoints
from trainer.evaluation.tasks.items import Task
from trainer.evaluation.tasks.scores import Score
from trainer.evaluation.tasks.scoring import score_tasks

SCORES = "scores"
SCORING_RULE = 1
"""Raised when the same model and items come to other figures."""


@dataclass(frozen=True)
class _Ending:
    """A training's end. ``facts``: what the record says of it; scores are put there."""

    name: str
    facts: dict[str, Any]

    def checkpoint(self, store: Store) -> Checkpoint:
        return at_step(Store(store.full(self.facts["folder"])), self.facts["steps"])


def score_endings(
    loaded: LoadedRecipe, store: Store, record: dict[str, Any], progress: Progress
) -> list[Ledger]:
    """Put the scores of the run's own ending and of its branches into the record; the ledger of
    what that cost. Nothing where the recipe asks for no tasks.

    Raises: UserError for tasks that cannot be read, and for damaged checkpoints and shards.
    """
    asked = asked_tasks(loaded)
    if not asked:
        return []
    settings = loaded.recipe.evaluate
    assert settings is not None
    started, made = time.monotonic(), 0
    endings = [*_endings(record)]
    progress.phase(EVALUATE, len(endings), 0, 0)
    examiner = _Examiner(store, record, asked)
    main: dict[str, dict[str, Any]] = {}
    for ending in endings:
        figures, new = examiner.scores(ending)
        made += new
        main = main or figures
        ending.facts[SCORES] = {
            task: {
                **{name: facts[name] for name in ("task", "layout", "file")},
                "measures": [_without_items(score) for score in facts["measures"]],
                "contamination": _contamination(facts, settings.overlap).to_json(),
                "minus_main": _differences(facts, main[task]) if facts is not main[task] else {},
            }
            for task, facts in figures.items()
        }
        progress.advance(1, 0)
    seconds = time.monotonic() - started if made else 0.0
    ledger = Ledger(EVALUATE, units=len(endings), computed=made, seconds=seconds)
    progress.end([ledger])
    return [ledger]


def _endings(record: Mapping[str, Any]) -> Iterator[_Ending]:
    yield _Ending(TRAIN, record["training"])
    for name, facts in record["branches"].items():
        yield _Ending(f"{BRANCH}{name}", facts)


class _Examiner:
    """Scores endings on tasks, as far as no book of it is there."""

    def __init__(self, store: Store, record: dict[str, Any], asked: list[AskedTask]) -> None:
        self._store, self._asked = store, asked
        self._materials = Materials.of(store, record)
        self._seen = SeenItems([one.task for one in asked], self._materials)

    def scores(self, ending: _Ending) -> tuple[dict[str, dict[str, Any]], bool]:
        """What is kept of an ending's scores by task, and whether some were made now."""
        checkpoint = ending.checkpoint(self._store)
        names = {
            one.task.name: _name(ending, one, trained_window(checkpoint)) for one in self._asked
        }
        known = {task: read_book(self._store, name) for task, name in names.items()}
        missing = [one.task for one in self._asked if not known[one.task.name]]
        for task, facts in self._made(checkpoint, missing).items():
            self._store.write(names[task], canonical_json(sealed(facts)) + b"\n")
            known[task] = facts
        return {task: {**facts, "file": names[task]} for task, facts in known.items()}, bool(
            missing
        )

    def _made(self, checkpoint: Checkpoint, tasks: list[Task]) -> dict[str, dict[str, Any]]:
        if not tasks:
            return {}
        tokenizer = Tokenizer.load(checkpoint.read(TOKENIZER))
        with settled_threads():
            model = model_of(checkpoint, device_of("auto"))
            scores = score_tasks(model, tokenizer, tasks, trained_window(checkpoint))
        sources = shown_sources(plan_of(checkpoint), checkpoint.state.step, self._materials)
        return {
            task.name: {
                "task": task.name,
                "layout": task.layout,
                "measures": [one.to_json(items=True) for one in scores if one.task == task.name],
                "keys": [item.key for item in task.items],
                "held": self._seen.shares(task, sources),
            }
            for task in tasks
        }


def _name(ending: _Ending, asked: AskedTask, window: int) -> str:
    key = content_key(
        {
            "rule": SCORING_RULE,
            "step": ending.facts["steps"],
            "window": window,
            "layout": asked.task.layout,
            "norm": asked.task.norm,
            "files": list(asked.digests),
            "items": content_key({"keys": [item.key for item in asked.task.items]}),
            "limit": asked.limit,
        }
    )
    return f"{ending.facts['folder']}/{SCORES}/{asked.task.name}-{key}.json"


def recorded_scores(store: Store, facts: Mapping[str, Any], task: str) -> list[Score]:
    """The scores of an ending on a task, with those of every item; none where its file is gone."""
    book = read_book(store, facts[SCORES][task]["file"])
    return [Score.from_json(values) for values in book.get("measures", [])]


def _contamination(facts: Mapping[str, Any], overlap: float) -> Contamination:
    return Contamination.of(facts["keys"], facts["held"], overlap)


def _differences(facts: Mapping[str, Any], main: Mapping[str, Any]) -> dict[str, Any]:
    """By measure, this ending minus the run's own, with the interval over items; what has too few
    items for one is left out.
    """
    sides = [[Score.from_json(one) for one in side["measures"]] for side in (facts, main)]
    return {
        own.measure: checkpoints(own, other).to_json()
        for own, other in zip(*sides, strict=True)
        if len(set(own.clusters)) > 1
    }


def _without_items(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "each"}
