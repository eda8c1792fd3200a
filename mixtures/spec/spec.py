"""What a run should be fed: phases of token shares, as a recipe says it.

    tokens: 1_536_000
    phases:
      - {name: stable, percent: 80, temperature: 2, weights_from: [web-en, web-zh, code]}
      - {name: decay, decay: true, percent: 20, weights: {web-en: 0.5, code: 0.25, sft: 0.25},
        max_epochs: {sft: 4}}
    reserve: {sft: decay}

Weights are shares of *tokens*, whatever the documents' lengths (MiniCPM, arXiv 2404.06395, section
6 mixes instruction data into the decay phase this way). :mod:`mixtures.spec.resolve` turns
percents, sizes, presets and bands into tokens and weights, :mod:`mixtures.freeze.freeze` those into
whole steps.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from artifacts.errors import UserError
from artifacts.records import Record
from mixtures.spec.lengths import run_tokens
from mixtures.spec.phase import Epochs, Name, Phase, PhaseSpec, refuse_unknown
from mixtures.spec.rules import MixtureRules, check_hold_out, check_one_decay

__all__ = ["MixtureSpec", "Phase", "PhaseSpec"]

Tokens = Annotated[int, Field(gt=0, le=1 << 50)]


class MixtureSpec(Record):
    """The ``mixture`` part of a recipe: phases in order, and rules over the whole run.

    ``tokens``: of the run, which percents are of; may be left out where phases in tokens say it.
    ``min_tokens``: what the plan must show of a source. ``packing`` by source: ``stream``
    (documents one behind the other, cut into windows) or ``documents`` (whole documents in each
    window); a source that is not named is packed by documents where it has targets marked, as
    conversations have, and else is a stream. The other rules are those of
    :class:`mixtures.spec.rules.MixtureRules`.
    """

    tokens: Tokens | None = None
    phases: tuple[PhaseSpec, ...] = Field(min_length=1)
    max_epochs: dict[Name, Epochs] = {}
    max_repetitions: int | None = Field(default=None, ge=1, le=1 << 20)
    min_tokens: dict[Name, Tokens] = {}
    reserve: dict[Name, Name] = {}
    hold_out: tuple[Name, ...] = ()
    packing: dict[Name, Literal["stream", "documents"]] = {}

    @model_validator(mode="after")
    def _phases_fit_together(self) -> MixtureSpec:
        names = [phase.name for phase in self.phases]
        for name in names:
            if names.count(name) > 1:
                raise UserError(
                    "two phases have one name", field="mixture.phases", found=name, fix="rename one"
                )
        if self.phases[0].ramp_tokens:
            raise UserError(
                "the first phase has no weights to ramp from",
                field=(*self.phases[0].address, "ramp_tokens"),
                found=self.phases[0].ramp_tokens,
                allowed=[0],
            )
        check_one_decay(self.phases)
        run_tokens(self.phases, self.tokens)
        return self

    @model_validator(mode="after")
    def _rules_are_kept(self) -> MixtureSpec:
        known = {name for phase in self.phases for name in (*phase.weights, *phase.shown)}
        # those reserved may be a branch's
        refuse_unknown(self.max_epochs, known | set(self.reserve), ("mixture", "max_epochs"))
        refuse_unknown(self.min_tokens, known, ("mixture", "min_tokens"), "minimum")
        refuse_unknown(self.packing, known, ("mixture", "packing"), "packing")
        check_hold_out(self.phases, self.rules)
        return self

    @property
    def rules(self) -> MixtureRules:
        """What a plan of this mixture carries on, for later phases and branches."""
        return MixtureRules(
            max_epochs=self.max_epochs,
            max_repetitions=self.max_repetitions,
            reserve=self.reserve,
            hold_out=self.hold_out,
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """Every source that some phase may show, sorted; ``SOURCE/BAND`` where a phase names
        bands.
        """
        return tuple(sorted({name for phase in self.phases for name in phase.shown}))
