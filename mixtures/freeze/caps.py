"""Caps on epochs and repetitions: refuse a plan that shows a source more often than the recipe
allows.

Windows of an epoch are shown once each. So a source that a run goes through e times shows no
document more often than e, rounded up, and ``max_repetitions`` caps every source at so many epochs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import Address, UserError, written
from mixtures.order.interleave import tokens_shown
from mixtures.plan.format import Plan
from mixtures.spec.bands import rule_of
from mixtures.spec.phase import Phase


@dataclass(frozen=True)
class Cap:
    """A cap on a source of ``epoch`` tokens: ``tokens`` allowed, ``shown`` by the plan, of these
    ``before`` the phase.
    """

    source: str
    epoch: int
    epochs: float
    address: Address
    tokens: int
    shown: int
    before: int

    @property
    def field(self) -> str:
        """Where the recipe says it."""
        return written(self.address)

    @property
    def rule(self) -> str:
        """The field's own name: ``max_epochs`` or ``max_repetitions``."""
        named = self.address[-1] != "max_repetitions"
        return str(self.address[-2] if named else self.address[-1])

    @property
    def room(self) -> int:
        return max(0, self.tokens - self.before)

    @property
    def used(self) -> float:
        """How much of what the cap allows the plan shows; 1 is all of it."""
        return self.shown / self.tokens if self.tokens else float(self.shown > 0)


def check_caps(plan: Plan, first_segment: int, phase: Phase) -> None:
    """Check the plan's last phase, which begins with ``first_segment``, and the run up to its end.

    The last epoch of a cap may be part of an epoch; within a phase the cap counts tokens shown in
    the phase over the tokens of an epoch. Both are those of whole windows, padding included.
    Raises: UserError that says which cap binds (the one most exceeded), what is wanted and
    available, and what would fit.
    """
    end = tokens_shown(plan, plan.steps).tolist()
    begin = tokens_shown(plan, plan.segments[first_segment].first_step).tolist()
    shown = {
        name: (first, last)
        for name, first, last in zip(plan.names, begin, end, strict=True)
        if last > first
    }
    epochs = dict(zip(plan.names, epoch_tokens(plan).tolist(), strict=True))
    caps = [
        cap
        for name, (first, last) in shown.items()
        for cap in caps_on(plan, name, epochs[name], phase, first, last)
    ]
    broken = [cap for cap in caps if cap.shown > cap.tokens]
    if broken:
        worst = max(broken, key=lambda cap: Fraction(cap.shown, max(1, cap.tokens)))
        refuse(worst, phase, _room(caps, set(shown)), sum(end) - sum(begin))


def epoch_tokens(plan: Plan) -> NDArray[np.int64]:
    """Tokens of an epoch of each source, (sources,): the fewest that any window length of the plan
    makes of it.
    """
    tokens = np.zeros(len(plan.sources), np.int64)
    for context in plan.contexts:
        own = np.array([source.windows * context.sequence_length for source in context.sources])
        tokens = np.where(own > 0, np.where(tokens > 0, np.minimum(tokens, own), own), tokens)
    return tokens


def allowed_tokens(epoch: int, epochs: float) -> int:
    """Whole tokens in a number of epochs."""
    return int(Fraction(epochs) * epoch)


def caps_on(plan: Plan, name: str, epoch: int, phase: Phase, begin: int, end: int) -> Iterator[Cap]:
    """The caps on a source of ``epoch`` tokens that had shown ``begin`` tokens before a phase and
    ``end`` behind it.

    They are the phase's, the run's, and that on repetitions.
    """
    in_phase = rule_of(phase.max_epochs, name)
    if in_phase is not None:
        address = (*phase.address, "max_epochs", in_phase[0])
        yield Cap(
            name, epoch, in_phase[1], address, allowed_tokens(epoch, in_phase[1]), end - begin, 0
        )
    in_run = rule_of(plan.rules.max_epochs, name)
    if in_run is not None:
        yield Cap(
            name,
            epoch,
            in_run[1],
            ("mixture", "max_epochs", in_run[0]),
            allowed_tokens(epoch, in_run[1]),
            end,
            begin,
        )
    times = plan.rules.max_repetitions
    if times is not None:
        address = ("mixture", "max_repetitions")
        yield Cap(name, epoch, times, address, times * epoch, end, begin)


def _room(caps: list[Cap], shown: set[str]) -> int | None:
    """Tokens that all sources of the phase have under their caps; None where one of them has no
    cap.
    """
    rooms: dict[str, int] = {}
    for cap in caps:
        rooms[cap.source] = min(cap.room, rooms.get(cap.source, cap.room))
    return sum(rooms.values()) if set(rooms) == shown else None


def refuse(cap: Cap, phase: Phase, room: int | None = None, wanted: int = 0) -> None:
    """Say that a cap is exceeded in a phase of ``wanted`` tokens; ``room`` as :func:`_room`.
    Raises: UserError.
    """
    weight = phase.weights.get(cap.source, 0.0)
    fitting = weight * cap.room / (cap.shown - cap.before)
    if room is not None and room < wanted:
        fix = (
            f"no weights fit: at their caps all sources of phase {phase.name} come to {room:,} of "
            f"its {wanted:,} tokens; "
            f"shorten it to that, or raise the caps"
        )
    elif cap.room == 0:
        fix = f"take {cap.source} out of phase {phase.name}: what its cap allows was shown before"
    else:
        fix = (
            f"in phase {phase.name} lower the weight of {cap.source} "
            f"from {weight:g} to at most {fitting:.4g}"
        )
    raised = (
        f"{-(-cap.shown // cap.epoch)}"
        if cap.rule == "max_repetitions"
        else f"{cap.shown / cap.epoch + 0.0005:.3f}"
    )
    raise UserError(
        f"the plan goes through {cap.source} more often than its cap allows",
        field=cap.address,
        found=(
            f"{cap.shown:,} tokens wanted of {cap.source}, {cap.epoch:,} in an epoch: "
            f"{cap.shown / cap.epoch:.3f} epochs"
        ),
        allowed=[f"{cap.epochs:g} epochs, {cap.tokens:,} tokens"],
        fix=f"{fix}, or raise the cap to {raised}" if room is None or room >= wanted else fix,
    )
