"""What a worker does to one chunk: read it, then measure, rewrite and choose, in one task.

Steps that need nothing but their own chunk are fused into one task, so that the text is decoded
once. Each step still publishes its own unit under its own key; a step whose unit is there already
is skipped, and one run with ``compute=False`` only looks. Steps carry themselves out
(:class:`pipelines.stages.base.ChunkStep`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from artifacts.errors import UserError
from artifacts.fingerprints import content_key
from artifacts.ledger import Entry
from artifacts.paths import Store
from artifacts.publish import Manifest, Publication, found_or_made
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.outcomes import ChunkResult, StepOutcome
from pipelines.corpus.texts import sound_texts
from pipelines.executors.memory import peak_bytes, reset_peak
from pipelines.stages.base import ChunkStep
from pipelines.stages.chunk_work import ChunkWork, Resources


@dataclass(frozen=True)
class ChunkTask:
    """Everything a worker needs, nothing else."""

    root: str  # of the run's store
    chunk: Chunk
    steps: tuple[ChunkStep, ...]
    resources: Resources = field(default_factory=Resources)

    def work(self, hold: bool = False) -> ChunkWork:
        return ChunkWork(Store(self.root), self.chunk, self.resources, hold)


def run_chunk(task: ChunkTask, compute: bool = True) -> ChunkResult | None:
    """Take a chunk through its steps; None if ``compute`` is off and something has to be made."""
    reset_peak()
    work = task.work()
    outcomes = _carry_out(work, task.steps, compute)
    return None if outcomes is None else ChunkResult(work.chunk, outcomes, peak_bytes())


def read_chunk(task: ChunkTask, compute: bool = True) -> ChunkResult | None:
    """Carry out a task's first step, which reads, and after it the others while the text is in
    memory.

    The result is that of the first step alone: whether the others' units are there decides nothing,
    and a mistake in them is left to the task they belong to.
    """
    found = run_chunk(replace(task, steps=task.steps[:1]), compute=False)
    if found is not None or not compute:
        return found
    work = task.work(hold=len(task.steps) > 1)
    reset_peak()
    outcomes = _carry_out(work, task.steps[:1], compute=True)
    assert outcomes is not None
    read, ahead = work.chunk, None
    with contextlib.suppress(UserError):
        ahead = _carry_out(work, task.steps[1:], compute=True)
    return ChunkResult(read, outcomes, peak_bytes(), ahead or ())


def _carry_out(
    work: ChunkWork, steps: Sequence[ChunkStep], compute: bool
) -> tuple[StepOutcome, ...] | None:
    """Take a chunk through steps, in order; None if ``compute`` is off and something has to be
    made.
    """
    outcomes = []
    source = work.chunk.source
    for step in steps:
        started = time.monotonic()
        if not step.has_work(work.chunk):
            entry = step.passed_over(work.store, work.chunk)
            if entry is not None:
                outcome = StepOutcome(step.name, step.chooses, source, entry, False, 0.0, {})
                outcomes.append(replace(outcome, idle=step.occasional))
            continue
        made = _found_or_made(work, step, compute)
        if made is None:
            return None
        manifest, computed = made
        work.move(step.moved(work.chunk, manifest))
        facts = {name: value for name, value in manifest.facts.items() if name != "entry"}
        entry = Entry.from_json(manifest.facts["entry"])
        seconds = time.monotonic() - started
        units = (manifest.prefix,)
        outcomes.append(
            StepOutcome(step.name, step.chooses, source, entry, computed, seconds, facts, units)
        )
    return tuple(outcomes)


def _found_or_made(work: ChunkWork, step: ChunkStep, compute: bool) -> tuple[Manifest, bool] | None:
    """A step's unit, and whether it had to be made."""
    inputs = step.inputs(work.chunk, work.resources)
    prefix = f"{step.area}/{step.name}/{content_key({'area': step.area, **inputs})}"

    def make(unit: Publication) -> None:
        with sound_texts(work.store, work.chunk):
            unit.facts["entry"] = step.make(work, unit).to_json()

    return found_or_made(work.store, prefix, inputs, make, compute)


__all__ = ["ChunkTask", "read_chunk", "run_chunk"]
