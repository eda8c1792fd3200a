"""How long scoring a model on tasks takes, from some of their items."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from pipelines.training.starting import StartingPoint
from tokenizer.encode import Tokenizer
from trainer.devices.determinism import settled_threads
from trainer.devices.precision import device_of
from trainer.evaluation.tasks.items import Item, Task
from trainer.evaluation.tasks.scoring import score_tasks
from trainer.model import Model, init

ITEMS = 32
"""Items of a task that are tried, evenly spread."""


def scoring_seconds(
    point: StartingPoint, tokenizer: Tokenizer, tasks: Sequence[Task], window: int
) -> float:
    """Seconds to score one model of this shape on all items of the tasks; ``window`` tokens are
    seen at once.
    """
    model = Model(point.config)
    init(model, point.config, seed=0)
    model = model.to(device_of("auto"))
    seconds = 0.0
    with settled_threads():
        for task in (one for one in tasks if one.items):
            tried = dataclasses.replace(task, items=_spread(task))
            score_tasks(model, tokenizer, [_shortest(tried)], window)  # compiles, fills caches
            clock = time.perf_counter()
            score_tasks(model, tokenizer, [tried], window)
            seconds += (time.perf_counter() - clock) * len(task.items) / len(tried.items)
    return seconds


def _spread(task: Task) -> tuple[Item, ...]:
    items = task.items
    number = min(ITEMS, len(items))
    return tuple(items[place * len(items) // number] for place in range(number))


def _shortest(task: Task) -> Task:
    return dataclasses.replace(task, items=task.items[:1])
