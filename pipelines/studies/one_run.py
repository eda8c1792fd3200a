"""Make one run of an experiment: train it, and write its line. A task of an executor."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from artifacts.fingerprints import canonical_json
from artifacts.paths import Store
from mixtures.plan.format import Plan
from pipelines.studies.lines import Line
from trainer.costs.compute_costs import exact_flops_per_token
from trainer.experiments.outcomes import Course, Diverged, Losses, Outcome
from trainer.experiments.runs import Merge
from trainer.loop.settings import ModelSettings, TrainSettings
from trainer.shapes.config import ModelConfig
from trainer.shapes.parameter_counts import count_parameters

if TYPE_CHECKING:
    from tokenizer.encode import Tokenizer
    from trainer.loop.start import Start

LINE = "line.json"
TIMES = "time.json"
LAST_STEPS = 10
"""Over which the training loss of a run is the mean."""


@dataclass(frozen=True)
class RunTask:
    """A run to be made in ``folder``: plan as its JSON, settings as plain values.

    ``parent``: key, folder and step of the checkpoint it goes on from. ``also_at``: steps at which
    a checkpoint is kept, for endings. ``provenance``: what its line says of how it was computed.
    ``anew`` and ``merge`` as in :class:`trainer.experiments.runs.RunSpec`; ``before``: tokens that
    were shown before the plan's first step.
    """

    key: str
    folder: str
    plan: bytes
    model: dict[str, Any]
    train: dict[str, Any]
    tokenizer: bytes
    shards: Mapping[str, str]
    held_out: Mapping[str, str]
    settings: dict[str, Any]
    provenance: dict[str, Any]
    parent: tuple[str, str, int] | None = None
    also_at: tuple[int, ...] = ()
    probes: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    anew: bool = False
    merge: Merge | None = None
    before: int = 0

    @property
    def first_step(self) -> int:
        """The step of the plan before which nothing is the run's own."""
        return 0 if self.parent is None or self.anew else self.parent[2]


@dataclass(frozen=True)
class Made:
    """The line of a run and the seconds it took; a ``signal`` where one stopped it."""

    line: Line | None
    seconds: float = 0.0
    signal: str | None = None
    exit_code: int = 0


def make_run(task: RunTask) -> Made:
    """Train the run to its end, or go on with it, and write its line. One that comes to a loss that
    is no number is a result: its line says at which step. Checkpoints to merge are measured.
    """
    from tokenizer.encode import Tokenizer
    from trainer.loop.metrics import TIME, read_series
    from trainer.loop.provenance import source_digest

    began = time.perf_counter()
    store, plan = Store(task.folder), Plan.model_validate_json(task.plan)
    tokenizer = Tokenizer.load(task.tokenizer)
    config = ModelSettings.model_validate(task.model).config(tokenizer.vocab_size)
    if task.merge is None:
        trained = _trained(task, store, plan, tokenizer)
        if isinstance(trained, Made):
            return trained
        outcome = _outcome(task, store, plan, config, trained)
    else:
        outcome = _merged(task, task.merge, plan, config, tokenizer)
    line = Line(
        outcome=outcome,
        settings=task.settings,
        provenance={**task.provenance, "source_digest": source_digest()},
    )
    seconds = time.perf_counter() - began
    training = math.fsum(line["seconds"] for line in read_series(store, TIME))
    store.write(TIMES, canonical_json({"seconds": seconds, "training": training}) + b"\n")
    store.write(LINE, line.to_json())  # last: with it the run is made
    return Made(line, seconds)


def _trained(
    task: RunTask, store: Store, plan: Plan, tokenizer: Tokenizer
) -> Made | Diverged | None:
    """Train; what it came to early: stopped by a signal, or diverged."""
    from trainer.loop.run import NotFiniteError
    from trainer.loop.training import train
    from trainer.probes.catalogue import probes_of

    try:
        outcome = train(
            plan,
            {name: task.shards[name] for name in plan.names},
            ModelSettings.model_validate(task.model),
            TrainSettings.model_validate(task.train),
            store,
            tokenizer,
            validation=task.held_out,
            start=_start(task),
            also_at=task.also_at,
            probes=probes_of(task.probes),
        )
    except NotFiniteError as error:
        return Diverged(step=error.step, reason=f"{error.found}")
    if outcome.stopped_by is not None:
        return Made(None, signal=outcome.stopped_by, exit_code=outcome.exit_code)
    return None


def _start(task: RunTask) -> Start | None:
    from trainer.checkpoints.checkpoint import at_step
    from trainer.loop.start import FromCheckpoint, FromWeights

    if task.parent is None:
        return None
    _, folder, step = task.parent
    checkpoint = at_step(folder, step)
    if task.anew:
        return FromWeights.with_moments(checkpoint)
    return FromCheckpoint.branching(checkpoint)


def _merged(
    task: RunTask, merge: Merge, plan: Plan, config: ModelConfig, tokenizer: Tokenizer
) -> Outcome:
    from pipelines.studies.one_merge import merge_losses

    assert task.parent is not None  # a merge has one
    key, folder, step = task.parent
    settings = TrainSettings.model_validate(task.train)
    counts = count_parameters(config)
    return Outcome(
        key=task.key,
        parent=key,
        steps=step,
        tokens=task.before + plan.tokens_before(step),
        own_tokens=0,
        operations=0.0,
        parameters=counts.non_embedding,
        total_parameters=counts.total,
        losses=merge_losses(merge, folder, config, settings, task.held_out, tokenizer),
    )


def _outcome(
    task: RunTask,
    store: Store,
    plan: Plan,
    config: ModelConfig,
    diverged: Diverged | None,
) -> Outcome:
    from trainer.loop.metrics import TRAIN, VALIDATION, probe_series, read_series

    first = task.first_step
    last = plan.steps if diverged is None else diverged.step - 1
    validation = [line for line in read_series(store, VALIDATION) if line["step"] > first]
    names = sorted({name for line in validation for name in line["sources"]})
    course = Course(
        tokens=tuple(task.before + plan.tokens_before(line["step"]) for line in validation),
        losses={
            name: tuple(line["sources"].get(name, {}).get("loss") for line in validation)
            for name in names
        },
    )
    ended: dict[str, Any] = next(
        (line["sources"] for line in validation if line["step"] == plan.steps), {}
    )
    steps = [
        line["loss"]
        for line in read_series(store, TRAIN)
        if last - LAST_STEPS < line["step"] <= last and line["loss"] is not None
    ]
    counts = count_parameters(config)
    own = plan.tokens_before(last) - plan.tokens_before(first)
    return Outcome(
        key=task.key,
        parent=None if task.parent is None else task.parent[0],
        steps=last,
        tokens=task.before + plan.tokens_before(last),
        own_tokens=own,
        operations=float(exact_flops_per_token(config, plan.sequence_length) * own),
        parameters=counts.non_embedding,
        total_parameters=counts.total,
        training_loss=math.fsum(steps) / len(steps) if steps else None,
        losses={
            name: Losses(nats=loss["loss"], bits_per_byte=loss.get("bits_per_byte"))
            for name, loss in sorted(ended.items())
        },
        course=course,
        probes={name: read_series(store, probe_series(name)) for name in sorted(task.probes)},
        diverged=diverged,
    )
