"""What a run should be fed: phases of token shares, as a recipe says it.

    phases:
      - {name: stable, tokens: 1_228_800, weights: {web-en: 0.6, web-zh: 0.25, code: 0.15}}
      - {name: decay, decay: true, tokens: 307_200, weights: {web-en: 0.5, code: 0.25, sft: 0.25}, max_epochs: {sft: 4}}

Weights are shares of *tokens*, whatever the documents' lengths (MiniCPM, arXiv 2404.06395, section 6 mixes
instruction data into the decay phase this way). :mod:`mixtures.plan` turns the spec into whole steps.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from artifacts.errors import UserError

WEIGHT_TOLERANCE = 1e-6
Name = Annotated[str, Field(min_length=1)]
Epochs = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Phase(BaseModel):
    """A stretch of training with its own shares.

    ``tokens`` are rounded up to whole batches when planned. ``decay`` marks where the learning-rate
    schedule's decay starts. ``max_epochs`` caps how often this phase may go through a source.
    ``ramp_tokens`` of the phase's tokens move linearly from the previous phase's weights to these.
    ``sequence_length`` and ``batch_tokens`` are tokens of a window and of a step from this phase on; None keeps what was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    tokens: int = Field(gt=0, le=1 << 50)
    weights: dict[Name, Weight]
    decay: bool = False
    max_epochs: dict[Name, Epochs] = {}
    ramp_tokens: int = Field(default=0, ge=0)
    sequence_length: int | None = Field(default=None, ge=1, le=1 << 24)
    batch_tokens: int | None = Field(default=None, ge=1, le=1 << 40)

    @model_validator(mode="after")
    def _shares_make_a_whole(self) -> Phase:
        field = f"mixture.phases.{self.name}"
        total = sum(self.weights.values())
        if abs(total - 1) > WEIGHT_TOLERANCE:
            shares = ", ".join(f"{name}: {weight / total:.6g}" for name, weight in self.weights.items()) if total > 0 else None
            raise UserError(
                "the weights of a phase are shares of its tokens and sum to 1",
                field=f"{field}.weights",
                found=f"a sum of {total:.9g}",
                fix=f"weights: {{{shares}}} has the same proportions" if shares else "give at least one source a weight above 0",
            )
        if self.ramp_tokens > self.tokens:
            raise UserError(
                "a ramp is part of its phase",
                field=f"{field}.ramp_tokens",
                found=self.ramp_tokens,
                allowed=[f"at most {self.tokens}, the phase's tokens"],
            )
        _refuse_unknown(self.max_epochs, self.weights, f"{field}.max_epochs")
        return self


class MixtureSpec(BaseModel):
    """The ``mixture`` part of a recipe: phases in order, and caps over the whole run.

    ``packing`` by source: ``stream`` (documents one behind the other, cut into windows) or ``documents`` (whole documents in each window);
    a source that is not named is packed by documents when it has targets marked, as conversations have, and else is a stream.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    phases: tuple[Phase, ...] = Field(min_length=1)
    max_epochs: dict[Name, Epochs] = {}
    packing: dict[Name, Literal["stream", "documents"]] = {}

    @model_validator(mode="after")
    def _phases_fit_together(self) -> MixtureSpec:
        names = [phase.name for phase in self.phases]
        for name in names:
            if names.count(name) > 1:
                raise UserError("two phases have one name", field="mixture.phases", found=name, fix="rename one")
        if self.phases[0].ramp_tokens:
            raise UserError(
                "the first phase has no weights to ramp from",
                field=f"mixture.phases.{names[0]}.ramp_tokens",
                found=self.phases[0].ramp_tokens,
                allowed=[0],
            )
        known = {name: 0.0 for phase in self.phases for name in phase.weights}
        _refuse_unknown(self.max_epochs, known, "mixture.max_epochs")
        for name in self.packing:
            if name not in known:
                raise UserError("a packing for a source that has no weight", field="mixture.packing", found=name, allowed=sorted(known))
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """Every source with a weight above 0 in some phase, sorted."""
        return tuple(sorted({name for phase in self.phases for name, weight in phase.weights.items() if weight > 0}))


def _refuse_unknown(caps: dict[str, float], known: dict[str, float], field: str) -> None:
    for name in caps:
        if name not in known:
            raise UserError("a cap on a source that has no weight here", field=field, found=name, allowed=sorted(known))
