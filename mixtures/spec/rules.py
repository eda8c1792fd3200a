"""Rules of a mixture that outlive its freeze: what later phases and branches must keep to as well.

    max_epochs: {web-zh: 2}              no more than so many epochs of a source over the run
    max_repetitions: 4                   no document more often than this over the run
    reserve: {sft: decay}                not shown before the decay
    reserve: {expert: with-expert}       only in the phase, or the branch, of this name
    hold_out: [gsm8k-test]               measured, never shown

Caps are checked over whole windows of a plan, in :mod:`mixtures.freeze.caps`; the rest needs the
phases alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from pydantic import Field

from artifacts.errors import Address, UserError
from artifacts.records import Record
from mixtures.spec.bands import rule_of, source_of
from mixtures.spec.phase import Epochs, Name, Phase, PhaseSpec

DECAY = "decay"
RAMP: Address = ("ramp_tokens",)


class MixtureRules(Record):
    """The part of a mixture that a plan carries on. Rules for a source hold for its bands, unless
    they have their own.
    """

    max_epochs: dict[Name, Epochs] = {}
    max_repetitions: int | None = Field(default=None, ge=1, le=1 << 20)
    reserve: dict[Name, Name] = {}
    hold_out: tuple[Name, ...] = ()


def check_reserve(
    phases: Sequence[PhaseSpec],
    rules: MixtureRules,
    decayed: bool,
    branch: str | None,
    before: Mapping[str, float] | None = None,
) -> None:
    """Check that no phase shows a source reserved for another.

    ``decayed``: whether a decay began before these phases. ``branch``: the name of the branch they
    are, None for the main run. ``before``: weights of the phase before the first, which a ramp
    shows as well.
    Raises: UserError with the phase, the source, and where it may be shown.
    """
    fading: dict[str, Address] = {
        name: ("weights", name) for name, weight in (before or {}).items() if weight > 0
    }
    for phase in phases:
        decayed = decayed or phase.decay
        ramped = fading if phase.ramp_tokens else {}
        shown = {**dict.fromkeys(ramped, RAMP), **phase.shown}
        for name, field in shown.items():
            reserved = rule_of(rules.reserve, name)
            if reserved is not None and not _open(reserved[1], phase, decayed, branch):
                _refuse_reserved(name, field, reserved, phase, branch)
        fading = phase.shown


def check_one_decay(
    phases: Sequence[PhaseSpec], begun: str | None = None, branch: str | None = None
) -> None:
    """Check that a decay begins once: from there the learning rate falls to the end of the run.

    ``begun``: the phase that decays already when these begin, which the first of them may go on
    with. ``branch`` as in :func:`check_reserve`.
    Raises: UserError with the second phase that is marked.
    """
    for place, phase in enumerate(phases):
        if not phase.decay or (place == 0 and phase.name == begun):
            continue
        if begun is not None:
            raise UserError(
                "the decay begins once, and lasts to the end of the run",
                field=(*phase.address, "decay"),
                found=f"a second decay{f' in branch {branch}' if branch else ''}; phase {begun} "
                "has begun it",
                fix=f"leave decay out of phase {phase.name}: the rate falls through it as well",
            )
        begun = phase.name


def check_hold_out(phases: Sequence[PhaseSpec], rules: MixtureRules) -> None:
    """Check that no phase shows a source that is only measured. Raises: UserError with the phase
    and the source.
    """
    held = dict.fromkeys(rules.hold_out, True)
    for phase in phases:
        for name, field in phase.shown.items():
            if rule_of(held, name):
                raise UserError(
                    f"{name} is held out: measured, never shown",
                    field=(*phase.address, *field),
                    found=_weight(phase, name),
                    fix=f"take {name} out of phase {phase.name}, or out of mixture.hold_out",
                )


def check_min_tokens(
    min_tokens: Mapping[str, int],
    shown: Mapping[str, int],
    phases: Sequence[Phase],
    window: int = 1,
) -> None:
    """Check that a plan shows as much of each source as is asked for.

    ``shown``: planned tokens over the run by source; a source and its bands count together under
    the source's name. ``phases``: what was planned; ``window``: tokens of a window, to which counts
    are exact.
    Raises: UserError with the numbers and the weight that would do.
    """
    for name, wanted in min_tokens.items():
        found = sum(tokens for other, tokens in shown.items() if name in (other, source_of(other)))
        if found < wanted:
            raise UserError(
                f"the plan shows less of {name} than min_tokens asks for",
                field=("mixture", "min_tokens", name),
                found=f"{found:,} tokens over the run",
                allowed=[f"at least {wanted:,} tokens"],
                fix=_enough(name, wanted - found, phases, window),
            )


def _open(place: str, phase: PhaseSpec, decayed: bool, branch: str | None) -> bool:
    if place == DECAY:
        return decayed
    return place in (phase.name, branch)


def _refuse_reserved(
    name: str, field: Address, reserved: tuple[str, str], phase: PhaseSpec, branch: str | None
) -> None:
    key, place = reserved
    where = "the decay and what follows it" if place == DECAY else f"the phase or branch {place}"
    here = f"phase {phase.name}" + (f" of branch {branch}" if branch else "")
    mark = ", mark the phase decay: true" if place == DECAY else ""
    ramp = "start this phase without a ramp" if field == RAMP else f"take {name} out of {here}"
    raise UserError(
        f"{name} is reserved for {where}",
        field=(*phase.address, *field),
        found="a ramp that still shows it" if field == RAMP else _weight(phase, name),
        fix=f"{ramp}{mark}, or change mixture.reserve.{key}",
    )


def _weight(phase: PhaseSpec, name: str) -> str:
    return (
        f"a weight of {phase.weights[name]:g} in phase {phase.name}"
        if name in phase.weights
        else f"{name} in phase {phase.name}"
    )


def _enough(name: str, missing: int, phases: Sequence[Phase], window: int) -> str:
    """The weight, in the phase that shows most of it, that would bring a source up to its
    minimum.
    """

    def weight_of(phase: Phase) -> float:
        return sum(
            weight for other, weight in phase.weights.items() if name in (other, source_of(other))
        )

    phase = max(phases, key=lambda phase: (weight_of(phase) * phase.tokens, phase.tokens))
    constant = phase.tokens - phase.ramp_tokens / 2  # a ramp shows half of a change
    weight = weight_of(phase) + (missing + 2 * window) / constant
    if weight > 1:
        return (
            f"lower min_tokens by {missing:,}, or make the run longer: "
            f"not even a weight of 1 in phase {phase.name} would do"
        )
    return (
        f"in phase {phase.name} raise the weight of {name} "
        f"from {weight_of(phase):.4g} to {ceil(weight * 1e4) / 1e4:.4f}"
    )
