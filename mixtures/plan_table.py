"""What a plan takes from each source, phase by phase: the table of `windtunnel mixture plan`."""

from __future__ import annotations

from dataclasses import dataclass

from mixtures.caps import epoch_tokens
from mixtures.plan_format import Plan, Segment
from mixtures.shares import fill_of


@dataclass(frozen=True)
class ShareRow:
    """A source in a phase (or, phase None, in the whole run).

    ``weight``: what the phase says (in the run: the share of what was asked); ``asked_tokens``: what the recipe's
    numbers come to; ``tokens``: what is planned, padding left out; ``available``: tokens of one epoch; ``epochs``: planned over available.
    """

    phase: str | None
    source: str
    weight: float
    asked_tokens: float
    tokens: int
    available: int
    epochs: float


def table(plan: Plan) -> list[ShareRow]:
    """What each phase takes from each source, then the same over the run."""
    rows: list[ShareRow] = []
    available = epoch_tokens(plan).tolist()
    totals: dict[str, list[float]] = {name: [0.0, 0.0, 0.0] for name in plan.names}
    for name in dict.fromkeys(segment.name for segment in plan.segments):
        segments = [segment for segment in plan.segments if segment.name == name]
        for index, source in enumerate(plan.sources):
            taken = [_taken(plan, segment, index) for segment in segments if index < len(segment.start)]
            asked, places, tokens = (sum(column) for column in zip(*taken, strict=True)) if taken else (0.0, 0.0, 0.0)
            if places or asked:
                weight = segments[-1].weights.get(source.name, 0.0)
                epochs = places / max(available[index], 1)
                rows.append(ShareRow(name, source.name, weight, asked, round(tokens), available[index], epochs))
                totals[source.name] = [old + new for old, new in zip(totals[source.name], (asked, places, tokens), strict=True)]
    asked_in_all = sum(asked for asked, _, _ in totals.values()) or 1.0
    for index, source in enumerate(plan.sources):
        asked, places, tokens = totals[source.name]
        epochs = places / max(available[index], 1)
        rows.append(ShareRow(None, source.name, asked / asked_in_all, asked, round(tokens), available[index], epochs))
    return rows


def _taken(plan: Plan, segment: Segment, index: int) -> tuple[float, float, float]:
    """What a segment was asked to take of a source, the places its windows have, and the tokens in them."""
    context = plan.context_at(segment.first_step)[1]
    windows = segment.mix(context.batch_windows).counts(segment.steps * context.batch_windows)[index]
    places = float(windows * context.sequence_length)
    fill = fill_of(plan.sources[index], context.sources[index], context.sequence_length)
    return _mean_share(plan, segment, index) * segment.asked_tokens, places, places * fill


def _mean_share(plan: Plan, segment: Segment, index: int) -> float:
    """A source's share of the tokens over the segment; of a cut ramp, over the part that is shown."""
    if not segment.ramp_steps:
        return segment.weights.get(plan.sources[index].name, 0.0) / sum(segment.weights.values())
    context = plan.context_at(segment.first_step)[1]
    done = segment.steps / segment.ramp_steps
    shares = []
    for place in range(len(segment.start)):
        share = segment.start[place] + (segment.end[place] - segment.start[place]) * done / 2
        shares.append(share * fill_of(plan.sources[place], context.sources[place], context.sequence_length))
    return shares[index] / sum(shares)
