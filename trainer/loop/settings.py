"""The recipe's parts for training: which model, and how it is trained.

    model: {preset: tiny}                       # or {preset: 9M, layers: 4, …}
    train: {sequence_length: 256, batch_tokens: 4096, schedule: {kind: wsd, peak: 0.01, warmup: 20}}

Where the decay starts and where the run ends is the plan's to say: the segment marked ``decay`` and
the last segment fix both. A schedule that says them too must say the same, so schedule and data
cannot disagree; but it may end where an earlier segment of the decay does.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from artifacts.errors import UserError
from artifacts.records import Record
from artifacts.settings import LATER
from trainer.evaluation.rule import DOCUMENTS, Rule
from trainer.optimizer.schedules import DecayShape, DecaySpec, ScheduleSpec, Version
from trainer.shapes.config import STEEPEST, ModelConfig
from trainer.shapes.presets import TINY, preset

if TYPE_CHECKING:
    from mixtures.freeze.freeze import Plan

Count = Annotated[int, Field(ge=1)]
Scale = Annotated[float, Field(gt=0, allow_inf_nan=False)]
MICRO_BATCH_TOKENS = 2048
OTHER_HALVES = ("fp16", "float16", "bfloat16")


class ModelSettings(Record):
    """A preset and what is to differ from it; ``vocab_size`` is the tokenizer's unless given."""

    preset: str = TINY
    vocab_size: Count | None = None
    width: Count | None = None
    layers: Count | None = None
    heads: Count | None = None
    kv_heads: Count | None = None
    head_dim: Count | None = None
    ff: Count | None = None
    scale_emb: Scale | None = None
    scale_depth: Scale | None = None
    dim_model_base: Count | None = None
    init_std: Scale | None = None
    rope_theta: Scale | None = None
    norm_eps: Scale | None = None
    tied: bool | None = None
    rope_scaling: Annotated[Literal["none", "ntk", "dynamic", "yarn"] | None, LATER] = None
    rope_factor: Annotated[float | None, Field(ge=1, allow_inf_nan=False), LATER] = None
    rope_original_context: Annotated[Count | None, LATER] = None
    qk_norm: Annotated[bool | None, LATER] = None
    depth_alpha: Annotated[float | None, Field(ge=0, le=STEEPEST), LATER] = None

    def config(self, vocab_size: int) -> ModelConfig:
        """The shape for a tokenizer of ``vocab_size`` pieces.

        Raises: UserError for an unknown preset, a shape that cannot be built, or a vocabulary
        smaller than the tokenizer's.
        """
        if self.vocab_size is not None and self.vocab_size < vocab_size:
            raise UserError(
                f"the tokenizer has {vocab_size} pieces, more than the model can hold",
                field="model.vocab_size",
                found=self.vocab_size,
                fix=f"leave vocab_size out, or give at least {vocab_size}",
            )
        overrides = {
            "vocab_size": vocab_size,
            **self.model_dump(exclude={"preset"}, exclude_none=True),
        }
        return preset(self.preset, **overrides)


class TrainSettings(Record):
    """How a model is trained. Steps are optimizer updates; tokens are those of the windows shown.

    ``clip`` is the joint gradient norm above which gradients are scaled down, null for never.
    ``micro_batch_tokens`` bounds memory and changes rounding only. ``checkpoint_every`` checkpoints
    are all kept, besides one at the end of each segment. ``validation_windows`` and
    ``validation_rule`` say what is read of each held-out source
    (:func:`trainer.evaluation.held_out.held_out`), null for all. ``threads`` are torch's, null for
    as many as it has. ``device`` and ``precision`` are carried out by
    :mod:`trainer.devices.precision`, which also
    says what ``auto`` comes to. ``float8`` lets the layers' matrices multiply in 8-bit floats
    (:mod:`trainer.kernels.float8`), on GPUs that can.
    """

    sequence_length: Annotated[int, Field(ge=2, le=1 << 20)] = 256
    batch_tokens: Count = 4096
    micro_batch_tokens: Count | None = None
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 1
    schedule: ScheduleSpec = ScheduleSpec()
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    clip: Scale | None = 1.0
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (
        0.9,
        0.95,
    )
    eps: Scale = 1e-8
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    float8: bool = False
    checkpoint_every: Count = 100
    validate_every: Count = 50
    validation_windows: Count | None = 64
    # of a training that goes on: the one it began with
    validation_rule: Annotated[Rule, LATER] = DOCUMENTS
    threads: Count | None = None
    tensorboard: bool = True

    @field_validator("precision", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        """Say of half precisions under other names what there is instead."""
        if value in OTHER_HALVES:
            raise UserError(
                f"{value} is not a precision to train in here",
                field="train.precision",
                found=value,
                allowed=["auto", "fp32", "bf16"],
                fix="write bf16, which needs a GPU, or leave precision out",
            )
        return value

    @model_validator(mode="after")
    def _agree(self) -> TrainSettings:
        if self.batch_tokens % self.sequence_length:
            near = max(1, round(self.batch_tokens / self.sequence_length)) * self.sequence_length
            raise ValueError(
                f"batch_tokens must be whole windows of {self.sequence_length} tokens; the nearest "
                f"is {near}"
            )
        return self

    @property
    def resolved_precision(self) -> str:
        """What ``precision`` comes to on this machine."""
        if self.precision != "auto":
            return self.precision
        # torch, which reading a recipe does not need
        from trainer.devices.precision import best_precision, device_of

        return best_precision(device_of(self.device))

    @property
    def micro_batch_windows(self) -> int:
        """Windows per forward and backward pass at the sequence length of the start, at least
        one.
        """
        return self.micro_batch_rows(self.sequence_length)

    def micro_batch_rows(self, length: int) -> int:
        """Windows of ``length`` tokens per forward and backward pass, at least one."""
        tokens = min(self.micro_batch_tokens or MICRO_BATCH_TOKENS, self.batch_tokens)
        return max(1, tokens // length)

    def schedule_of(self, plan: Plan) -> ScheduleSpec:
        """The schedule with the decay's start and the end that the plan fixes.

        A schedule may name as its end that of an earlier phase of the decay: the phases after it
        run at the rate that the decay ends with, as instruction tuning does after annealing.
        Raises: UserError when the schedule names another start or end than the plan, or warm-up
        reaches into the decay.
        """
        start = plan.decay_step
        phase = next((segment.name for segment in plan.segments if segment.decay), None)
        begins = (
            "leave it out: no phase is marked decay"
            if phase is None
            else f"{start}, where phase {phase!r} begins"
        )
        self._check_said(
            "decay_start",
            start,
            "the schedule's decay starts where no phase marked decay begins",
            begins,
        )
        early = self._early_end(plan)
        if early is None:
            self._check_said(
                "end",
                plan.steps,
                "the schedule ends where the phases do not",
                f"{plan.steps}, where the last phase ends",
            )
        if start is not None and self.schedule.kind == "wsd" and start < self.schedule.warmup:
            raise UserError(
                f"the decay starts after {start} steps, before warm-up ends",
                field="train.schedule.warmup",
                found=self.schedule.warmup,
                fix="shorten the warm-up, or give the stable phase more tokens",
            )
        return self.schedule.resolved(decay_start=start, end=early or plan.steps)

    def _early_end(self, plan: Plan) -> int | None:
        """The end that the schedule names, where that is an end of a phase of the decay before the
        last. Raises: UserError when the rate is 0 from there on.
        """
        said, start, schedule = self.schedule.end, plan.decay_step, self.schedule
        ends = {one.last_step for one, next_ in pairwise(plan.segments) if one.name != next_.name}
        falls = schedule.kind == "wsd" and schedule.decay.half_life is None
        if said is None or start is None or not falls or said not in ends or said <= start:
            return None
        if not schedule.decay.floor:
            raise UserError(
                "phases after the decay's end would run at rate 0",
                field="train.schedule.decay.final",
                found=schedule.decay.floor,
                allowed=["above 0, up to 1"],
                fix=f"give final: 0.1, or leave out end: {said}, so that the decay lasts to step "
                f"{plan.steps}",
            )
        return said

    def _check_said(self, name: str, planned: int | None, message: str, allowed: str) -> None:
        said = getattr(self.schedule, name)
        if said is not None and said != planned:
            raise UserError(
                message,
                field=f"train.schedule.{name}",
                found=f"step {said}",
                allowed=[allowed],
                fix=(
                    "leave it out, it comes from the phases; or change the phases' tokens or their "
                    "decay mark"
                ),
            )

    def without_ends(self) -> TrainSettings:
        """The same settings for a plan with another decay or end."""
        return self.model_copy(
            update={"schedule": self.schedule.resolved(decay_start=None, end=None)}
        )

    def decaying(self, shape: DecayShape | None = None) -> TrainSettings:
        """The same settings for an ending whose rate falls, also where it was constant before:
        by ``shape`` to where that falls by itself, default as the schedule says.
        """
        own = self.schedule.decay
        decay = own if shape in (None, own.shape) else DecaySpec(shape=shape)
        facts = {"kind": "wsd", "decay": decay, "decay_start": None, "end": None}
        return self.model_copy(update={"schedule": self.schedule.model_copy(update=facts)})

    def measuring_by(self, rule: Rule) -> TrainSettings:
        """The same settings with the rule for held-out text that a training began with."""
        return self.model_copy(update={"validation_rule": rule})

    def under_version(self, version: Version) -> TrainSettings:
        """The same settings with the schedule's ``version`` that a training began with."""
        return self.model_copy(
            update={"schedule": self.schedule.model_copy(update={"version": version})}
        )

    def fixed(self) -> dict[str, Any]:
        """What a run cannot change once it has begun: everything that decides the past but the
        schedule, which is compared by its rates.
        """
        names = {
            "sequence_length",
            "batch_tokens",
            "seed",
            "weight_decay",
            "clip",
            "betas",
            "eps",
            "float8",
        }
        return {**self.model_dump(mode="json", include=names), "precision": self.resolved_precision}

    def resolved(self) -> dict[str, Any]:
        """All settings as a checkpoint records them, the precision as the one computed in."""
        return {**self.model_dump(mode="json"), "precision": self.resolved_precision}
