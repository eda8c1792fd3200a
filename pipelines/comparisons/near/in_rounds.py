"""The rounds of shards with a large cluster, side by side: which tasks follow which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from dedup.near.rounds import blocks
from pipelines.comparisons.exchange import Made
from pipelines.comparisons.near.rounds import Ordered, RoundTask, conclude, match, order, settle
from pipelines.comparisons.near.verify import VerifyTask

COUNTS = ("comparisons", "comparisons_skipped", "documents_bounded")
FIRST_BLOCK = 1024  # documents of the first round, which one task compares with one another
PIECE = 1024  # documents that one task of a round compares with what is kept, at least
PIECES = 64  # tasks of a round, at most


class CarryOut(Protocol):
    """Has tasks made where their units are not there; results in the order of the tasks."""

    def __call__(self, function: Callable[[Any, bool], Any], tasks: Sequence[Any]) -> list[Any]: ...


def verify_in_rounds(tasks: Sequence[VerifyTask], carry_out: CarryOut) -> list[Made]:
    """Removals of each shard. In a round every shard has its next block matched, in pieces, and
    then settled.
    """
    shards = [
        _Shard(task, ordered) for task, ordered in zip(tasks, carry_out(order, tasks), strict=True)
    ]
    while unsettled := [shard for shard in shards if not shard.done]:
        pieces = [shard.pieces() for shard in unsettled]
        matched = iter(carry_out(match, [task for of_shard in pieces for task in of_shard]))
        blocks_ = [
            shard.block([next(matched) for _ in of_shard])
            for shard, of_shard in zip(unsettled, pieces, strict=True)
        ]
        for shard, made in zip(unsettled, carry_out(settle, blocks_), strict=True):
            shard.settled.append(made)
    return carry_out(conclude, [shard.whole() for shard in shards])


class _Shard:
    """A shard and how far its rounds are."""

    def __init__(self, task: VerifyTask, ordered: Ordered) -> None:
        self.task = task
        self.ordered = ordered
        self.rounds = blocks(len(ordered), FIRST_BLOCK)
        self.settled: list[Made] = []

    @property
    def done(self) -> bool:
        return len(self.settled) == len(self.rounds)

    def pieces(self) -> list[RoundTask]:
        """Tasks that compare the next block with what is kept; none for the first, which has
        nothing before it.
        """
        start, end = self.rounds[len(self.settled)]
        size = max(PIECE, -(-(end - start) // PIECES))
        return (
            [self._work((row, min(end, row + size)), ()) for row in range(start, end, size)]
            if start
            else []
        )

    def block(self, matched: Sequence[Made]) -> RoundTask:
        """The task that decides the next block."""
        return self._work(self.rounds[len(self.settled)], matched)

    def whole(self) -> tuple[RoundTask, dict[str, int]]:
        """What concludes the shard: all blocks, and what was counted."""
        parts = tuple(made.parts for made in self.settled)
        counts = {name: sum(made.facts[name] for made in self.settled) for name in COUNTS}
        return RoundTask(
            self.task, self.ordered, len(self.ordered), (0, len(self.ordered)), parts
        ), counts

    def _work(self, rows: tuple[int, int], matched: Sequence[Made]) -> RoundTask:
        decided = self.rounds[len(self.settled)][0]
        before, matches = (tuple(made.parts for made in found) for found in (self.settled, matched))
        return RoundTask(self.task, self.ordered, decided, rows, before, matches)
