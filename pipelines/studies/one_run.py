"""Make one run of an experiment: train it, and write its line. A task of an executor."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from artifacts.fingerprints import canonical_json
from artifacts.paths import Store
from mixtures.plan.format import Plan
from pipelines.studies.lines import Line
from trainer.costs.compute_costs import exact_flops_per_token
from trainer.experiments.outcomes import Course, Diverged, Losses, Outcome
from trainer.loop.settings import ModelSettings, TrainSettings
from trainer.shapes.config import ModelConfig
from trainer.shapes.parameter_counts import count_parameters

LINE = "line.json"
TIMES = "time.json"
LAST_STEPS = 10
"""Over which the training loss of a run is the mean."""


@dataclass(frozen=True)
class RunTask:
    """A run to be made in ``folder``: plan as its JSON, settings as plain values.

    ``parent``: key, folder and step of the checkpoint it goes on from. ``also_at``: steps at which
    a checkpoint is kept, for endings. ``provenance``: what its line says of how it was computed.
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


@dataclass(frozen=True)
class Made:
    """The line of a run and the seconds it took; a ``signal`` where one stopped it."""

    line: Line | None
    seconds: float = 0.0
    signal: str | None = None
    exit_code: int = 0


def make_run(task: RunTask) -> Made:
    """Train the run to its end, or go on with it, and write its line. One that comes to a loss that
    is no number is a result: its line says at which step.
    """
    from tokenizer.encode import Tokenizer
    from trainer.checkpoints.checkpoint import at_step
    from trainer.loop.metrics import TIME, read_series
    from trainer.loop.provenance import source_digest
    from trainer.loop.run import NotFiniteError
    from trainer.loop.training import train
    from trainer.probes.catalogue import probes_of

    began = time.perf_counter()
    store, plan = Store(task.folder), Plan.model_validate_json(task.plan)
    tokenizer = Tokenizer.load(task.tokenizer)
    model = ModelSettings.model_validate(task.model)
    config = model.config(tokenizer.vocab_size)
    start = None
    if task.parent is not None:
        _, folder, step = task.parent
        start = at_step(folder, step)
    first = 0 if start is None else start.state.step
    diverged = None
    try:
        outcome = train(
            plan,
            {name: task.shards[name] for name in plan.names},
            model,
            TrainSettings.model_validate(task.train),
            store,
            tokenizer,
            validation=task.held_out,
            start=start,
            also_at=task.also_at,
            probes=probes_of(task.probes),
        )
        if outcome.stopped_by is not None:
            return Made(None, signal=outcome.stopped_by, exit_code=outcome.exit_code)
    except NotFiniteError as error:
        diverged = Diverged(step=error.step, reason=f"{error.found}")
    line = Line(
        outcome=_outcome(task, store, plan, config, first, diverged),
        settings=task.settings,
        provenance={**task.provenance, "source_digest": source_digest()},
    )
    seconds = time.perf_counter() - began
    trained = math.fsum(line["seconds"] for line in read_series(store, TIME))
    store.write(TIMES, canonical_json({"seconds": seconds, "training": trained}) + b"\n")
    store.write(LINE, line.to_json())  # last: with it the run is made
    return Made(line, seconds)


def _outcome(
    task: RunTask,
    store: Store,
    plan: Plan,
    config: ModelConfig,
    first: int,
    diverged: Diverged | None,
) -> Outcome:
    from trainer.loop.metrics import TRAIN, VALIDATION, probe_series, read_series

    last = plan.steps if diverged is None else diverged.step - 1
    validation = [line for line in read_series(store, VALIDATION) if line["step"] > first]
    names = sorted({name for line in validation for name in line["sources"]})
    course = Course(
        tokens=tuple(plan.tokens_before(line["step"]) for line in validation),
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
        tokens=plan.tokens_before(last),
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
