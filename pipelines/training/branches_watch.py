"""Show branches that are trained at one time as one phase of progress, a fact for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from artifacts.ledger import Ledger
from pipelines.executors.progress import Progress

if TYPE_CHECKING:
    from pipelines.training.branch_task import BranchEnd
    from trainer.loop.run import StepReport


class BranchesWatch:
    """Tells a progress how branches stand: ``titles`` and ``steps``, those each has to make, by
    their place.
    """

    def __init__(self, progress: Progress, titles: Sequence[str], steps: int) -> None:
        self.progress = progress
        self.titles = titles
        self.steps = steps
        self._stand: dict[int, str] = {}
        self._made = [0] * len(titles)
        progress.phase(f"branch seeds of {len(titles)} endings", steps * len(titles), 0, 0)

    def step(self, place: int, report: StepReport) -> None:
        """A branch made an update."""
        done = self.steps - (report.steps - report.step)
        self._advance(place, done)
        loss = "no targets" if report.loss is None else f"loss {report.loss:.3f}"
        self._stand[place] = f"{self.titles[place]} at step {report.step} of {report.steps} {loss}"
        self.progress.stands(", ".join(self._stand[one] for one in sorted(self._stand)))

    def ended(self, place: int, end: BranchEnd) -> None:
        """A branch came to its end, or was there already."""
        self._stand.pop(place, None)
        self._advance(place, self.steps)
        loss = "" if end.loss is None else f", last loss {end.loss:.3f}"
        there = f"{end.made:,} steps{loss}" if end.made else "was there already"
        self.progress.note(f"{self.titles[place]}: {there}")

    def close(self) -> None:
        """All came to their ends."""
        self.progress.end([Ledger("branches", units=len(self.titles), computed=len(self.titles))])

    def _advance(self, place: int, done: int) -> None:
        if done > self._made[place]:
            self.progress.advance(done - self._made[place], 0)
            self._made[place] = done
