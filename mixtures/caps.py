"""Caps on epochs and repetitions: refuse a plan that shows a source more often than the recipe allows.

Windows of an epoch are shown once each. So a source that a run goes through e times shows no document more often than e,
rounded up, and ``max_repetitions`` caps every source at so many epochs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from artifacts.errors import UserError
from mixtures.bands import rule_of
from mixtures.interleave import counts_before
from mixtures.plan_format import PinnedSource, Plan
from mixtures.spec import Phase


@dataclass(frozen=True)
class _Cap:
    """A cap on a source: ``windows`` allowed, ``shown`` by the plan, of these ``before`` the phase."""

    source: PinnedSource
    epochs: float
    field: str
    windows: int
    shown: int
    before: int

    @property
    def room(self) -> int:
        return max(0, self.windows - self.before)


def check_caps(plan: Plan, first_segment: int, phase: Phase) -> None:
    """Check the plan's last phase, which begins with ``first_segment``, and the run up to its end.

    The last epoch of a cap may be part of an epoch; within a phase the cap counts windows shown in the phase over the
    windows of an epoch.
    Raises: UserError that says which cap binds (the one most exceeded), what is wanted and available, and what would fit.
    """
    end = counts_before(plan, plan.steps * plan.batch_windows)
    begin = counts_before(plan, plan.segments[first_segment].first_step * plan.batch_windows)
    caps: list[_Cap] = []
    for index, source in enumerate(plan.sources):
        if end[index] > begin[index]:
            caps += _caps_on(plan, source, phase, int(begin[index]), int(end[index]))
    broken = [cap for cap in caps if cap.shown > cap.windows]
    if broken:
        worst = max(broken, key=lambda cap: Fraction(cap.shown, max(1, cap.windows)))
        shown = {source.name for index, source in enumerate(plan.sources) if end[index] > begin[index]}
        _refuse(plan, worst, phase, _room(caps, shown), int(sum(end) - sum(begin)))


def allowed_windows(source: PinnedSource, epochs: float) -> int:
    """Whole windows in a number of epochs."""
    return int(Fraction(epochs) * source.windows)


def _caps_on(plan: Plan, source: PinnedSource, phase: Phase, begin: int, end: int) -> Iterator[_Cap]:
    """The caps on a source: the phase's, the run's, and that on repetitions."""
    in_phase = rule_of(phase.max_epochs, source.name)
    if in_phase is not None:
        field = f"{phase.field}.max_epochs.{in_phase[0]}"
        yield _Cap(source, in_phase[1], field, allowed_windows(source, in_phase[1]), end - begin, 0)
    in_run = rule_of(plan.rules.max_epochs, source.name)
    if in_run is not None:
        field = f"mixture.max_epochs.{in_run[0]}"
        yield _Cap(source, in_run[1], field, allowed_windows(source, in_run[1]), end, begin)
    times = plan.rules.max_repetitions
    if times is not None:
        yield _Cap(source, times, "mixture.max_repetitions", times * source.windows, end, begin)


def _room(caps: list[_Cap], shown: set[str]) -> int | None:
    """Windows that all sources of the phase have under their caps; None where one of them has no cap."""
    rooms: dict[str, int] = {}
    for cap in caps:
        rooms[cap.source.name] = min(cap.room, rooms.get(cap.source.name, cap.room))
    return sum(rooms.values()) if set(rooms) == shown else None


def _refuse(plan: Plan, cap: _Cap, phase: Phase, room: int | None, wanted: int) -> None:
    length, source = plan.sequence_length, cap.source
    weight = phase.weights.get(source.name, 0.0)
    fitting = weight * cap.room / (cap.shown - cap.before)
    if room is not None and room < wanted:
        fix = (
            f"no weights fit: at their caps all sources of phase {phase.name} come to {room * length:,} of its {wanted * length:,} tokens; "
            f"shorten it to that, or raise the caps"
        )
    elif cap.room == 0:
        fix = f"take {source.name} out of phase {phase.name}: what its cap allows was shown before"
    else:
        fix = f"in phase {phase.name} lower the weight of {source.name} from {weight:g} to at most {fitting:.4g}"
    raised = f"{-(-cap.shown // source.windows)}" if cap.field.endswith("repetitions") else f"{cap.shown / source.windows + 0.0005:.3f}"
    raise UserError(
        f"the plan goes through {source.name} more often than its cap allows",
        field=cap.field,
        found=(
            f"{cap.shown * length:,} tokens wanted of {source.name}, {source.windows * length:,} in an epoch: "
            f"{cap.shown / source.windows:.3f} epochs"
        ),
        allowed=[f"{cap.epochs:g} epochs, {cap.windows * length:,} tokens"],
        fix=f"{fix}, or raise the cap to {raised}" if room is None or room >= wanted else fix,
    )
