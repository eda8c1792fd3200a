"""Decay one checkpoint by several mixtures, each over several seeds, as many at a time as there is
room for.

    asked = SeedsAsked(start, {"a": phases_a, "b": phases_b}, settings, seeds=3)
    table = compare_seeds(asked, materials, output, store, progress)

Every branch lies under ``output/MIXTURE-XXXXXXXX``, named after its plan and its decay, so one that
was made is found again. Each computes with as many threads as the trunk did, so the bits are the
same for every number of workers.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artifacts.books import sealed
from artifacts.errors import Move, UserError
from artifacts.fingerprints import canonical_json, content_key
from artifacts.paths import Store
from mixtures.freeze.decay_seeds import check_rooms, seed_notes
from mixtures.plan.format import Plan
from mixtures.spec.phase import PhaseSpec
from pipelines.executors import Executor, InProcessExecutor
from pipelines.executors.progress import Progress
from pipelines.executors.termination import sigterm_exits
from pipelines.report.seed_table import BOOK, SeedEnd, SeedTable
from pipelines.training.board import board_run
from pipelines.training.branch_task import BranchEnd, BranchTask, make_branch
from pipelines.training.branches_watch import BranchesWatch
from pipelines.training.endings import settled_ending
from pipelines.training.materials import Materials
from pipelines.training.not_finite import advised_branch
from pipelines.training.watch import StoppedError
from trainer.checkpoints.checkpoint import Checkpoint
from trainer.devices.determinism import deterministic
from trainer.devices.precision import device_of
from trainer.loop.branch import branch_plan, check_stable, equal_tokens, measured_at
from trainer.loop.settings import TrainSettings

NOTHING_HELD_OUT = "nothing is held out that fills a window, so no losses are compared"


@dataclass(frozen=True)
class SeedsAsked:
    """What is to be compared: the phases of each mixture by name, under these settings, over so
    many seeds. ``places``: where the file of a mixture says what an address of its phases speaks
    of. ``keep``: go on with weights that have seen a document which was taken down since.
    ``notes``: sentences for the comparison.
    """

    start: Checkpoint
    mixtures: Mapping[str, Sequence[PhaseSpec]]
    settings: TrainSettings
    seeds: int = 1
    places: Mapping[str, Move] = field(default_factory=dict)
    keep: bool = False
    notes: tuple[str, ...] = ()

    @property
    def threads(self) -> int:
        """Those that the trunk was trained with."""
        return self.settings.threads or self.start.state.history[-1].threads


@dataclass(frozen=True)
class PlannedSeed:
    """A seed of a mixture, from 1: the plan of its branch, and its folder below the output."""

    mixture: str
    seed: int
    plan: Plan
    folder: str

    @property
    def title(self) -> str:
        return f"{self.mixture} seed {self.seed}"


def planned_seeds(
    asked: SeedsAsked, materials: Materials, output: str, run: Store
) -> list[PlannedSeed]:
    """The plans of all seeds; they record what was taken down of the shards. Raises: UserError
    where data do not suffice, where branches differ in tokens, and as
    :func:`pipelines.training.endings.ending_plans`.
    """
    start, planned = asked.start, []
    check_stable(start)
    decay = asked.settings.schedule.decay.model_dump(mode="json")
    for name, phases in asked.mixtures.items():
        try:
            made = _plans(asked, materials, name, phases)
        except UserError as error:
            place = asked.places.get(name)
            raise (error if place is None else error.relocated(place)) from None
        for seed, plan in enumerate(made, 1):
            key = content_key({"plan": plan.hash, "decay": decay})[:8]
            folder = f"{name}-{key}"
            below = Store(f"{output.rstrip('/')}/{folder}")
            ended = settled_ending(start, plan, materials, below, run, keep=asked.keep)
            planned.append(PlannedSeed(name, seed, ended, folder))
    return planned


def compare_seeds(
    asked: SeedsAsked,
    materials: Materials,
    output: str,
    run: Store,
    run_name: str,
    progress: Progress,
    workers: int | None = None,
) -> SeedTable:
    """Train all branches that are not there, ``workers`` at a time (default as many as the cores
    have room for), and write the comparison beside them.

    Raises: StoppedError after a signal; UserError as :func:`planned_seeds` and
    :func:`trainer.loop.branch.end`.
    """
    planned = planned_seeds(asked, materials, output, run)
    tokens = equal_tokens({one.folder: one.plan for one in planned}, asked.start)
    lengths = [*materials.folders], asked.settings.sequence_length
    for sentence in materials.too_short(*lengths):
        progress.note(sentence)
    held_out = materials.held_out(*lengths)
    with deterministic(asked.threads):
        measured = measured_at(asked.start, held_out, asked.settings)
    tasks = [
        _task(place, one, asked, materials, output, held_out, run, run_name)
        for place, one in enumerate(planned)
    ]
    ends = _carried_out(tasks, planned, asked, workers, progress)
    table = SeedTable(
        checkpoint=asked.start.folder.removeprefix(f"{run.base.rstrip('/')}/"),
        step=asked.start.state.step,
        tokens=tokens,
        schedule=asked.settings.schedule.model_dump(mode="json"),
        start={source: found.to_json() for source, found in measured.items()},
        ends=tuple(
            SeedEnd(one.mixture, one.seed, one.folder, dict(end.losses))
            for one, end in zip(planned, ends, strict=True)
        ),
        notes=(*_notes(asked, planned), *(() if held_out else (NOTHING_HELD_OUT,))),
    )
    name = f"{BOOK}{content_key({'folders': [one.folder for one in planned]})[:8]}.json"
    Store(output).write(name, canonical_json(sealed(table.to_json())) + b"\n")
    return table


def room_for(workers: int | None, threads: int, branches: int) -> int:
    """How many branches are trained at one time: ``workers``, else as many as the cores have room
    for at so many threads each; never more than there are.
    """
    cores = len(os.sched_getaffinity(0))
    return max(1, min(workers or cores // threads, branches))


def _plans(
    asked: SeedsAsked, materials: Materials, name: str, phases: Sequence[PhaseSpec]
) -> list[Plan]:
    """The plan of each seed of a mixture."""
    start = asked.start
    first = branch_plan(start, phases, materials.folders, name)
    if asked.seeds > 1:
        check_rooms(first, start.state.step, asked.seeds)  # said of all of them
    later = range(1, asked.seeds)
    return [first, *(branch_plan(start, phases, materials.folders, name, each) for each in later)]


def _task(
    place: int,
    one: PlannedSeed,
    asked: SeedsAsked,
    materials: Materials,
    output: str,
    held_out: Mapping[str, Path | str],
    run: Store,
    run_name: str,
) -> BranchTask:
    folder = f"{output.rstrip('/')}/{one.folder}"
    return BranchTask(
        place=place,
        checkpoint=asked.start.folder,
        folder=folder,
        plan=one.plan.to_json(),
        train=asked.settings.model_dump(),
        threads=asked.threads,
        shards={name: str(materials.folders[name]) for name in one.plan.names},
        held_out={name: str(shards) for name, shards in held_out.items()},
        board=board_run(run, run_name, one.folder, folder),
    )


def _carried_out(
    tasks: Sequence[BranchTask],
    planned: Sequence[PlannedSeed],
    asked: SeedsAsked,
    workers: int | None,
    progress: Progress,
) -> list[BranchEnd]:
    steps = planned[0].plan.steps - asked.start.state.step
    watch = BranchesWatch(progress, [one.title for one in planned], steps)

    def done(place: int, end: BranchEnd) -> None:
        if end.signal is not None:
            raise StoppedError(end.signal, end.exit_code)
        watch.ended(place, end)

    executor = _opened(asked, workers, len(tasks), watch)
    make = make_branch
    if isinstance(executor, InProcessExecutor):
        make = functools.partial(make_branch, told=watch.step)
    try:
        with sigterm_exits(), advised_branch():
            ends = executor.map(make, tasks, done)
    except KeyboardInterrupt:  # the tasks that ran have written their checkpoints
        raise StoppedError(signal.SIGINT.name, 128 + signal.SIGINT) from None
    except SystemExit:
        raise StoppedError(signal.SIGTERM.name, 128 + signal.SIGTERM) from None
    finally:
        executor.close()
    watch.close()
    return ends


def _opened(
    asked: SeedsAsked, workers: int | None, branches: int, watch: BranchesWatch
) -> Executor:
    from pipelines.executors.processes import ProcessExecutor

    gpus = _gpus(asked.settings)
    if gpus:
        room = min(workers or len(gpus), len(gpus), branches)
    else:
        room = room_for(workers, asked.threads, branches)
    if room == 1:
        return InProcessExecutor()
    seen = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus[:room]]
    return ProcessExecutor(room, seen, told=watch.step)


def _gpus(settings: TrainSettings) -> list[str]:
    """The GPUs that branches are dealt out to; none where they compute on the processor."""
    import torch

    if device_of(settings.device).type != "cuda":
        return []
    return [str(number) for number in range(torch.cuda.device_count())]


def _notes(asked: SeedsAsked, planned: Sequence[PlannedSeed]) -> list[str]:
    """What is to be known of the branches beside their losses."""
    step, firsts = asked.start.state.step, [one for one in planned if one.seed == 1]
    notes: dict[str, Any] = dict.fromkeys(asked.notes)
    if asked.seeds > 1:
        notes |= dict.fromkeys(
            f"{one.mixture}: {sentence}" if len(firsts) > 1 else sentence
            for one in firsts
            for sentence in seed_notes(one.plan, step)
        )
    decays = {one.mixture: one.plan.decay_step is not None for one in firsts}
    without = [name for name, decaying in decays.items() if not decaying]
    if without and len(without) < len(decays):
        notes[
            f"not equal: the learning rate of {', '.join(without)} does not decay, that of the "
            "others does"
        ] = None
    return [*notes]
