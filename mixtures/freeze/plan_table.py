"""What a plan takes from each source, phase by phase: the table of `windtunnel mixture plan`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixtures.freeze.caps import Cap, epoch_tokens
from mixtures.freeze.plan_phases import nearest_caps
from mixtures.plan.format import Plan, Segment
from mixtures.plan.shares import fill_of

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ShareRow:
    """A source in a phase (or, phase None, in the whole run).

    ``weight``: what the phase says (the share of what was asked, in the run and in a phase that was
    edited halfway); ``asked_tokens``: what the recipe's numbers come to; ``tokens``: what is
    planned, padding left out; ``places``: the same with padding; ``available``: tokens of one
    epoch; ``epochs``: planned over available. ``cap``: the cap used most by the phase's end.
    """

    phase: str | None
    source: str
    weight: float
    asked_tokens: float
    tokens: int
    places: int
    available: int
    epochs: float
    cap: Cap | None = None

    @property
    def padding(self) -> float:
        """What part of the source's windows holds no token."""
        return 1 - self.tokens / self.places if self.places else 0.0


def table(plan: Plan) -> list[ShareRow]:
    """What each phase takes from each source, then the same over the run."""
    rows: list[ShareRow] = []
    available, caps = epoch_tokens(plan).tolist(), nearest_caps(plan)
    totals = np.zeros((len(plan.sources), 3))
    for name in dict.fromkeys(segment.name for segment in plan.segments):
        segments = [segment for segment in plan.segments if segment.name == name]
        taken = np.array([_taken_of(plan, segments, index) for index in range(len(plan.sources))])
        totals += taken
        asked = taken[:, 0].sum() or 1.0
        for index, source in enumerate(plan.names):
            if taken[index, :2].any():
                weight = _weight(segments, source, taken[index, 0] / asked)
                rows.append(
                    _row(
                        name,
                        source,
                        weight,
                        taken[index],
                        available[index],
                        caps.get((name, source)),
                    )
                )
    asked = totals[:, 0].sum() or 1.0
    last = {
        row.source: row.cap
        for row in rows
        if row.cap is not None and row.cap.address[0:2] != ("mixture", "phases")
    }
    rows += [
        _row(
            None,
            source,
            totals[index, 0] / asked,
            totals[index],
            available[index],
            last.get(source),
        )
        for index, source in enumerate(plan.names)
    ]
    return rows


def shown_nothing(rows: Sequence[ShareRow]) -> list[str]:
    """A line for every weight that comes to no window, so that its phase shows nothing of the
    source.
    """
    return [
        f"{row.source} in {row.phase}: a weight of {row.weight:.4g} asks for "
        f"{row.asked_tokens:,.0f} tokens and comes to no window; it is not shown there"
        for row in rows
        if row.phase is not None and row.weight > 0 and row.places == 0
    ]


def _row(
    phase: str | None, source: str, weight: float, taken: Floats, available: int, cap: Cap | None
) -> ShareRow:
    asked, places, tokens = taken.tolist()
    return ShareRow(
        phase,
        source,
        float(weight),
        asked,
        round(tokens),
        round(places),
        available,
        places / max(available, 1),
        cap,
    )


def _weight(segments: list[Segment], source: str, asked: float) -> float:
    """The weight of a source in a phase, its share of what was asked where an edit gave it
    several.
    """
    weights = {segment.weights.get(source, 0.0) for segment in segments}
    return weights.pop() if len(weights) == 1 else asked


def _taken_of(plan: Plan, segments: list[Segment], index: int) -> tuple[float, float, float]:
    """What segments were asked to take of a source, the places its windows have, and the tokens in
    them.
    """
    taken = [_taken(plan, segment, index) for segment in segments if index < len(segment.start)]
    asked, places, tokens = (
        (sum(column) for column in zip(*taken, strict=True)) if taken else (0.0, 0.0, 0.0)
    )
    return asked, places, tokens


def _taken(plan: Plan, segment: Segment, index: int) -> tuple[float, float, float]:
    """What a segment was asked to take of a source, the places its windows have, and the tokens in
    them.
    """
    context = plan.context_at(segment.first_step)[1]
    windows = segment.mix(context.batch_windows).counts(segment.steps * context.batch_windows)[
        index
    ]
    places = float(windows * context.sequence_length)
    fill = fill_of(plan.sources[index], context.sources[index], context.sequence_length)
    return _mean_share(plan, segment, index) * segment.asked_tokens, places, places * fill


def _mean_share(plan: Plan, segment: Segment, index: int) -> float:
    """A source's share of the tokens over the segment; of a cut ramp, over the part that is
    shown.
    """
    if not segment.ramp_steps:
        return segment.weights.get(plan.sources[index].name, 0.0) / sum(segment.weights.values())
    context = plan.context_at(segment.first_step)[1]
    done = segment.steps / segment.ramp_steps
    shares = []
    for place in range(len(segment.start)):
        share = segment.start[place] + (segment.end[place] - segment.start[place]) * done / 2
        shares.append(
            share * fill_of(plan.sources[place], context.sources[place], context.sequence_length)
        )
    return shares[index] / sum(shares)
