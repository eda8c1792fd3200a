"""From what a probe measured to the costs of a whole training: memory by part, seconds by phase and
branch, disk of the checkpoints that stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from mixtures.plan.format import Plan
from pipelines.training.plans import stable_steps
from pipelines.training.probe import MeasuredMemory, Probed
from trainer.costs.training_memory import (
    TrainingMemory,
    checkpoint_bytes,
    marked_steps,
    training_memory,
)
from trainer.devices.precision import device_of
from trainer.loop.settings import TrainSettings
from trainer.loop.training import milestones
from trainer.shapes.config import ModelConfig


@dataclass(frozen=True)
class MemoryRow:
    """Bytes of a part, resident in the ``process`` or held on a ``gpu``; ``exact`` where they
    follow from the shape, else ``measured``.
    """

    part: str
    bytes: int
    how: Literal["exact", "measured"]
    where: Literal["process", "gpu"] = "process"


@dataclass(frozen=True)
class TimeRow:
    """Seconds of a part. ``tokens`` it trains on, in ``steps`` updates; of what is no training the
    ``times`` that it is done.
    """

    part: str
    seconds: float
    steps: int = 0
    tokens: int = 0
    times: int = 1


def memory_rows(
    config: ModelConfig, settings: TrainSettings, plan: Plan, probed: Probed
) -> tuple[MemoryRow, ...]:
    """Memory by part; the rows of the process sum to the most that was resident in it, those of a
    GPU to the most that torch held there.
    """
    device = device_of(settings.device)
    tokens = max(
        settings.micro_batch_rows(context.sequence_length) * context.sequence_length
        for context in plan.contexts
    )
    precision: Literal["fp32", "bf16"] = "bf16" if settings.resolved_precision == "bf16" else "fp32"
    needed = training_memory(config, tokens, precision, on_gpu=device.type == "cuda")
    found = probed.memory
    host = [
        MemoryRow("the process itself", found.process, "measured"),
        MemoryRow("loader and held-out documents", found.opened - found.process, "measured"),
    ]
    if found.gpu is None:
        model = _model_rows(needed, found.steps - found.opened, "process")
    else:
        host.append(MemoryRow("the GPU's driver", found.steps - found.opened, "measured"))
        model = _model_rows(needed, found.gpu, "gpu")
    return (*host, *model, MemoryRow("measuring and checkpoints", _more(found), "measured"))


def _more(found: MeasuredMemory) -> int:
    """Bytes that measuring and writing a checkpoint took above the steps."""
    return max(0, found.most - found.steps)


def _model_rows(
    needed: TrainingMemory, measured: int, where: Literal["process", "gpu"]
) -> list[MemoryRow]:
    """What the shape decides, and the rest of what was measured: activations, logits, buffers."""
    exact = [
        MemoryRow("weights", needed.weights, "exact", where),
        MemoryRow("master weights", needed.masters, "exact", where),
        MemoryRow("gradients", needed.gradients, "exact", where),
        MemoryRow("moments", needed.moments, "exact", where),
    ]
    rest = max(0, measured - needed.exact)
    return [
        *(row for row in exact if row.bytes),
        MemoryRow("activations, logits and buffers", rest, "measured", where),
    ]


def time_rows(
    settings: TrainSettings,
    plan: Plan,
    branches: Mapping[str, Plan],
    probed: Probed,
    scoring: float | None,
) -> tuple[TimeRow, ...]:
    """Seconds of each phase, of what a training does besides, of each branch as a whole, and of
    scoring every ending.
    """
    stable, endings = stable_steps(plan), 1 + len(branches)
    rows = [
        TimeRow(
            name,
            _updates(plan, probed, first, last),
            last - first,
            plan.tokens_before(last) - plan.tokens_before(first),
        )
        for name, first, last in _phases(plan)
    ]
    rows.append(TimeRow("start", probed.starting))
    rows += _besides(settings, plan, probed, 0)
    for name, branch in branches.items():
        rows.append(_branch(settings, name, branch, probed, stable))
    if branches and probed.held_out:  # the start and every branch once more
        rows.append(TimeRow("comparison of branches", probed.held_out * endings, times=endings))
    if scoring:
        rows.append(TimeRow("scores on tasks", scoring * endings, times=endings))
    return tuple(rows)


def _phases(plan: Plan) -> list[tuple[str, int, int]]:
    """Names of the phases with their first and last + 1 steps; the pieces of one together."""
    return [
        (name, parts[0].first_step, parts[-1].last_step)
        for name, group in groupby(plan.segments, key=lambda segment: segment.name)
        if (parts := list(group))
    ]


def _updates(plan: Plan, probed: Probed, first: int, last: int) -> float:
    """Seconds of the updates ``first`` + 1 to ``last``."""
    seconds = 0.0
    starts = [*plan.context_starts, plan.steps]
    for context, end in zip(plan.contexts, starts[1:], strict=True):
        steps = max(0, min(last, end) - max(first, context.first_step))
        if steps:
            size = context.sequence_length, context.batch_windows
            seconds += steps * probed.speeds[size].seconds
    return seconds


def _besides(settings: TrainSettings, plan: Plan, probed: Probed, first: int) -> list[TimeRow]:
    """Measuring and checkpoints of a training from step ``first`` on."""
    ends = milestones(plan)
    rows = []
    if probed.held_out is not None:
        times = len(marked_steps(first, plan.steps, settings.validate_every, ends))
        rows.append(TimeRow("held-out documents", times * probed.held_out, times=times))
    if probed.saving is not None:
        times = len(marked_steps(first, plan.steps, settings.checkpoint_every, ends))
        rows.append(TimeRow("checkpoints", times * probed.saving, times=times))
    return rows


def _branch(settings: TrainSettings, name: str, plan: Plan, probed: Probed, start: int) -> TimeRow:
    seconds = probed.starting + _updates(plan, probed, start, plan.steps)
    seconds += sum(row.seconds for row in _besides(settings, plan, probed, start))
    tokens = plan.tokens - plan.tokens_before(start)
    return TimeRow(f"branch {name}", seconds, plan.steps - start, tokens)


def disk(
    config: ModelConfig, plan: Plan, branches: Mapping[str, Plan], every: int, beside: int
) -> tuple[int, int]:
    """Checkpoints that stay of a training and its branches, and their bytes; ``beside`` are those
    of plan and tokenizer in each.
    """
    kept = len(marked_steps(0, plan.steps, every, milestones(plan)))
    kept += int(plan.decay_step == 0)  # where a training begins with its decay, its start stays
    first = stable_steps(plan)
    for branch in branches.values():
        kept += len(marked_steps(first, branch.steps, every, milestones(branch)))
    return kept, kept * checkpoint_bytes(config, beside)
