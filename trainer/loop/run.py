"""A training run in memory: what it is made of, one update, and its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from artifacts.errors import UserError
from artifacts.paths import Store
from mixtures.freeze.freeze import Plan
from mixtures.freeze.plan_table import table
from mixtures.inspect.accounting import realised
from mixtures.loader.loader import Batch, Loader
from mixtures.plan.batches import place_of_batches
from tokenizer.encode import Tokenizer
from trainer.checkpoints import checkpoint
from trainer.checkpoints.checkpoint import PLAN, TOKENIZER, Checkpoint
from trainer.checkpoints.moments import moment_tensors
from trainer.checkpoints.state import CheckpointState, Stretch
from trainer.devices.precision import DTYPES, device_of
from trainer.loop.provenance import software, source_digest
from trainer.loop.settings import TrainSettings
from trainer.loop.start import Start, Wanted
from trainer.model import Model, ModelConfig, parameter_groups
from trainer.model.float8 import use_float8
from trainer.objectives.gradient import (
    PartedError,
    PartWatch,
    PendingLoss,
    StepLoss,
    pending_loss,
)
from trainer.objectives.objective import Figures, Objective, Place, record_of
from trainer.optimizer.adamw import AdamW
from trainer.optimizer.schedules import ScheduleSpec, rate
from trainer.probes.attached import NO_PROBES, Attached
from trainer.probes.probe import WatchedStep


class NotFiniteError(UserError):
    """A step whose loss or gradient is not finite; nothing of it was taken over.

    ``step`` counts from 1; ``before`` are the tokens shown before it, ``left`` the steps of the
    plan from it on, ``peak`` that of the schedule.
    """

    step: int
    before: int
    left: int
    peak: float

    @classmethod
    def at(cls, run: Run, loss: StepLoss, norm: float) -> NotFiniteError:
        """Of the step that a run was about to make."""
        step = run.step + 1
        added = "".join(f", {name} {value}" for name, value in loss.auxiliary.items())
        error = cls(
            f"the loss or the gradient is not finite at step {step}",
            field="train.schedule.peak",
            found=f"loss {loss.loss}, gradient norm {norm}{added}",
            fix=(
                "go on with a plan that skips the step, or train anew with a lower peak (now "
                f"{run.schedule.peak})"
            ),
        )
        error.step, error.before = step, run.plan.tokens_before(run.step)
        error.left, error.peak = run.plan.steps - run.step, run.schedule.peak
        return error


@dataclass(frozen=True)
class StepReport:
    """One update. ``step`` counts from 1, ``tokens`` are those shown so far, ``step_tokens`` of
    these by this step.

    ``loss`` is None where the step had nothing to learn: it made no update. ``grad_norm`` is before
    clipping, ``figures`` are the objective's own, ``auxiliary`` is what the
    model added to the loss, by name, ``seconds`` is what the step took, ``probes`` are the lines of
    probes by name.
    """

    step: int
    steps: int
    tokens: int
    loss: float | None
    lr: float
    grad_norm: float
    figures: Figures
    step_tokens: int = 0
    seconds: float = 0.0
    auxiliary: Mapping[str, float] = field(default_factory=dict)
    probes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def line(self) -> dict[str, Any]:
        """The step as a line of ``metrics/train.jsonl``."""
        return {
            "step": self.step,
            "tokens": self.tokens,
            "loss": self.loss,
            **self.figures.units,
            "lr": self.lr,
            "grad_norm": self.grad_norm,
            **self.figures.further,
            **({"auxiliary": dict(self.auxiliary)} if self.auxiliary else {}),
        }


@dataclass
class Run:
    """The state of a run between two updates: ``step`` updates are done."""

    plan: Plan
    loader: Loader
    tokenizer: Tokenizer
    settings: TrainSettings
    schedule: ScheduleSpec
    objective: Objective[Any]
    model: Model
    optimizer: AdamW
    history: tuple[Stretch, ...]
    step: int = 0
    parent: dict[str, Any] | None = None
    probes: Attached = NO_PROBES

    @classmethod
    def begin(
        cls,
        plan: Plan,
        loader: Loader,
        tokenizer: Tokenizer,
        config: ModelConfig,
        settings: TrainSettings,
        threads: int,
        start: Start,
        objective: Objective[Any],
        probes: Attached = NO_PROBES,
    ) -> Run:
        """A run from where ``start`` says. Raises: UserError when it cannot begin there."""
        schedule = settings.schedule_of(plan)
        start.check(Wanted(plan, config, settings, schedule, tokenizer.hash, record_of(objective)))
        device = device_of(settings.device)
        model = Model(config).to(device)
        if settings.float8:
            use_float8(model, device)
        start.fill(model, settings.seed)
        optimizer = optimizer_of(model, settings)
        start.restore(optimizer)
        if probes:
            probes.restore(start.probes())
        stretch = Stretch(
            from_step=start.step,
            plan_hash=plan.hash,
            source_digest=source_digest(),
            software=software(device),
            threads=threads,
        )
        return cls(
            plan,
            loader,
            tokenizer,
            settings,
            schedule,
            objective,
            model,
            optimizer,
            lengthened(start.history, stretch),
            start.step,
            start.parent,
            probes,
        )

    def updates(self, last: int) -> Generator[StepReport]:
        """Make updates until ``last`` are done; batches are read by a thread meanwhile. Raises:
        UserError as :meth:`update`.
        """
        with closing(self.loader.batches(self.step, last)) as batches:
            for batch in batches:
                yield self.update(batch)

    def update(self, batch: Batch) -> StepReport:
        """Make the next update, from the batch of its step.

        Raises: NotFiniteError when the loss or the gradient is not finite; the weights are
        untouched then.
        """
        step = self.step + 1
        lr = rate(self.schedule, step)
        seen = self._watched(batch, lr)
        with self.probes.watching(seen):
            pending = self._pending(batch, self.probes.part_watch(seen))
        self.probes.gradient(seen)
        pending_norm = self.optimizer.clip(self.settings.clip, pending.minimised)
        self.optimizer.step(lr)
        self.optimizer.zero_grad()
        # the one time that the device is waited for
        found, norm = pending.read(), float(pending_norm)
        # what passes by in a skipped step is not asked for its loss
        skips = self.plan.skips(self.step)
        loss = None if skips else found.loss
        if not (skips or all(map(math.isfinite, (loss or 0.0, norm, *found.auxiliary.values())))):
            raise NotFiniteError.at(self, found, norm)
        self.step = step
        measures = self.objective.measure(batch, found.kept, self.plan.names)
        tokens = self.plan.tokens_before(step)
        return StepReport(
            step,
            self.plan.steps,
            tokens,
            loss,
            lr,
            norm,
            self.objective.figures(measures),
            tokens - self.plan.tokens_before(step - 1),
            auxiliary=found.auxiliary,
            probes=self.probes.lines(seen),
        )

    def _watched(self, batch: Batch, lr: float) -> WatchedStep:
        """The next step as probes see it."""
        rows = self.settings.micro_batch_rows(batch.tokens.shape[1])
        return WatchedStep(
            self.step + 1, batch, lr, rows, self.model, self.optimizer, self.objective
        )

    def _pending(self, batch: Batch, watch: PartWatch | None) -> PendingLoss:
        """The loss of the next step, with its gradient. Raises: UserError as
        :func:`~trainer.objectives.gradient.pending_loss`, at the size of the step's batches.
        """
        rows = self.settings.micro_batch_rows(batch.tokens.shape[1])
        windows = Place(self.step)
        try:
            return pending_loss(
                self.objective, self.model, batch, windows, rows, backward=True, watch=watch
            )
        except PartedError as error:
            place = place_of_batches(self.plan, self.step)
            raise error.relocated(lambda _: place) from None

    def shown(self) -> dict[str, Any]:
        """What each source has shown so far, as a line of ``metrics/data.jsonl``."""
        sources = {
            part.source: {"tokens": part.tokens, "epochs": part.epochs}
            for part in realised(self.plan, self.step)
        }
        return {"step": self.step, "tokens": self.plan.tokens_before(self.step), "sources": sources}

    def hyperparameters(self) -> dict[str, Any]:
        """What decides the run: model, settings, the schedule as it resolved, steps and tokens, and
        the share of each source in each phase.
        """
        shares = {f"{row.phase}.{row.source}": row.weight for row in table(self.plan) if row.phase}
        return {
            "model": self.model.config.recorded(),
            "train": {**self.settings.resolved(), "schedule": self.schedule.model_dump()},
            "plan": {"steps": self.plan.steps, "tokens": self.plan.tokens, "shares": shares},
        }

    def save(self, store: Store, asked: bool) -> Checkpoint:
        """Write a checkpoint of this moment; ``asked`` as in
        :class:`~trainer.checkpoints.state.CheckpointState`.
        """
        state = CheckpointState(
            step=self.step,
            tokens=self.plan.tokens_before(self.step),
            plan_hash=self.plan.hash,
            history=self.history,
            schedule=self.schedule.model_dump(mode="json"),
            model=self.model.config.recorded(),
            settings=self.settings.resolved(),
            tokenizer_hash=self.tokenizer.hash,
            seeds={"init": self.settings.seed, "plan": self.plan.seed},
            asked=asked,
            parent=self.parent,
            objective=record_of(self.objective),
            optimizer=self.optimizer.count,
        )
        weights = self.optimizer.weights()
        files = {PLAN: self.plan.to_json(), TOKENIZER: self.tokenizer.model}
        moments = moment_tensors(self.optimizer)
        written = checkpoint.save(store, state, weights, moments, files, self.probes.state())
        checkpoint.drop_unasked(store, below=self.step)
        return written


def optimizer_of(model: Model, settings: TrainSettings) -> AdamW:
    """The optimizer of a model that has its weights."""
    groups = parameter_groups(model, model.config, settings.schedule.peak, settings.weight_decay)
    return AdamW(
        groups,
        betas=settings.betas,
        eps=settings.eps,
        compute=DTYPES[settings.resolved_precision],
    )


def lengthened(history: tuple[Stretch, ...], stretch: Stretch) -> tuple[Stretch, ...]:
    """The history with another stretch, unless that only goes on as the last one did."""
    if history and history[-1].model_copy(update={"from_step": stretch.from_step}) == stretch:
        return history
    return (*history, stretch)
