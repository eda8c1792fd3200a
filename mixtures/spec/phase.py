"""A phase of training: as a recipe says it (:class:`PhaseSpec`), and as a plan needs it
(:class:`Phase`).

A recipe may give a length in percent, and weights by size, by preset or by band.
:mod:`mixtures.spec.resolve` turns that into phases of so many tokens with a weight for every
source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from math import fsum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from artifacts.errors import Address, UserError
from artifacts.records import Record
from mixtures.spec.bands import SEPARATOR, source_of
from mixtures.spec.presets import PresetName, check_entries

WEIGHT_TOLERANCE = 1e-6
MOST_TOKENS = 1 << 50
Name = Annotated[str, Field(min_length=1)]
Epochs = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Factor = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Preset(Record):
    """A mixture from :mod:`mixtures.spec.presets`; ``sources`` says which source stands for which
    of its entries.
    """

    name: PresetName
    sources: dict[Name, Name] = Field(min_length=1)


class PhaseSpec(Record):
    """A stretch of training with its own shares, as a recipe says it.

    Its length is ``tokens``, rounded up to whole batches when planned, or ``percent`` of the run's
    tokens. ``decay`` marks where the learning-rate schedule's decay starts. ``max_epochs`` caps how
    often this phase may go through a source. ``ramp_tokens`` of the phase's tokens move linearly
    from the previous phase's weights to these.

    ``weights`` are shares of the phase's tokens. What they leave of 1 is divided among
    ``weights_from`` in proportion to (tokens of the source)^(1 / ``temperature``), or as ``preset``
    says; without either they sum to 1. ``bands`` divides the weight of a source among its bands in
    proportion to factor x tokens of the band.

    ``sequence_length`` and ``batch_tokens`` are the tokens of a window and of a step from this
    phase on; None keeps what was.
    """

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["tokens"]}, {"required": ["percent"]}]},
    )

    name: Name
    tokens: int | None = Field(default=None, gt=0, le=MOST_TOKENS)
    percent: float | None = Field(default=None, gt=0, le=100, allow_inf_nan=False)
    weights: dict[Name, Weight] = {}
    weights_from: tuple[Name, ...] | None = Field(default=None, min_length=1)
    temperature: Temperature | Literal["uniform"] | None = None
    preset: Preset | None = None
    bands: dict[Name, dict[Name, Factor]] = {}
    decay: bool = False
    max_epochs: dict[Name, Epochs] = {}
    ramp_tokens: int = Field(default=0, ge=0)
    sequence_length: int | None = Field(default=None, ge=1, le=1 << 24)
    batch_tokens: int | None = Field(default=None, ge=1, le=1 << 40)

    @property
    def address(self) -> Address:
        """Where the phase stands in a recipe."""
        return ("mixture", "phases", self.name)

    @property
    def shown(self) -> dict[str, Address]:
        """Every source the phase may show, and the address below the phase that says so."""
        named: dict[str, Address] = {
            name: ("weights", name) for name, weight in self.weights.items() if weight > 0
        }
        named |= dict.fromkeys(self.weights_from or (), ("weights_from",))
        if self.preset is not None:
            named |= {
                name: ("preset", "sources", entry) for entry, name in self.preset.sources.items()
            }
        shown: dict[str, Address] = {}
        for name, field in named.items():
            factors = self.bands.get(name, {})
            shown |= {
                f"{name}{SEPARATOR}{band}": ("bands", name, band)
                for band, factor in factors.items()
                if factor > 0
            }
            shown |= {} if factors else {name: field}
        return shown

    @model_validator(mode="after")
    def _one_length(self) -> PhaseSpec:
        if (self.tokens is None) == (self.percent is None):
            raise UserError(
                "the length of a phase is said once, as tokens or as percent of the run",
                field=self.address,
                found="neither"
                if self.tokens is None
                else f"tokens: {self.tokens}, percent: {self.percent:g}",
                fix="add tokens, or percent" if self.tokens is None else "remove one of the two",
            )
        if self.tokens is not None and self.ramp_tokens > self.tokens:
            raise UserError(
                "a ramp is part of its phase",
                field=(*self.address, "ramp_tokens"),
                found=self.ramp_tokens,
                allowed=[f"at most {self.tokens}, the phase's tokens"],
            )
        return self

    @model_validator(mode="after")
    def _shares_make_a_whole(self) -> PhaseSpec:
        total = fsum(self.weights.values())
        if self.weights_from is None and self.preset is None:
            if abs(total - 1) > WEIGHT_TOLERANCE:
                _refuse_sum(self, total)
        elif total >= 1 - WEIGHT_TOLERANCE:
            filler = "weights_from" if self.weights_from is not None else "preset"
            raise UserError(
                f"the weights leave nothing for {filler}",
                field=(*self.address, "weights"),
                found=f"a sum of {total:.9g}",
                fix=f"lower the weights to a sum below 1, or remove {filler}",
            )
        return self

    @model_validator(mode="after")
    def _rest_is_said_once(self) -> PhaseSpec:
        if self.weights_from is not None and self.preset is not None:
            raise UserError(
                "two ways to divide what weights leave",
                field=(*self.address, "preset"),
                found="weights_from and preset",
                fix="remove one of the two",
            )
        if self.temperature is not None and self.weights_from is None:
            raise UserError(
                "a temperature without sources to weigh by size",
                field=(*self.address, "temperature"),
                found=self.temperature,
                fix=f"add weights_from: [{', '.join(self.weights) or '…'}], or remove temperature",
            )
        if self.preset is not None:
            check_entries(
                self.preset.name, self.preset.sources, (*self.address, "preset", "sources")
            )
        rest = list(self.weights_from or ()) + list(
            {} if self.preset is None else dict.fromkeys(self.preset.sources.values())
        )
        for name in rest:
            if name in self.weights or rest.count(name) > 1:
                raise UserError(
                    "a source with two shares in one phase",
                    field=(
                        *self.address,
                        *(("preset", "sources") if self.preset else ("weights_from",)),
                    ),
                    found=name,
                    fix=(
                        f"name {name} once: in weights with a share of its own, or in what divides "
                        "the rest"
                    ),
                )
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> PhaseSpec:
        shares = {**self.weights, **dict.fromkeys(self.weights_from or (), 0.0)}
        shares |= dict.fromkeys({} if self.preset is None else self.preset.sources.values(), 0.0)
        for name in self.bands:
            if name not in shares:
                raise UserError(
                    "bands of a source that has no weight here",
                    field=(*self.address, "bands"),
                    found=name,
                    allowed=sorted(shares),
                    fix="name one of the sources above, or give it a weight",
                )
            if not any(self.bands[name].values()):
                raise UserError(
                    f"the bands of {name} have no factor above 0, so their weights sum to zero",
                    field=(*self.address, "bands", name),
                    found=self.bands[name],
                    fix="give at least one band a factor above 0",
                )
        refuse_unknown(self.max_epochs, {*shares, *self.shown}, (*self.address, "max_epochs"))
        return self


class Phase(PhaseSpec):
    """A phase as a plan needs it: ``tokens``, and ``weights`` that sum to 1. Nothing is left to be
    resolved.
    """

    tokens: int = Field(gt=0, le=MOST_TOKENS)
    weights: dict[Name, Weight]

    @model_validator(mode="after")
    def _is_resolved(self) -> Phase:
        for name in ("percent", "weights_from", "temperature", "preset", "bands"):
            if getattr(self, name):
                raise UserError(
                    "a phase of a plan has tokens and weights",
                    field=(*self.address, name),
                    found=getattr(self, name),
                    fix="give the phase tokens, and weights that sum to 1",
                )
        return self


def refuse_unknown(
    rules: Iterable[str], known: set[str], field: Address, what: str = "cap"
) -> None:
    """Raises: UserError for a rule on a source that is not known, neither itself, nor its source,
    nor a band of it.
    """
    sources = {source_of(name) for name in known}
    for name in rules:
        if not (name in known or name in sources or source_of(name) in known):
            raise UserError(
                f"a {what} on a source that has no weight here",
                field=field,
                found=name,
                allowed=sorted(known),
                fix=f"name one of the sources above, or remove the {what}",
            )


def _whole(weights: Mapping[str, float], total: float) -> dict[str, str]:
    """Shares in the proportions of weights, as decimals that sum to 1."""
    for places in range(6, 16):
        units = {name: round(weight / total * 10**places) for name, weight in weights.items()}
        largest = max(units, key=lambda name: units[name])
        units[largest] += 10**places - sum(units.values())
        if all(bool(units[name]) == bool(weight) for name, weight in weights.items()):
            break
    shares = {name: Decimal(count).scaleb(-places).normalize() for name, count in units.items()}
    return {name: f"{share:f}" for name, share in shares.items()}


def _refuse_sum(phase: PhaseSpec, total: float) -> None:
    whole = _whole(phase.weights, total) if total > 0 else {}
    shares = ", ".join(f"{name}: {share}" for name, share in whole.items())
    raise UserError(
        "the weights of a phase are shares of its tokens and sum to 1",
        field=(*phase.address, "weights"),
        found=f"a sum of {total:.9g}",
        fix=f"weights: {{{shares}}} has the same proportions"
        if shares
        else "give at least one source a weight above 0",
    )
