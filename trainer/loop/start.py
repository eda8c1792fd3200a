"""Where a training begins: at initial weights, at a checkpoint with its past, or at weights alone.

    FromSeed()                                     step 0, weights drawn from the seed
    FromCheckpoint.branching(checkpoint)           its step: weights, moments, history; its plan up
                                                   to there is the training's
    FromWeights.of_checkpoint(checkpoint)          step 0: weights, and nothing that was done before
    FromWeights.with_moments(checkpoint)           step 0: weights and moments, any schedule
    FromWeights.of_file("weights.safetensors")
    FromWeights.of_tensors(tensors, "imported")

What a training started from stands in its checkpoints as ``parent``.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from artifacts.errors import UserError
from mixtures.freeze.freeze import Plan
from trainer.checkpoints.checkpoint import WEIGHTS, Checkpoint
from trainer.checkpoints.moments import restore
from trainer.checkpoints.recorded import model_config
from trainer.checkpoints.recorded import schedule as recorded_schedule
from trainer.checkpoints.state import Stretch
from trainer.checkpoints.weights import (
    check_finite,
    check_fitting,
    checksum,
    file_checksum,
    fill,
    read_weights,
)
from trainer.loop.fits import check_fits, check_objective
from trainer.loop.recorded import train_settings
from trainer.loop.settings import TrainSettings
from trainer.model import Model, init
from trainer.optimizer.adamw import AdamW
from trainer.optimizer.schedules import ScheduleSpec
from trainer.shapes.config import ModelConfig


@dataclass(frozen=True)
class Wanted:
    """The training that is to begin. ``objective`` as checkpoints record it."""

    plan: Plan
    config: ModelConfig
    settings: TrainSettings
    schedule: ScheduleSpec
    tokenizer_hash: str
    objective: dict[str, Any] | None


class Start(Protocol):
    """Where a training begins: ``step`` updates are done, ``history`` says how."""

    @property
    def step(self) -> int: ...

    @property
    def history(self) -> tuple[Stretch, ...]: ...

    @property
    def parent(self) -> dict[str, Any] | None: ...

    def settings(self, asked: TrainSettings) -> TrainSettings:
        """The settings asked for, under the rules of what was done already."""
        ...

    def check(self, wanted: Wanted) -> None:
        """Raises: UserError when the training cannot begin here."""
        ...

    def fill(self, model: Model, seed: int) -> None:
        """Give a model that is all zeros its weights, before it has an optimizer."""
        ...

    def restore(self, optimizer: AdamW) -> None:
        """Put back what the optimizer knew."""
        ...

    def probes(self) -> Mapping[str, Tensor]:
        """What the probes of the training before knew."""
        ...


@dataclass(frozen=True)
class FromSeed:
    """Initial weights."""

    step = 0
    history = ()
    parent = None

    def settings(self, asked: TrainSettings) -> TrainSettings:
        return asked

    def check(self, wanted: Wanted) -> None:
        """Anything may begin."""

    def fill(self, model: Model, seed: int) -> None:
        init(model, model.config, seed)

    def restore(self, optimizer: AdamW) -> None:
        """Nothing was known."""

    def probes(self) -> Mapping[str, Tensor]:
        return {}


@dataclass(frozen=True)
class FromCheckpoint:
    """A checkpoint with its past: the training goes on as if it had never stopped."""

    checkpoint: Checkpoint
    parent: dict[str, Any] | None

    @classmethod
    def branching(cls, checkpoint: Checkpoint) -> FromCheckpoint:
        """Another training that shares this one's past."""
        return cls(checkpoint, parent_of(checkpoint))

    @classmethod
    def resuming(cls, checkpoint: Checkpoint) -> FromCheckpoint:
        """The training that wrote it."""
        return cls(checkpoint, checkpoint.state.parent)

    @property
    def step(self) -> int:
        return self.checkpoint.state.step

    @property
    def history(self) -> tuple[Stretch, ...]:
        return self.checkpoint.state.history

    def settings(self, asked: TrainSettings) -> TrainSettings:
        """With the version that the checkpoint's schedule has, and the rule by which its training
        cuts held-out text.
        """
        rule = train_settings(self.checkpoint).validation_rule
        return asked.under_version(recorded_schedule(self.checkpoint).version).measuring_by(rule)

    def check(self, wanted: Wanted) -> None:
        check_objective(self.checkpoint, wanted.objective)
        check_fits(
            self.checkpoint,
            plan=wanted.plan,
            config=wanted.config,
            settings=wanted.settings,
            schedule=wanted.schedule,
            tokenizer_hash=wanted.tokenizer_hash,
        )

    def fill(self, model: Model, seed: int) -> None:
        """Left to :meth:`restore`, which writes the optimizer's masters too."""

    def restore(self, optimizer: AdamW) -> None:
        restore(self.checkpoint, optimizer)

    def probes(self) -> Mapping[str, Tensor]:
        return self.checkpoint.probes()


@dataclass(frozen=True)
class FromWeights:
    """Weights without a past: step 0, moments at zero, any plan, schedule and objective.

    ``read`` gives the tensors by parameter name, and ``where`` says in errors where they are from.
    ``facts`` are what the model and tokenizer they belong to are known to be, by name. ``known``:
    a checkpoint whose moments the optimizer goes on with; without it that begins anew.
    """

    read: Callable[[], Mapping[str, Tensor]]
    where: str
    parent: dict[str, Any]
    facts: Mapping[str, Any]
    known: Checkpoint | None = None

    step = 0
    history = ()

    @classmethod
    def of_checkpoint(cls, checkpoint: Checkpoint) -> FromWeights:
        """Those of a checkpoint; its model and tokenizer must be the training's. To give them to
        another model, give :meth:`of_tensors` what ``checkpoint.weights()`` reads. Moments that
        came with an import are kept; those of a training here are its past, left behind.
        """
        state = checkpoint.state
        config = model_config(checkpoint).as_dict()
        facts = {f"model.{name}": value for name, value in config.items()}
        facts["tokenizer"] = state.tokenizer_hash
        parent = {**parent_of(checkpoint), "past": False}
        known = checkpoint if state.imported is not None and state.optimizer is not None else None
        return cls(checkpoint.weights, checkpoint.folder, parent, facts, known)

    @classmethod
    def with_moments(cls, checkpoint: Checkpoint) -> FromWeights:
        """Those of a checkpoint, whose moments and count of updates the optimizer goes on with: a
        training of its own, whose rate may rise again after a decay (WSD-S, arXiv 2410.05192).
        Which data come after those shown is for its plan (:mod:`mixtures.freeze.sequel`).
        """
        alone = cls.of_checkpoint(checkpoint)
        parent = {**alone.parent, "moments": True}
        return dataclasses.replace(alone, parent=parent, known=checkpoint)

    @classmethod
    def of_file(cls, path: str | os.PathLike[str]) -> FromWeights:
        """Those of a safetensors file. Raises: UserError when there is none."""
        parent = {"weights": file_checksum(path), "past": False}
        return cls(functools.partial(read_weights, path), os.fspath(path), parent, {})

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor], where: str) -> FromWeights:
        """These, by parameter name; ``where`` names them in errors."""
        return cls(lambda: tensors, where, {"weights": checksum(tensors), "past": False}, {})

    def settings(self, asked: TrainSettings) -> TrainSettings:
        return asked

    def check(self, wanted: Wanted) -> None:
        """Names, shapes and values are checked when the model is filled."""
        own = {f"model.{name}": value for name, value in wanted.config.as_dict().items()}
        own["tokenizer"] = wanted.tokenizer_hash
        for name, value in self.facts.items():
            if own[name] != value:
                raise UserError(
                    "the weights are of another model",
                    file=self.where,
                    field=name,
                    found=own[name],
                    allowed=[value],
                    fix="use the model settings and the tokenizer of the run that wrote them",
                )

    def fill(self, model: Model, seed: int) -> None:
        weights = self.read()
        check_fitting(weights, dict(model.named_parameters()), self.where)
        check_finite(weights, self.where)
        fill(model, weights)

    def restore(self, optimizer: AdamW) -> None:
        """Moments start at zero, as in a new training, unless a checkpoint has some to go on
        with.
        """
        if self.known is not None:
            restore(self.known, optimizer)

    def probes(self) -> Mapping[str, Tensor]:
        return {}


def parent_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the checkpoints of a training record of the one it started from."""
    return {"step": checkpoint.state.step, "weights": checkpoint.state.files[WEIGHTS].checksum}
