"""What of an experiment is there, what is to come, and how long that takes.

Tokens per second of a shape are those of its runs on this machine; of a shape without runs they are
measured in a few steps, of which nothing stays.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from artifacts.paths import Store
from pipelines.studies.prepared import Prepared
from pipelines.studies.study import Study
from trainer.experiments.design import with_parents

PROBE_STEPS = 8
FIRST_STEPS = 3
"""Of a probe, which are slower than the others and do not count."""


@dataclass(frozen=True)
class Group:
    """Runs of one shape and batch: how many are ``made`` and ``to_come``; tokens and seconds are of
    those to come, ``speed`` in tokens per second.
    """

    width: int
    layers: int
    batch_tokens: int
    made: int
    to_come: int
    tokens: int
    speed: float

    @property
    def seconds(self) -> float:
        return self.tokens / self.speed


@dataclass(frozen=True)
class Ahead:
    """``workers``: runs at a time. ``more``: whether the design may want further runs when these
    are made.
    """

    groups: tuple[Group, ...]
    workers: int
    more: bool

    @property
    def seconds(self) -> float:
        """Of training, all workers busy; measuring losses comes on top."""
        return sum(group.seconds for group in self.groups) / self.workers

    def to_json(self) -> dict[str, Any]:
        rows = [{**vars(group), "seconds": group.seconds} for group in self.groups]
        facts = {"workers": self.workers, "seconds": self.seconds, "more": self.more}
        return {"groups": rows, **facts}


def ahead(study: Study, workers: int) -> Ahead:
    """Look ahead; makes nothing that stays."""
    points = study.points()
    missing = {run.key for run in study.missing(points)}
    groups: dict[tuple[int, int, int], list[Prepared]] = {}
    for run in study.preparing.all_of(with_parents(points)):
        shape = (run.config.width, run.config.layers, run.train.batch_tokens)
        groups.setdefault(shape, []).append(run)
    rows = []
    for shape, runs in sorted(groups.items()):
        to_come = [run for run in runs if run.key in missing]
        tokens = sum(run.own_tokens for run in to_come)
        speed = _speed(study, runs) if to_come else 1.0
        made = len(runs) - len(to_come)
        rows.append(Group(*shape, made, len(to_come), tokens, speed))
    return Ahead(tuple(rows), max(1, min(workers, len(missing) or 1)), study.loaded.design.grows)


def _speed(study: Study, runs: Sequence[Prepared]) -> float:
    known = [
        run.own_tokens / seconds
        for run in runs
        if (seconds := study.shelf.seconds(run.key)) and run.own_tokens
    ]
    return statistics.median(known) if known else _probed(study, runs[0])


def _probed(study: Study, run: Prepared) -> float:
    """Tokens per second of a few steps of a run's root; those before it diverged, where it does.

    Raises: UserError where it diverges in its first step.
    """
    from trainer.loop.metrics import TIME, read_series
    from trainer.loop.run import NotFiniteError
    from trainer.loop.training import train

    root = run
    while root.parent is not None:
        root = root.parent
    materials = study.ground.materials
    with tempfile.TemporaryDirectory(prefix="windtunnel-probe-") as folder:
        diverged: NotFiniteError | None = None
        try:
            train(
                root.plan,
                {name: materials.folders[name] for name in root.plan.names},
                root.model,
                root.train,
                folder,
                materials.tokenizer,
                until_step=min(PROBE_STEPS, root.plan.steps),
            )
        except NotFiniteError as error:
            diverged = error
        lines = read_series(Store(folder), TIME)
        if diverged and not lines:
            raise diverged
    counted = lines[FIRST_STEPS:] or lines
    return float(statistics.median(line["tokens_per_second"] for line in counted))
