"""What a training costs, by making some of its steps with a model that nobody keeps.

    ground = ShardGround([plan, *branches], point, …) or RandomGround([plan, *branches], point, …)
    found = probe(ground, settings, scratch, progress)
    found.speeds[256, 16].seconds, found.held_out, found.memory

Of each size of batch in the plan :data:`STEPS` updates are timed after :data:`WARMING`, with the
recipe's model, threads and precision and, where there are shards, its very batches. Then held-out
documents are measured once, and one checkpoint is written to a folder that is removed again.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Protocol

import torch

from artifacts.paths import Store
from mixtures.loader.loader import Batch
from mixtures.plan.format import Plan
from pipelines.executors.memory import peak_bytes, reset_peak
from pipelines.executors.progress import Progress
from pipelines.training.starting import StartingPoint
from trainer.checkpoints import checkpoint
from trainer.checkpoints.moments import moment_tensors
from trainer.checkpoints.state import CheckpointState
from trainer.costs.training_memory import checkpoint_bytes
from trainer.devices.determinism import deterministic
from trainer.devices.precision import computing_in, device_of
from trainer.evaluation.held_out import HeldOut
from trainer.loop.board import Board, BoardRun
from trainer.loop.run import optimizer_of
from trainer.loop.settings import TrainSettings
from trainer.loop.start import FromSeed
from trainer.model import Model
from trainer.model.float8 import use_float8
from trainer.objectives.gradient import pending_loss
from trainer.objectives.next_token import NextToken
from trainer.objectives.objective import Place
from trainer.optimizer.adamw import AdamW
from trainer.optimizer.schedules import rate

STEPS = 20
WARMING = 3
"""First updates of a size of batch, which also compile and fill caches."""

ROOM = 2
"""Checkpoints that must fit on the disk for one to be tried."""

_SCHEDULED = Path("/proc/thread-self/schedstat")

Size = tuple[int, int]
"""Tokens of a window, windows of a batch."""


class Ground(Protocol):
    """What a probe trains on. ``plans``: that of the training, then those of its branches."""

    @property
    def plans(self) -> tuple[Plan, ...]: ...

    @property
    def point(self) -> StartingPoint: ...

    @property
    def objective(self) -> NextToken: ...

    def batches(self, plan: Plan, first: int, last: int) -> Generator[Batch]:
        """Batches of steps ``first`` to ``last`` - 1 of a plan."""
        ...

    def held_out(self) -> HeldOut | None:
        """The held-out documents that are measured, None where there are none."""
        ...


@dataclass(frozen=True)
class Speed:
    """Updates of one size of batch: ``tokens`` of a step, ``seconds`` that each took."""

    tokens: int
    each: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """Mean of a step."""
        return mean(self.each)

    @property
    def half_width(self) -> float | None:
        """Half of the 95 % interval of the mean, by the normal distribution; None of one step."""
        return 1.96 * stdev(self.each) / sqrt(len(self.each)) if len(self.each) > 1 else None

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds


@dataclass(frozen=True)
class MeasuredMemory:
    """Most bytes that were resident, counted from the start of the process: ``process`` before
    anything was opened, ``opened`` with batches and held-out documents, ``steps`` while training,
    ``most`` with measuring and writing a checkpoint. ``gpu`` is what torch held on a GPU while
    training, None on a CPU.
    """

    process: int
    opened: int
    steps: int
    most: int
    gpu: int | None = None


@dataclass(frozen=True)
class Probed:
    """What a probe found, in seconds: ``starting`` until the first step and what the first ones
    took longer than others, ``held_out`` for one measuring, ``saving`` for one checkpoint (None
    where it had no room to be tried). ``waited`` is the share of the time in which the training
    was ready and other programs had the processor; None where the system does not tell.
    """

    speeds: Mapping[Size, Speed]
    starting: float
    held_out: float | None
    saving: float | None
    memory: MeasuredMemory
    waited: float | None


def probe(ground: Ground, settings: TrainSettings, scratch: Path, progress: Progress) -> Probed:
    """Make some steps of a training and forget them. ``scratch``: a folder that is there, on the
    disk that checkpoints go to; it is left as it was.
    """
    with deterministic(settings.threads), computing_in(settings.resolved_precision):
        return _Probe(ground, settings, progress).made(scratch)


@dataclass
class _Probe:
    ground: Ground
    settings: TrainSettings
    progress: Progress

    def made(self, scratch: Path) -> Probed:
        reset_peak()
        process, clock = peak_bytes(), time.perf_counter()
        held, device = self._opened(scratch), device_of(self.settings.device)
        reset_peak()
        opened = peak_bytes()
        model = self._model(device)
        optimizer = optimizer_of(model, self.settings)
        starting = time.perf_counter() - clock
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        clock, delay = time.perf_counter(), _delay()
        speeds, extra = self._speeds(model, optimizer)
        steps = peak_bytes()
        gpu = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
        held_out = None if held is None else self._measured(model, held)
        saving = self._saved(optimizer, scratch)
        waited = _share(delay, _delay(), time.perf_counter() - clock)
        memory = MeasuredMemory(process, opened, steps, peak_bytes(), gpu)
        return Probed(speeds, starting + extra, held_out, saving, memory, waited)

    def _opened(self, scratch: Path) -> HeldOut | None:
        """Open what a training has open: a batch, TensorBoard, the held-out documents, which are
        returned.
        """
        held = self.ground.held_out()
        with closing(self.ground.batches(self.ground.plans[0], 0, 1)) as batches:
            next(batches)
        if self.settings.tensorboard:
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                board = Board(BoardRun(folder), 0)
                board.record("train", 1, [("loss", 0.0)])
                board.close()
        return held

    def _model(self, device: torch.device) -> Model:
        """The model with the weights that its training starts at."""
        start = self.ground.point.start() or FromSeed()
        model = Model(self.ground.point.config).to(device)
        if self.settings.float8:
            use_float8(model, device)
        start.fill(model, self.settings.seed)
        return model

    def _speeds(self, model: Model, optimizer: AdamW) -> tuple[dict[Size, Speed], float]:
        """Of each size of batch the updates that were timed, and the seconds that warming took
        longer than as many of these.
        """
        found: dict[Size, Speed] = {}
        extra = 0.0
        for size, (plan, first, last) in _longest(self.ground.plans).items():
            last = min(last, first + WARMING + STEPS)
            title = f"probe: {size[1]:,} windows of {size[0]:,} tokens"
            self.progress.phase(title, last - first, 0, 0)
            each = [*self._timed(model, optimizer, plan, first, last)]
            self.progress.end([])
            warming = min(WARMING, len(each) - 1)  # a plan may be shorter
            found[size] = Speed(size[0] * size[1], tuple(each[warming:]))
            extra += max(0.0, sum(each[:warming]) - warming * found[size].seconds)
        return found, extra

    def _timed(
        self, model: Model, optimizer: AdamW, plan: Plan, first: int, last: int
    ) -> Iterator[float]:
        """Seconds of each update, reading included."""
        schedule = self.settings.without_ends().schedule_of(plan)
        clock = time.perf_counter()
        for step, batch in enumerate(self.ground.batches(plan, first, last), first):
            self._update(model, optimizer, batch, step, rate(schedule, step + 1), plan.names)
            now = time.perf_counter()
            yield now - clock
            self.progress.advance(1, 0)
            clock = time.perf_counter()

    def _update(
        self,
        model: Model,
        optimizer: AdamW,
        batch: Batch,
        step: int,
        lr: float,
        names: Sequence[str],
    ) -> None:
        """What :meth:`trainer.loop.run.Run.update` does, whatever comes of it."""
        objective = self.ground.objective
        rows = self.settings.micro_batch_rows(batch.tokens.shape[1])
        pending = pending_loss(objective, model, batch, Place(step), rows, backward=True)
        norm = optimizer.clip(self.settings.clip, pending.minimised)
        optimizer.step(lr)
        optimizer.zero_grad()
        found, _ = pending.read(), float(norm)
        objective.figures(objective.measure(batch, found.kept, names))

    def _measured(self, model: Model, held: HeldOut) -> float:
        clock = time.perf_counter()
        held.measure(model, self.ground.objective)
        return time.perf_counter() - clock

    def _saved(self, optimizer: AdamW, scratch: Path) -> float | None:
        """Seconds to write a checkpoint; None where the disk has no room to try."""
        needed = ROOM * checkpoint_bytes(self.ground.point.config)
        if shutil.disk_usage(scratch).free < needed:
            return None
        with tempfile.TemporaryDirectory(prefix=".writing-probe-", dir=scratch) as folder:
            clock = time.perf_counter()
            plan = self.ground.plans[0].to_json()
            checkpoint.save(
                Store(folder),
                _state(self.ground),
                optimizer.weights(),
                moment_tensors(optimizer),
                {checkpoint.PLAN: plan},
            )
            return time.perf_counter() - clock


def _delay() -> int | None:
    """Nanoseconds in which this thread was ready to run and did not; None where the system does
    not tell.
    """
    try:
        return int(_SCHEDULED.read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None


def _share(before: int | None, after: int | None, seconds: float) -> float | None:
    """The share of ``seconds`` that a delay grew by."""
    return None if before is None or after is None else (after - before) / 1e9 / seconds


def _longest(plans: Sequence[Plan]) -> dict[Size, tuple[Plan, int, int]]:
    """Of each size of batch the longest stretch of steps that has it: its plan, first and last + 1
    steps.
    """
    found: dict[Size, tuple[Plan, int, int]] = {}
    for plan in plans:
        ends = [*plan.context_starts[1:], plan.steps]
        for context, last in zip(plan.contexts, ends, strict=True):
            size, first = (context.sequence_length, context.batch_windows), context.first_step
            if size not in found or last - first > found[size][2] - found[size][1]:
                found[size] = plan, first, last
    return found


def _state(ground: Ground) -> CheckpointState:
    """Of a checkpoint that nobody will read."""
    facts: dict[str, Any] = {"history": (), "schedule": {}, "settings": {}, "seeds": {}}
    return CheckpointState(
        step=0,
        tokens=0,
        plan_hash=ground.plans[0].hash,
        model=ground.point.config.recorded(),
        tokenizer_hash="",
        **facts,
    )
