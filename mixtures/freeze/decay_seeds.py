"""Seeds of a decay: the same ending of a trunk, each on data of its own.

    first = branch(plan, 300, [decay])              # seed 1, what a branch shows anyway
    second = branch(plan, 300, [decay], ahead=1)    # seed 2

With d the windows that the ending shows of a source, seed k passes over (k - 1) d windows of the
source's order before its first window:

    trunk ...............|seed 1   |seed 2   |seed 3   |
    order of a source    ^ the checkpoint               what nobody has seen ends at the epoch's end

So of every source no window that the trunk has shown is shown again, and no two seeds share one. A
document that a window's border cuts has its parts in two windows. Batches of all seeds take their
windows from the same sources in the same turn.

**What does not fit is refused.** All seeds of a source need as many windows of the epoch that the
trunk is in, which must be its first: from the second on everything was seen before.

**A source that the ending shows whole**, an epoch of it or more, leaves nothing for another seed.
There seed k passes over (k - 1) times the epochs that the ending begins, each of which has an order
of its own: seeds see the same documents, in another order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from artifacts.errors import Setting, UserError
from mixtures.order.source_order import SourceOrder, source_orders
from mixtures.plan.format import Plan, Segment


@dataclass(frozen=True)
class SeedRoom:
    """What a source holds for seeds: an ending shows ``windows`` of it, an epoch has ``epoch``, and
    ``unseen`` of the first one come after the checkpoint. ``length``: tokens of a window.
    """

    source: str
    windows: int
    epoch: int
    unseen: int
    length: int

    @property
    def whole(self) -> bool:
        """Whether each seed is shown all of the source."""
        return self.windows >= self.epoch

    @property
    def seeds(self) -> int | None:
        """How many seeds fit; None where each is shown the whole source, which any number is."""
        return None if self.whole else self.unseen // self.windows

    def passed(self, ahead: int) -> int:
        """Windows that the seed passes over which comes after ``ahead`` others."""
        return ahead * (-(-self.windows // self.epoch) * self.epoch if self.whole else self.windows)

    @property
    def sentence(self) -> str:
        """In words what seeds have of a source that each is shown whole."""
        return (
            f"{self.source}: every seed is shown all of it ({self.windows / self.epoch:.2f} "
            "epochs), so seeds differ in its order and not in its documents"
        )


def set_apart(plan: Plan, step: int, ahead: int) -> Plan:
    """The plan whose ending from ``step`` on passes over what ``ahead`` seeds before it show.

    Raises: UserError where a source does not hold the data, and where the ending changes windows or
    batches on its way.
    """
    if ahead < 0:
        raise UserError(
            "seeds are counted from 0", parameter="ahead", found=ahead, allowed=["0 or more"]
        )
    if ahead == 0:
        return plan
    rooms = check_rooms(plan, step, ahead + 1)
    by_name = {room.source: room.passed(ahead) for room in rooms}
    passed = tuple(by_name.get(name, 0) for name in plan.names)
    ending = [segment for segment in plan.segments if segment.first_step >= step]
    moved = [
        segment.model_copy(
            update={
                "cursors": tuple(np.add(segment.cursors, passed[: len(segment.cursors)]).tolist()),
                "passed": () if place or not any(passed) else passed[: len(segment.cursors)],
            }
        )
        for place, segment in enumerate(ending)
    ]
    kept = plan.segments[: len(plan.segments) - len(ending)]
    return plan.changed(segments=(*kept, *moved))


def seed_rooms(plan: Plan, step: int) -> tuple[SeedRoom, ...]:
    """What each source that the plan shows from ``step`` on holds for seeds of that ending.

    Raises: UserError where windows or batches change inside the ending: what comes after begins at
    the edge of a group of blocks, where seeds would meet.
    """
    ending = [segment for segment in plan.segments if segment.first_step >= step]
    if not ending:
        return ()
    number, context = plan.context_at(ending[0].first_step)
    _check_one_context(plan, number, ending)
    counts = np.zeros(len(plan.sources), np.int64)
    for segment in ending:
        windows = segment.mix(context.batch_windows).counts(segment.steps * context.batch_windows)
        counts[: len(windows)] += windows
    behind = np.zeros(len(plan.sources), np.int64)
    behind[: len(ending[0].cursors)] = ending[0].cursors
    return tuple(
        SeedRoom(name, shown, order.windows, _unseen(order, at), context.sequence_length)
        for name, order, shown, at in zip(
            plan.names, source_orders(plan, number), counts.tolist(), behind.tolist(), strict=True
        )
        if shown
    )


def check_rooms(plan: Plan, step: int, seeds: int) -> tuple[SeedRoom, ...]:
    """The rooms of :func:`seed_rooms`. Raises: UserError where one does not hold so many seeds,
    with the numbers of the one that holds the fewest.
    """
    rooms = seed_rooms(plan, step)
    short = [room for room in rooms if room.seeds is not None and room.seeds < seeds]
    if short:
        _refuse(plan, step, short, seeds)
    return rooms


def seed_notes(plan: Plan, step: int) -> list[str]:
    """A sentence for each source of which seeds have the order alone to themselves."""
    return [room.sentence for room in seed_rooms(plan, step) if room.whole]


def _unseen(order: SourceOrder, behind: int) -> int:
    """Windows of the first epoch that come after ``behind`` windows of a context."""
    if order.context.epoch > 0:
        return 0
    first = order.windows if order.context.epoch < 0 else order.head + order.left_rows
    return max(0, first - behind)


def _check_one_context(plan: Plan, number: int, ending: Sequence[Segment]) -> None:
    for segment in ending:
        if plan.context_at(segment.first_step)[0] != number:
            first, other = plan.contexts[number], plan.context_at(segment.first_step)[1]
            changes = first.sequence_length != other.sequence_length
            raise UserError(
                "seeds are set apart in windows of one length and batches of one size",
                field=(
                    "mixture",
                    "phases",
                    segment.name,
                    "sequence_length" if changes else "batch_tokens",
                ),
                found=f"windows of {first.sequence_length} in batches of {first.batch_tokens} "
                f"tokens, then of {other.sequence_length} in batches of {other.batch_tokens}",
                fix="give all phases of the ending the same, or leave more than one seed out",
            )


def _refuse(plan: Plan, step: int, short: Sequence[SeedRoom], seeds: int) -> None:
    worst = min(short, key=lambda room: (room.seeds or 0, room.unseen - room.windows))
    most, place = worst.seeds or 0, plan.names.index(worst.source)
    phase = next(
        segment
        for segment in plan.segments
        if segment.first_step >= step
        and any((*segment.start[place : place + 1], *segment.end[place : place + 1]))
    )
    weight = phase.weights.get(worst.source, 0.0)
    fitting = int(1e4 * weight * worst.unseen / (worst.windows * seeds)) / 1e4
    others = [room.source for room in short if room is not worst]
    lower = f"lower its weight from {weight:g} to at most {fitting:g}, " if fitting else ""
    fewer = (", or ask for ", Setting("seeds", most)) if most else ()
    raise UserError(
        f"{worst.source} does not hold what {seeds} seeds need, each on windows that nothing has "
        "shown before",
        field=("mixture", "phases", phase.name, "weights", worst.source),
        found=f"{worst.windows * seeds:,} windows of {worst.length:,} tokens needed, "
        f"{worst.windows:,} for each seed; {worst.unseen:,} of {worst.epoch:,} are unseen after "
        f"step {step:,}" + (f"; {', '.join(others)} too" if others else ""),
        allowed=[f"up to {most} seed{'' if most == 1 else 's'}"],
        fix=(
            f"{lower}shorten the ending, begin at an earlier checkpoint, give the source more "
            "documents",
            *fewer,
        ),
    )
