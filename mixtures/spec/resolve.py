"""From what a recipe says to what a plan needs: phases in tokens, with a weight for every source.

    resolve(spec, {"web-en": 8_000_000, "code": 2_000_000})
    # {name: stable, percent: 90, temperature: 2, weights_from: [web-en, code]} of 1,000,000 tokens
    # Phase(name="stable", tokens=900_000, weights={"web-en": 2/3, "code": 1/3})

Pure functions of the spec and the tokens there are, by source (a band counts as a source, see
:mod:`mixtures.spec.bands`). Weights by size are shares in proportion to tokens^(1/temperature): 1
takes sources as they are, larger temperatures lift the small ones, ``uniform`` is the limit, where
all are equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, fsum, inf, log

from artifacts.errors import UserError
from mixtures.sequences.chairman import SHARE_UNITS
from mixtures.spec.bands import names_meant, source_of, split, tokens_of
from mixtures.spec.lengths import phase_tokens, run_tokens
from mixtures.spec.phase import Phase, PhaseSpec
from mixtures.spec.presets import preset_weights
from mixtures.spec.rules import check_hold_out, check_reserve
from mixtures.spec.spec import MixtureSpec

SMALLEST_WEIGHT = 1 / SHARE_UNITS


def resolve(spec: MixtureSpec, available: Mapping[str, int]) -> tuple[Phase, ...]:
    """The phases of a mixture, in order. ``available``: tokens by source.

    Tokens of the phases sum to the run's; weights of a phase sum to 1. Weights that a recipe gives
    for every source of a phase pass as they are.
    Raises: UserError for sources without shards or tokens, unknown bands, lengths that do not add
    up, and sources that are reserved or held out.
    """
    phases = resolve_phases(
        spec.phases, available, run_tokens(spec.phases, spec.tokens), whole=True
    )
    # the first name the recipe's fields, the second also bands that only the shards know
    for said in (spec.phases, phases):
        check_hold_out(said, spec.rules)
        check_reserve(said, spec.rules, decayed=False, branch=None)
    return phases


def resolve_phases(
    phases: Sequence[PhaseSpec], available: Mapping[str, int], run: int, whole: bool = False
) -> tuple[Phase, ...]:
    """Phases of a run (``whole``) or a branch, in order; percents are of ``run`` tokens. Raises:
    UserError as :func:`resolve`.
    """
    lengths = phase_tokens(phases, run, whole)
    return tuple(
        _resolved(phase, tokens, available) for phase, tokens in zip(phases, lengths, strict=True)
    )


def shares_by_size(tokens: Mapping[str, int], temperature: float) -> dict[str, float]:
    """Shares that sum to 1, in proportion to tokens^(1/temperature), tokens above 0; ``inf`` gives
    equal shares.
    """
    largest = max(tokens.values())
    powers = {
        name: exp(log(count / largest) / temperature) if temperature < inf else 1.0
        for name, count in tokens.items()
    }
    total = fsum(powers.values())
    return {name: power / total for name, power in powers.items()}


def check_windows(
    phases: Sequence[PhaseSpec], available: Mapping[str, int], sequence_length: int
) -> None:
    """Check that every source or band that is shown has a window of tokens. Raises: UserError with
    the numbers.
    """
    at = "train"
    for phase in phases:
        own = phase.sequence_length is not None
        at = ".".join(map(str, phase.address)) if own else at
        sequence_length = phase.sequence_length or sequence_length
        for spoken, field in phase.shown.items():
            for name in names_meant(spoken, available):
                if available[name] < sequence_length:
                    raise UserError(
                        f"{name} has less than one window of tokens",
                        field=(*phase.address, *field),
                        found=f"{available[name]:,} tokens",
                        allowed=[f"at least {sequence_length:,}, the sequence length"],
                        fix="give it more documents, leave it out of the mixture, or lower "
                        f"{at}.sequence_length to {available[name]:,} or less",
                    )


def preset_notes(phases: Sequence[PhaseSpec]) -> list[str]:
    """A line for every phase that uses a preset: what of the preset is left out, for the table of a
    plan.
    """
    notes = []
    for phase in phases:
        if phase.preset is not None:
            shares = preset_weights(
                phase.preset.name, phase.preset.sources, (*phase.address, "preset", "sources")
            )
            out = [
                entry.entry
                + (" (not published)" if entry.percent is None else f" {entry.percent:g} %")
                for entry in shares.left_out
            ]
            notes.append(
                f"{phase.name}: {phase.preset.name}, {shares.mapped_percent:g} % of it mapped; "
                f"left out: {', '.join(out) or 'nothing'}"
            )
    return notes


def names_of(phases: Sequence[Phase]) -> tuple[str, ...]:
    """Every source with a weight above 0 in some phase, sorted."""
    return tuple(sorted({name for phase in phases for name in phase.shown}))


def _resolved(phase: PhaseSpec, tokens: int, available: Mapping[str, int]) -> Phase:
    if phase.ramp_tokens > tokens:
        raise UserError(
            "a ramp is part of its phase",
            field=(*phase.address, "ramp_tokens"),
            found=phase.ramp_tokens,
            allowed=[f"at most {tokens}, the phase's {phase.percent:g} percent"],
        )
    return Phase(
        name=phase.name,
        tokens=tokens,
        weights=_weights(phase, available),
        decay=phase.decay,
        max_epochs=phase.max_epochs,
        ramp_tokens=phase.ramp_tokens,
        sequence_length=phase.sequence_length,
        batch_tokens=phase.batch_tokens,
    )


def _weights(phase: PhaseSpec, available: Mapping[str, int]) -> dict[str, float]:
    """A weight for every source or band; those given for all sources pass as they are."""
    weights: dict[str, float] = {}
    for name, weight in _by_source(phase, available).items():
        if weight == 0 and name in phase.weights:
            parts = {name: 0.0}
        else:
            field = (*phase.address, *phase.shown.get(name, ("bands", name)))
            tokens_of(name, available, field)
            parts = split(name, weight, phase.bands.get(name), available, field)
        weights |= {part: weights.get(part, 0.0) + share for part, share in parts.items()}
    if weights == phase.weights:
        return dict(phase.weights)
    for name, weight in weights.items():
        if weight < SMALLEST_WEIGHT and name not in phase.weights:
            _refuse_small(phase, name, weight, available)
    return _whole(weights)


def _by_source(phase: PhaseSpec, available: Mapping[str, int]) -> dict[str, float]:
    """Weights of sources, before bands: the fixed ones, then the rest divided by size or as a
    preset says.
    """
    rest: dict[str, float] = {}
    if phase.weights_from is not None:
        tokens = {
            name: tokens_of(name, available, (*phase.address, "weights_from"))
            for name in phase.weights_from
        }
        for name, count in tokens.items():
            if count == 0:
                raise UserError(
                    f"{name} has no tokens to be weighed by",
                    field=(*phase.address, "weights_from"),
                    found=name,
                    allowed=[f"{other}: {have:,} tokens" for other, have in tokens.items() if have],
                    fix="take it out of weights_from",
                )
        rest = shares_by_size(
            tokens, inf if phase.temperature == "uniform" else float(phase.temperature or 1.0)
        )
    elif phase.preset is not None:
        rest = preset_weights(
            phase.preset.name, phase.preset.sources, (*phase.address, "preset", "sources")
        ).weights
    left = 1.0 - fsum(phase.weights.values())
    return {**phase.weights, **{name: left * share for name, share in rest.items()}}


def _whole(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights whose sum is 1 to the last bit: what rounding leaves goes to the largest."""
    total = fsum(weights.values())
    whole = {name: weight / total for name, weight in weights.items()}
    largest = max(whole, key=lambda name: whole[name])
    whole[largest] += 1.0 - fsum(whole.values())
    return whole


def _refuse_small(phase: PhaseSpec, name: str, weight: float, available: Mapping[str, int]) -> None:
    fix = (
        "raise temperature"
        if phase.weights_from
        else "raise its factor"
        if phase.bands
        else "raise the weight of its source"
    )
    raise UserError(
        f"the share of {name} is too small to plan with",
        field=(
            *phase.address,
            "weights_from" if phase.weights_from else "bands" if phase.bands else "weights",
        ),
        found=f"{weight:.3g} for {available.get(name, available.get(source_of(name), 0)):,} tokens",
        allowed=[f"at least {SMALLEST_WEIGHT:.3g}, one in 2^18"],
        fix=f"{fix}, give it a weight of its own, or leave it out",
    )
