"""The training loop: from a plan and shards to checkpoints and metrics, stoppable at any step.

    outcome = train(plan, folders, ModelSettings(), TrainSettings(), "runs/quickstart", tokenizer)
    sys.exit(outcome.exit_code)

Under ``output``: ``checkpoints/`` (:mod:`trainer.checkpoints.checkpoint`) and ``metrics/``
(:mod:`trainer.loop.metrics`). The law: stopped after any step and resumed, a run gives bit for bit
the losses, gradient norms and weights of one that was not, on the same machine, software and number
of threads (a checkpoint's ``history`` records these). No step draws random numbers: the seed
decides the initial weights and the plan's order, nothing else.

SIGTERM or SIGINT lets the step finish, writes a checkpoint and returns; the outcome's exit code is
128 plus the signal's number. A second signal acts at once; what the last checkpoint holds is safe.
"""

from __future__ import annotations

import dataclasses
import os
import resource
import signal
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from artifacts.errors import UserError
from artifacts.lock import run_lock
from artifacts.paths import Store
from mixtures.freeze.freeze import Plan
from mixtures.loader.loader import Loader
from tokenizer.encode import Tokenizer
from trainer.checkpoints import checkpoint
from trainer.checkpoints.checkpoint import Checkpoint
from trainer.checkpoints.paths import FOLDER
from trainer.devices.determinism import deterministic
from trainer.devices.precision import computing_in
from trainer.evaluation.held_out import HeldOut, held_out
from trainer.loop.board import Board, BoardRun
from trainer.loop.interrupt import StopRequest
from trainer.loop.metrics import DATA, TIME, TRAIN, VALIDATION, Metrics, probe_series, read_series
from trainer.loop.metrics import FOLDER as METRICS
from trainer.loop.run import Run, StepReport
from trainer.loop.settings import ModelSettings, TrainSettings
from trainer.loop.start import FromCheckpoint, FromSeed, Start
from trainer.objectives.contract import rows_together
from trainer.objectives.next_token import NextToken
from trainer.objectives.objective import NEXT_TOKEN, Objective
from trainer.probes.attached import Attached
from trainer.probes.probe import Probe

Folders = Mapping[str, str | os.PathLike[str]]


@dataclass(frozen=True)
class TrainOutcome:
    """How a call of :func:`train` ended.

    ``step`` of ``steps`` updates are done, the first ``first_step`` of them before this call.
    ``loss`` is that of the last step, None when none was made or it had nothing to learn.
    ``stopped_by`` names the signal that ended it, None when it came to its end (or to
    ``until_step``).
    """

    step: int
    steps: int
    first_step: int
    tokens: int
    loss: float | None
    seconds: float
    tokens_per_second: float
    checkpoint: Checkpoint
    stopped_by: str | None = None

    @property
    def exit_code(self) -> int:
        """0, or 128 plus the signal's number."""
        return 0 if self.stopped_by is None else 128 + int(signal.Signals[self.stopped_by])

    @property
    def finished(self) -> bool:
        return self.step == self.steps


def train(
    plan: Plan,
    folders: Folders,
    model_settings: ModelSettings,
    settings: TrainSettings,
    output: Store | str | os.PathLike[str],
    tokenizer: Tokenizer,
    *,
    validation: Folders | None = None,
    resume: bool = True,
    start: Start | Checkpoint | None = None,
    objective: Objective[Any] | None = None,
    until_step: int | None = None,
    on_step: Callable[[StepReport], None] | None = None,
    board: BoardRun | None = None,
    also_at: Collection[int] = (),
    probes: Sequence[Probe] = (),
) -> TrainOutcome:
    """Train to the end of the plan, or to ``until_step`` updates.

    ``folders``: shard folders by source name; ``validation``: held-out shards by source name. With
    ``resume`` a run that is there already goes on from its latest checkpoint. ``start``: where
    to begin when there is none here yet, a checkpoint of another run to branch from it; default
    initial weights (:mod:`trainer.loop.start`). What goes on from a checkpoint has its schedule's
    version, whatever ``settings`` say. ``objective``: what is minimised, default the loss
    on the next token (:mod:`trainer.objectives.objective`). ``on_step`` is called after each
    update. ``board``: where events for TensorBoard go, default ``metrics/tensorboard`` of the
    output. ``also_at``: steps of further checkpoints. ``probes``: what is measured besides, to
    ``metrics/probe-NAME.jsonl`` (:mod:`trainer.probes`); losses and weights keep their bits.

    Raises: UserError when plan, settings and tokenizer do not fit together, when a checkpoint does
    not fit or is damaged, when another process trains here, or when the loss is not finite.
    """
    store = output if isinstance(output, Store) else Store(output)
    attached = Attached(tuple(probes))
    check_plan(plan, settings, tokenizer)
    last = plan.steps if until_step is None else min(until_step, plan.steps)
    with (
        run_lock(Store(f"{store.root.rstrip('/')}/{FOLDER}")),
        deterministic(settings.threads) as threads,
        computing_in(settings.resolved_precision),
        StopRequest() as stop,
    ):
        checkpoint.clean(store)
        begins = _start(store, resume, start)
        settings = begins.settings(settings)
        minimised = _minimised(objective, tokenizer)
        config = model_settings.config(tokenizer.vocab_size)
        loader = Loader(plan, {name: os.fspath(folder) for name, folder in folders.items()})
        measured = _held_out(validation, tokenizer, settings, rows_together(minimised))
        run = Run.begin(
            plan, loader, tokenizer, config, settings, threads, begins, minimised, attached
        )
        shown = _board(run, store, board, () if measured is None else measured.batches)
        if run.step == 0 == plan.decay_step:  # the stable checkpoint that other decays start from
            run.save(store, asked=True)
        with Metrics(store, run.step, shown, attached.names) as metrics:
            if run.step == 0 == plan.decay_step and not read_series(store, VALIDATION):
                _record_losses(run, metrics, measured)  # what the decay is compared with
            return _steps(run, store, metrics, measured, last, stop, on_step, also_at)


def check_plan(plan: Plan, settings: TrainSettings, tokenizer: Tokenizer) -> None:
    """Raises: UserError when the plan was frozen for other windows, batches or another
    tokenizer.
    """
    pairs = [
        ("train.sequence_length", settings.sequence_length, plan.sequence_length),
        ("train.batch_tokens", settings.batch_tokens, plan.batch_tokens),
        ("tokenizer", tokenizer.hash, plan.sources[0].tokenizer_hash),
    ]
    for field, found, planned in pairs:
        if found != planned:
            raise UserError(
                "the plan was frozen for another",
                field=field,
                found=found,
                allowed=[planned],
                fix="freeze the plan again, or set it back",
            )


def milestones(plan: Plan) -> set[int]:
    """Steps at which a segment ends: always checkpoints, since decays branch off there."""
    return {segment.last_step for segment in plan.segments}


def _steps(
    run: Run,
    store: Store,
    metrics: Metrics,
    measured: HeldOut | None,
    last: int,
    stop: StopRequest,
    on_step: Callable[[StepReport], None] | None,
    also_at: Collection[int],
) -> TrainOutcome:
    first, began, ends = run.step, time.perf_counter(), milestones(run.plan)
    kept = {*also_at, *ends}
    training_seconds = 0.0
    written: Checkpoint | None = None
    report: StepReport | None = None
    with closing(run.updates(last)) as updates:
        while run.step < last and stop.signal is None:
            report = _timed(updates)
            training_seconds += report.seconds
            _record(
                run,
                metrics,
                measured,
                report,
                looked=run.step % run.settings.validate_every == 0 or run.step in ends,
            )
            asked = run.step % run.settings.checkpoint_every == 0 or run.step in kept
            if asked or stop.signal is not None or run.step == last:
                metrics.flush()
                written = run.save(store, asked)
            if on_step is not None:
                on_step(report)
    # nothing to do, or stopped while on_step ran
    if written is None or written.state.step != run.step:
        written = checkpoint.latest(store, run.step) if run.step == first else None
        if written is None or written.state.step != run.step:
            metrics.flush()
            written = run.save(store, asked=run.step in kept)
    shown = run.plan.tokens_before(run.step) - run.plan.tokens_before(first)
    return TrainOutcome(
        step=run.step,
        steps=run.plan.steps,
        first_step=first,
        tokens=run.plan.tokens_before(run.step),
        loss=None if report is None else report.loss,
        seconds=time.perf_counter() - began,
        tokens_per_second=shown / training_seconds if training_seconds else 0.0,
        checkpoint=written,
        stopped_by=None if stop.signal is None else stop.signal.name,
    )


def _timed(updates: Iterator[StepReport]) -> StepReport:
    """The next update and how long it took."""
    clock = time.perf_counter()
    report = next(updates)
    return dataclasses.replace(report, seconds=time.perf_counter() - clock)


def _record(
    run: Run, metrics: Metrics, measured: HeldOut | None, report: StepReport, looked: bool
) -> None:
    """A step's metrics; where ``looked``, also what was shown so far and the losses on held-out
    documents.
    """
    metrics.record(TRAIN, report.line())
    for name, line in report.probes.items():
        metrics.record(probe_series(name), {"step": run.step, **line})
    shown = run.plan.tokens_before(run.step) - run.plan.tokens_before(run.step - 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    speed = {
        "seconds": report.seconds,
        "tokens_per_second": shown / report.seconds,
        "peak_bytes": peak,
    }
    metrics.record(TIME, {"step": run.step, **speed})
    if looked:
        metrics.record(DATA, run.shown())
        _record_losses(run, metrics, measured)


def _record_losses(run: Run, metrics: Metrics, measured: HeldOut | None) -> None:
    """The losses on held-out documents, where there are some."""
    if measured is not None:
        measures = measured.measure(run.model, run.objective)
        sources = {name: measure.to_json() for name, measure in measures.items()}
        metrics.record(VALIDATION, {"step": run.step, "sources": sources})


def _start(store: Store, resume: bool, start: Start | Checkpoint | None) -> Start:
    """Where to begin: at the run's own latest checkpoint, else where ``start`` says."""
    own = checkpoint.latest(store)
    if own is not None and not resume:
        raise UserError(
            "a run is here already",
            file=store.full(FOLDER),
            found=f"a checkpoint of step {own.state.step}",
            fix="resume it, or give this run another name",
        )
    if own is not None:
        return FromCheckpoint.resuming(own)
    if isinstance(start, Checkpoint):
        return FromCheckpoint.branching(start)
    return FromSeed() if start is None else start


def _board(run: Run, store: Store, board: BoardRun | None, held_out: Iterable[str]) -> Board | None:
    """The run for TensorBoard; none where the settings want none."""
    if not run.settings.tensorboard:
        return None
    opened = Board(board or BoardRun(store.full(f"{METRICS}/tensorboard")), run.step)
    if opened.empty:
        figures = [f"{VALIDATION}/sources/{name}/loss" for name in held_out]
        opened.name(run.hyperparameters(), [f"{TRAIN}/loss", *figures])
    return opened


def _minimised(objective: Objective[Any] | None, tokenizer: Tokenizer) -> Objective[Any]:
    """What is minimised. Raises: UserError when another objective bears the name of the default."""
    if objective is None:
        return NextToken.of(tokenizer)
    if objective.name == NEXT_TOKEN and type(objective) is not NextToken:
        raise UserError(
            "another objective has the name of next-token prediction",
            field="objective",
            found=type(objective).__name__,
            fix="give it a name of its own: checkpoints tell objectives apart by it",
        )
    return objective


def _held_out(
    validation: Folders | None, tokenizer: Tokenizer, settings: TrainSettings, together: int
) -> HeldOut | None:
    if not validation:
        return None
    return held_out(
        validation,
        tokenizer,
        sequence_length=settings.sequence_length,
        windows=settings.validation_windows,
        rows=settings.micro_batch_windows,
        together=together,
        rule=settings.validation_rule,
    )
