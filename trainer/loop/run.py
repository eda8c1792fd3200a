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
from mixtures.inspect.accounting import realised
from mixtures.loader.loader import Batch, Loader
from tokenizer.encode import Tokenizer
from trainer.checkpoints import checkpoint
from trainer.checkpoints.checkpoint import (
    NEXT_TOKEN,
    PLAN,
    TOKENIZER,
    Checkpoint,
    CheckpointState,
    Stretch,
)
from trainer.checkpoints.moments import moment_tensors, restore
from trainer.checkpoints.weights import Weights
from trainer.devices.precision import DTYPES, device_of
from trainer.loop.fits import check_fits
from trainer.loop.provenance import software, source_digest
from trainer.loop.settings import TrainSettings
from trainer.model import Model, ModelConfig, init, parameter_groups
from trainer.model.float8 import use_float8
from trainer.objectives.gradient import pending_loss
from trainer.objectives.losses import NOTHING, Loss
from trainer.objectives.objective import Objective, identity
from trainer.optimizer.adamw import AdamW
from trainer.optimizer.schedules import ScheduleSpec, rate


@dataclass(frozen=True)
class StepReport:
    """One update. ``step`` counts from 1, ``tokens`` are those shown so far, ``step_tokens`` of
    these by this step.

    ``grad_norm`` is before clipping, ``seconds`` is what the step took. ``figures`` are the
    objective's own, ``auxiliary`` the losses that the model added.
    """

    step: int
    steps: int
    tokens: int
    loss: float
    lr: float
    grad_norm: float
    sources: Mapping[str, Loss]
    step_tokens: int = 0
    seconds: float = 0.0
    figures: Mapping[str, float] = field(default_factory=dict)
    auxiliary: Mapping[str, float] = field(default_factory=dict)

    def line(self) -> dict[str, Any]:
        """The step as a line of ``metrics/train.jsonl``."""
        whole = sum(self.sources.values(), NOTHING)
        return {
            "step": self.step,
            "tokens": self.tokens,
            "loss": self.loss,
            "bits_per_byte": whole.bits_per_byte,
            "lr": self.lr,
            "grad_norm": self.grad_norm,
            "targets": whole.tokens,
            "sources": {name: loss.to_json() for name, loss in self.sources.items()},
            **self.figures,
            **({"auxiliary": dict(self.auxiliary)} if self.auxiliary else {}),
        }


@dataclass(frozen=True)
class Start:
    """Where a run starts: a checkpoint with its ``past`` (its plan, moments and step), ``weights``
    alone (step 0, no moments, no past), or neither: initial weights. ``parent`` is what the run's
    checkpoints record of where it came from.
    """

    past: Checkpoint | None = None
    weights: Weights | None = None
    parent: dict[str, Any] | None = None


@dataclass
class Run:
    """The state of a run between two updates: ``step`` updates are done."""

    plan: Plan
    loader: Loader
    tokenizer: Tokenizer
    settings: TrainSettings
    schedule: ScheduleSpec
    objective: Objective
    model: Model
    optimizer: AdamW
    history: tuple[Stretch, ...]
    step: int = 0
    parent: dict[str, Any] | None = None

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
        objective: Objective,
    ) -> Run:
        """A run from where ``start`` says. Raises: UserError when a checkpoint or weights do not
        fit.
        """
        schedule = settings.schedule_of(plan)
        past = start.past
        if past is not None:
            check_fits(
                past,
                plan=plan,
                config=config,
                settings=settings,
                schedule=schedule,
                tokenizer_hash=tokenizer.hash,
                objective=identity(objective),
            )
        device = device_of(settings.device)
        model = Model(config).to(device)
        if settings.float8:
            use_float8(model, device)
        if past is None and start.weights is None:
            init(model, config, settings.seed)
        optimizer = _optimizer(model, config, settings)
        if past is not None:
            restore(past, optimizer)
        elif start.weights is not None:
            optimizer.load(start.weights.fitting(optimizer.named, config))
        history = () if past is None else past.state.history
        step = 0 if past is None else past.state.step
        stretch = Stretch(
            from_step=step,
            plan_hash=plan.hash,
            source_digest=source_digest(),
            software=software(device),
            threads=threads,
        )
        if not history or history[-1].model_copy(update={"from_step": step}) != stretch:
            history = (*history, stretch)
        return cls(
            plan,
            loader,
            tokenizer,
            settings,
            schedule,
            objective,
            model,
            optimizer,
            history,
            step,
            start.parent,
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

        Raises: UserError when the loss or the gradient is not finite; the weights are untouched
        then.
        """
        step = self.step + 1
        rows = self.settings.micro_batch_rows(batch.tokens.shape[1])
        pending = pending_loss(self.objective, self.model, batch, rows, backward=True)
        pending_norm = self.optimizer.clip(self.settings.clip, pending.summed)
        lr = rate(self.schedule, step)
        self.optimizer.step(lr)
        self.optimizer.zero_grad()
        # the one time that the device is waited for
        found, norm = pending.read(), float(pending_norm)
        if not (math.isfinite(found.loss) and math.isfinite(norm)):
            raise UserError(
                f"the loss or the gradient is not finite at step {step}",
                field="train.schedule.peak",
                found=f"loss {found.loss}, gradient norm {norm}",
                fix=(
                    f"lower the peak learning rate (now {self.schedule.peak}) and resume from an "
                    "earlier checkpoint"
                ),
            )
        self.step = step
        measured = self.objective.measure(batch, found.kept, self.plan.names)
        tokens = self.plan.tokens_before(step)
        return StepReport(
            step,
            self.plan.steps,
            tokens,
            found.loss,
            lr,
            norm,
            measured.sources,
            tokens - self.plan.tokens_before(step - 1),
            figures=measured.figures,
            auxiliary=found.auxiliary,
        )

    def shown(self) -> dict[str, Any]:
        """What each source has shown so far, as a line of ``metrics/data.jsonl``."""
        sources = {
            part.source: {"tokens": part.tokens, "epochs": part.epochs}
            for part in realised(self.plan, self.step)
        }
        return {"step": self.step, "tokens": self.plan.tokens_before(self.step), "sources": sources}

    def save(self, store: Store, asked: bool) -> Checkpoint:
        """Write a checkpoint of this moment; ``asked`` as in
        :class:`~trainer.checkpoints.checkpoint.CheckpointState`.
        """
        minimised = identity(self.objective)
        state = CheckpointState(
            step=self.step,
            tokens=self.plan.tokens_before(self.step),
            plan_hash=self.plan.hash,
            history=self.history,
            schedule=self.schedule.model_dump(mode="json"),
            model=self.model.config.as_dict(),
            settings=self.settings.resolved(),
            tokenizer_hash=self.tokenizer.hash,
            seeds={"init": self.settings.seed, "plan": self.plan.seed},
            asked=asked,
            parent=self.parent,
            objective=None if minimised == NEXT_TOKEN else minimised,
        )
        weights = self.optimizer.weights()
        files = {PLAN: self.plan.to_json(), TOKENIZER: self.tokenizer.model}
        written = checkpoint.save(store, state, weights, moment_tensors(self.optimizer), files)
        checkpoint.drop_unasked(store, below=self.step)
        return written


def _optimizer(model: Model, config: ModelConfig, settings: TrainSettings) -> AdamW:
    """The optimizer over the model's tensors, moments zero."""
    return AdamW(
        parameter_groups(model, config, settings.schedule.peak, settings.weight_decay),
        betas=settings.betas,
        eps=settings.eps,
        compute=DTYPES[settings.resolved_precision],
    )
