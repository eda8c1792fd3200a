"""Carry out an experiment: make the runs that are not there, and say what they came to.

    outcome = run_study(load_experiment("lr.yaml"), runs="runs", workers=2)
    outcome.findings.claims

A design is asked for points until it wants no other (:mod:`trainer.experiments.design`). Of what it
wants, runs that nobody waits for go after those that endings start from, the costliest first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from artifacts.books import told_of_damage
from artifacts.errors import UserError
from artifacts.ledger import Ledger
from artifacts.lock import run_lock
from artifacts.paths import Store
from pipelines.executors import Executor, InProcessExecutor
from pipelines.executors.progress import Progress, Silent
from pipelines.executors.termination import sigterm_exits
from pipelines.studies.base import Ground, ground
from pipelines.studies.experiment import LoadedExperiment
from pipelines.studies.held_out import NearlyHeld, check_held_out, held_nearly, held_out_table
from pipelines.studies.lines import Line, read_lines
from pipelines.studies.one_run import Made, RunTask, make_run
from pipelines.studies.prepared import Prepared, Preparing
from pipelines.studies.shelf import Shelf
from pipelines.studies.written import written
from pipelines.training.watch import StoppedError
from trainer.experiments.design import Measured, with_parents
from trainer.experiments.findings import Findings
from trainer.experiments.outcomes import Diverged, Outcome
from trainer.experiments.runs import Point, RunSpec

STUDIES = "studies"
AGAIN = "again"
AT_ONCE = "wait for it, or stop it: experiments on one recipe share their runs, one at a time"


@dataclass(frozen=True)
class StudyOutcome:
    """What an experiment came to. ``lines``: of all its runs by key; ``made``: keys of those that
    this call made; ``folder``: where its table and findings lie.
    """

    experiment: LoadedExperiment
    ground: Ground
    folder: Store
    points: Sequence[Measured]
    lines: dict[str, Line]
    made: tuple[str, ...]
    findings: Findings


@dataclass
class Study:
    """An experiment at work. ``shelf``: lines and checkpoints of runs that are there."""

    loaded: LoadedExperiment
    ground: Ground
    preparing: Preparing
    shelf: Shelf
    open_executor: Callable[[int], Executor]
    progress: Progress
    made: list[str] = field(default_factory=list)

    @classmethod
    def begin(
        cls,
        loaded: LoadedExperiment,
        runs: str,
        open_executor: Callable[[int], Executor],
        progress: Progress,
    ) -> Study:
        """Raises: UserError as :func:`pipelines.studies.base.ground`."""
        on = ground(loaded, runs, progress)
        shelf = Shelf(Store(on.store.full(STUDIES)))
        for name in loaded.experiment.lines:
            shelf.add(read_lines(loaded.full(name)))
        preparing = Preparing(on, loaded.experiment.threads)
        return cls(loaded, on, preparing, shelf, open_executor, progress)

    def points(self) -> list[Point]:
        """What the design wants, given what is there. Raises: UserError for settings of the design
        that do not fit the recipe.
        """
        try:
            return self.loaded.design.points(self.ground.base, self.outcome)
        except UserError as error:
            raise error.relocated(self.loaded.file.place) from None

    def outcome(self, run: RunSpec) -> Outcome | None:
        """What a run left, None where it is not made."""
        line = self.shelf.lines.get(self.preparing.of(run).key)
        return None if line is None else line.outcome

    def lines_of(self, points: Iterable[Point]) -> dict[str, Line]:
        """Lines of the points' runs and of those they go on from, by key."""
        wanted = self.preparing.all_of(with_parents(points))
        for run in wanted:
            if run.key not in self.shelf.lines:
                raise UserError(
                    "a run of this experiment is not made yet",
                    file=self.shelf.folder(run.key),
                    fix="carry the experiment out first",
                )
        return {run.key: self.shelf.lines[run.key] for run in wanted}

    def carry_out(self) -> list[Measured]:
        """Make everything that the design wants. Raises: StoppedError after a signal."""
        while True:
            points = self.points()
            missing = self.missing(points)
            if not missing:
                break
            self._make(missing, points)
        return [
            Measured(point, outcome, self.shelf.seconds(outcome.key))
            for point in points
            if (outcome := self.outcome(point.run)) is not None
        ]

    def missing(self, points: Iterable[Point]) -> list[Prepared]:
        """Runs that have to be made, parents first: those without a line, and those without a
        checkpoint that an ending starts from.
        """
        wanted = self.preparing.all_of(with_parents(points))
        lacking: dict[str, Prepared] = {}
        for run in reversed(wanted):  # endings before what they start from
            if run.key in self.shelf.lines and run.key not in lacking:
                continue
            lacking[run.key] = run
            parent = run.parent
            if parent is None or self._diverged(parent):
                continue
            if not all(self.shelf.has_checkpoint(parent.key, step) for step in run.run.starts):
                lacking[parent.key] = parent
        return [run for run in wanted if run.key in lacking]

    def _make(self, missing: Sequence[Prepared], points: Sequence[Point]) -> None:
        """Make runs, level by level."""
        wanted = self.preparing.all_of(with_parents(points))
        also_at: dict[str, set[int]] = {}
        for run in wanted:
            if run.parent is not None:
                also_at.setdefault(run.parent.key, set()).update(run.run.starts)
        depths = sorted({run.run.depth for run in missing})
        for depth in depths:
            level = [run for run in missing if run.run.depth == depth]
            level = [run for run in level if not self._lost_its_parent(run)]
            level.sort(key=lambda run: (-run.operations, run.key))
            tasks = [self._task(run, sorted(also_at.get(run.key, ()))) for run in level]
            self._map(level, tasks)

    def _map(self, level: Sequence[Prepared], tasks: Sequence[RunTask]) -> None:
        if not tasks:
            return
        self.progress.phase("runs", len(tasks), 0, 0)
        executor = self.open_executor(len(tasks))

        def done(place: int, made: Made) -> None:
            if made.line is None:
                raise StoppedError(made.signal or "", made.exit_code)
            self.shelf.put(level[place].key, made.line)
            self.made.append(level[place].key)
            self.progress.advance(1, 0)
            self.progress.stands(_said(level[place], made.line))

        try:
            with sigterm_exits():
                executor.map(make_run, tasks, done)
        except KeyboardInterrupt:  # the runs at work have written their checkpoints
            raise StoppedError("SIGINT", 130) from None
        finally:
            executor.close()
        self.progress.end([Ledger("runs", units=len(tasks), computed=len(tasks))])

    def _task(self, run: Prepared, also_at: Sequence[int]) -> RunTask:
        materials, parent = self.ground.materials, run.parent
        return RunTask(
            key=run.key,
            folder=self.shelf.begun(run.key),
            plan=run.plan.to_json(),
            model=run.model.model_dump(exclude_none=True),
            train=run.train.model_dump(),
            tokenizer=materials.tokenizer.model,
            shards={name: str(materials.folders[name]) for name in run.plan.names},
            held_out={name: str(folder) for name, folder in self.ground.held_out.items()},
            settings=run.settings(),
            provenance={**self.preparing.provenance, "plan": run.plan.hash},
            parent=None
            if parent is None
            else (parent.key, self.shelf.folder(parent.key), run.run.from_step),
            also_at=tuple(also_at),
            probes=run.run.probes,
            anew=run.run.anew,
            merge=run.run.merge,
            before=run.before,
        )

    def _diverged(self, run: Prepared) -> bool:
        line = self.shelf.lines.get(run.key)
        return line is not None and line.outcome.diverged is not None

    def _lost_its_parent(self, run: Prepared) -> bool:
        """Whether a run cannot begin because its parent diverged; it is a point all the same."""
        if run.parent is None or not self._diverged(run.parent):
            return False
        self._never_began(run)
        return True

    def _never_began(self, run: Prepared) -> None:
        assert run.parent is not None
        before = self.shelf.lines[run.parent.key]
        assert before.outcome.diverged is not None
        step = before.outcome.diverged.step
        outcome = before.outcome.model_copy(
            update={
                "key": run.key,
                "parent": run.parent.key,
                "own_tokens": 0,
                "operations": 0.0,
                "losses": {},
                "probes": {},
                "diverged": Diverged(step=step, reason="the run it goes on from diverged"),
            }
        )
        facts = {**before.provenance, "plan": run.plan.hash}
        line = Line(outcome=outcome, settings=run.settings(), provenance=facts)
        self.shelf.write(run.key, line)
        self.made.append(run.key)


def _said(run: Prepared, line: Line) -> str:
    """The run that ended last, in a few words."""
    losses = [loss.nats for loss in line.outcome.losses.values() if loss.nats is not None]
    ended = (
        f"diverged at step {line.outcome.diverged.step}"
        if line.outcome.diverged is not None
        else f"loss {sum(losses) / len(losses):.3f}"
        if losses
        else "no loss"
    )
    return f"width {run.config.width}, seed {run.run.seed}, {run.own_tokens:,} tokens: {ended}"


def run_study(
    loaded: LoadedExperiment,
    runs: str = "runs",
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> StudyOutcome:
    """Carry out an experiment under ``runs/RECIPE/studies``; goes on with what is there.

    ``workers``: runs at a time; default one for each GPU, or as many as the cores have room for.
    Raises: StoppedError after a signal; UserError for anything that is wrong with the experiment or
    its recipe, and when held-out documents are in the training shards.
    """
    progress = progress or Silent()
    opened = opening(workers, loaded.experiment.threads)
    with told_of_damage(progress.note):
        study = Study.begin(loaded, runs, opened, progress)
        with run_lock(study.shelf.store, AT_ONCE):
            check_held_out(study.ground)
            held = held_nearly(study.ground, study.shelf.store, progress)
            points = study.carry_out()
            return finished(study, points, held)


def opened_study(loaded: LoadedExperiment, runs: str, progress: Progress) -> Study:
    """An experiment of which nothing is made yet by this call."""
    return Study.begin(loaded, runs, opening(None, loaded.experiment.threads), progress)


def repeat_study(
    loaded: LoadedExperiment,
    runs: str = "runs",
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Make every run of an experiment once more, below ``studies/again``, and compare it with the
    line that is there; returns how many were compared.

    Raises: UserError at the first that comes to other figures, and where a run is not there.
    """
    progress = progress or Silent()
    study = Study.begin(loaded, runs, opening(workers, loaded.experiment.threads), progress)
    with run_lock(study.shelf.store, AT_ONCE):
        before = study.lines_of(study.points())
        again = Shelf(Store(study.shelf.store.full(AGAIN)), before)
        replace(study, shelf=again).carry_out()
        study.shelf.store.delete(AGAIN)
    return len(before)


def finished(study: Study, points: Sequence[Measured], held: Sequence[NearlyHeld]) -> StudyOutcome:
    """Write the table and the findings of an experiment whose runs are there. ``held``: what
    training shards hold of the held-out documents, which stands beside its findings.
    """
    lines = study.lines_of([one.point for one in points])
    findings = study.loaded.design.findings(study.ground.base, points)
    findings = findings.model_copy(update={"tables": (*findings.tables, held_out_table(held))})
    folder = Store(study.shelf.store.full(study.loaded.experiment.name))
    further = study.loaded.design.files(study.ground.base, points)
    written(folder, study.loaded, points, lines, held, findings, further)
    return StudyOutcome(
        study.loaded, study.ground, folder, points, lines, tuple(study.made), findings
    )


def opening(workers: int | None, threads: int) -> Callable[[int], Executor]:
    """What opens an executor for so many tasks: processes of ``threads`` threads each."""

    def opened(tasks: int) -> Executor:
        from pipelines.executors.processes import ProcessExecutor

        gpus = _gpus()
        room = len(gpus) or max(1, len(os.sched_getaffinity(0)) // threads)
        count = min(workers or room, tasks)
        if count == 1 and not gpus:
            return InProcessExecutor()
        return ProcessExecutor(count, [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus[:count]])

    return opened


def _gpus() -> list[str]:
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
