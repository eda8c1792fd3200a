"""A training run in memory: what it is made of, one update, and its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.paths import Store
from mixtures.freeze.freeze import Plan
from mixtures.inspect.accounting import realised
from mixtures.loader.loader import Batch, Loader
from tokenizer.encode import Tokenizer
from trainer.checkpoints import checkpoint
from trainer.checkpoints.checkpoint import PLAN, TOKENIZER, Checkpoint, CheckpointState, Stretch
from trainer.checkpoints.moments import moment_tensors, restore
from trainer.devices.precision import DTYPES, device_of
from trainer.loop.fits import check_fits
from trainer.loop.provenance import software, source_digest
from trainer.loop.settings import TrainSettings
from trainer.model import Model, ModelConfig, init, parameter_groups
from trainer.model.float8 import use_float8
from trainer.objectives.losses import NOTHING, Loss, by_source, token_bytes
from trainer.objectives.next_token import pending_loss
from trainer.optimizer.adamw import AdamW
from trainer.optimizer.schedules import ScheduleSpec, rate


@dataclass(frozen=True)
class StepReport:
    """One update. ``step`` counts from 1, ``tokens`` are those shown so far, ``step_tokens`` of
    these by this step.

    ``grad_norm`` is before clipping, ``seconds`` is what the step took.
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
        }


@dataclass
class Run:
    """The state of a run between two updates: ``step`` updates are done."""

    plan: Plan
    loader: Loader
    tokenizer: Tokenizer
    settings: TrainSettings
    schedule: ScheduleSpec
    model: Model
    optimizer: AdamW
    sizes: NDArray[np.int64]
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
        source: Checkpoint | None,
        parent: dict[str, Any] | None = None,
    ) -> Run:
        """A run from its first step, or from a checkpoint. Raises: UserError when the checkpoint
        does not fit.
        """
        schedule = settings.schedule_of(plan)
        if source is not None:
            check_fits(
                source,
                plan=plan,
                config=config,
                settings=settings,
                schedule=schedule,
                tokenizer_hash=tokenizer.hash,
            )
        device = device_of(settings.device)
        model = Model(config).to(device)
        if settings.float8:
            use_float8(model, device)
        if source is None:
            init(model, config, settings.seed)
        groups = parameter_groups(model, config, settings.schedule.peak, settings.weight_decay)
        optimizer = AdamW(
            groups,
            betas=settings.betas,
            eps=settings.eps,
            compute=DTYPES[settings.resolved_precision],
        )
        history: tuple[Stretch, ...] = ()
        if source is not None:
            restore(source, optimizer)
            history = source.state.history
        step = 0 if source is None else source.state.step
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
            model,
            optimizer,
            token_bytes(tokenizer),
            history,
            step,
            parent,
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
        pending = pending_loss(
            self.model, batch, self.settings.micro_batch_rows(batch.tokens.shape[1]), backward=True
        )
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
        losses = by_source(
            found.nats, batch.targets, batch.weights, batch.source, self.plan.names, self.sizes
        )
        tokens = self.plan.tokens_before(step)
        return StepReport(
            step,
            self.plan.steps,
            tokens,
            found.loss,
            lr,
            norm,
            losses,
            tokens - self.plan.tokens_before(step - 1),
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
        )
        weights = self.optimizer.weights()
        files = {PLAN: self.plan.to_json(), TOKENIZER: self.tokenizer.model}
        written = checkpoint.save(store, state, weights, moment_tensors(self.optimizer), files)
        checkpoint.drop_unasked(store, below=self.step)
        return written
