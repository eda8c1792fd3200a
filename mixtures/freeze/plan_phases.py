"""The phases of a plan, as they could be planned again: a phase's ramp and its pieces together.

    for part in planned_phases(plan):
        part.phase, part.first_step, part.last_step      # Phase, steps

They come in the order of their steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mixtures.freeze.caps import Cap, caps_on, epoch_tokens, refuse
from mixtures.freeze.repetitions import check_repetitions
from mixtures.order.interleave import tokens_shown
from mixtures.plan.format import Plan, Segment
from mixtures.spec.phase import Phase
from mixtures.spec.rules import check_hold_out, check_reserve


@dataclass(frozen=True)
class PlannedPhase:
    """A phase and the steps ``first_step`` to ``last_step`` - 1 that show it. ``ramp_steps`` of
    them, the first, are its ramp.
    """

    phase: Phase
    first_step: int
    last_step: int
    ramp_steps: int


def planned_phases(plan: Plan) -> list[PlannedPhase]:
    """The phases in order. What an edit appended to a phase under other weights is a phase of its
    own, of the same name.

    Planned again from their first step on, they give the plan's steps again.
    """
    groups: list[list[Segment]] = []
    for segment in plan.segments:
        if groups and _continues(plan, groups[-1][-1], segment):
            groups[-1].append(segment)
        else:
            groups.append([segment])
    return [_planned(plan, group) for group in groups]


def nearest_caps(plan: Plan) -> dict[tuple[str, str], Cap]:
    """By phase and source, the cap of which the plan uses most by the phase's end."""
    found: dict[tuple[str, str], Cap] = {}
    for phase, cap in _caps(plan):
        known = found.get((phase.name, cap.source))
        if known is None or cap.used > known.used:
            found[phase.name, cap.source] = cap
    return found


def check_rules_held(plan: Plan, branch: str | None = None) -> None:
    """Check the whole plan against the rules it carries. ``branch``: the name of the branch it is,
    for sources reserved for it.

    Raises: UserError at the first phase that shows what it must not, or more than a cap allows.
    """
    parts = planned_phases(plan)
    phases = [part.phase for part in parts]
    check_hold_out(phases, plan.rules)
    check_reserve(phases, plan.rules, decayed=False, branch=branch)
    for phase, cap in _caps(plan):
        if cap.shown > cap.tokens:
            refuse(cap, phase)
    check_repetitions(plan)


def _caps(plan: Plan) -> Iterator[tuple[Phase, Cap]]:
    """Every cap on every source that a phase shows, with the phase; what an edit made of a phase
    counts with it.
    """
    epochs = dict(zip(plan.names, epoch_tokens(plan).tolist(), strict=True))
    parts = planned_phases(plan)
    for name in dict.fromkeys(part.phase.name for part in parts):
        own = [part for part in parts if part.phase.name == name]
        end = tokens_shown(plan, own[-1].last_step)
        inside = np.sum(
            [
                tokens_shown(plan, part.last_step) - tokens_shown(plan, part.first_step)
                for part in own
            ],
            axis=0,
        )
        for source, shown, last in zip(plan.names, inside.tolist(), end.tolist(), strict=True):
            if shown:
                for cap in caps_on(plan, source, epochs[source], own[-1].phase, last - shown, last):
                    yield own[-1].phase, cap


def _continues(plan: Plan, before: Segment, segment: Segment) -> bool:
    same = (before.name, before.decay, before.weights, before.max_epochs) == (
        segment.name,
        segment.decay,
        segment.weights,
        segment.max_epochs,
    )
    return (
        same
        and not (segment.ramp_steps and not before.ramp_steps)
        and not segment.passed
        and segment.first_step not in plan.context_starts
    )


def _planned(plan: Plan, group: list[Segment]) -> PlannedPhase:
    context = plan.context_at(group[0].first_step)[1]
    first, last = group[0].first_step, group[-1].last_step
    ramp = sum(segment.steps for segment in group if segment.ramp_steps)
    tokens = max(
        sum(segment.asked_tokens for segment in group),
        (last - first - 1) * context.batch_tokens + 1,
    )
    phase = Phase(
        name=group[-1].name,
        tokens=tokens,
        weights=group[-1].weights,
        decay=group[-1].decay,
        max_epochs=group[-1].max_epochs,
        ramp_tokens=min(ramp * context.batch_tokens, tokens),
        sequence_length=context.sequence_length,
        batch_tokens=context.batch_tokens,
    )
    return PlannedPhase(phase, first, last, ramp)
