"""Show a training's steps as progress of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artifacts.ledger import Ledger
from pipelines.executors.progress import Progress

if TYPE_CHECKING:
    from trainer.loop.run import StepReport
    from trainer.loop.training import TrainOutcome


class StoppedError(Exception):
    """A signal asked training to stop; everything up to its last step is in a checkpoint."""

    def __init__(self, signal: str, exit_code: int) -> None:
        super().__init__(signal)
        self.exit_code = exit_code


def ended(*outcomes: TrainOutcome) -> None:
    """Raises: StoppedError when a signal ended one of these trainings."""
    for outcome in outcomes:
        if outcome.stopped_by is not None:
            raise StoppedError(outcome.stopped_by, outcome.exit_code)


class TrainingWatch:
    """Tells a progress of training: a phase per training, its steps as tasks, and after each how it
    stands.

    ``until_step``: where the training is to stop before its end.
    """

    def __init__(self, progress: Progress, until_step: int | None = None) -> None:
        self.progress = progress
        self.until_step = until_step
        self._title: str | None = None
        self._before = 0
        self._seconds = 0.0

    def __call__(self, title: str, report: StepReport) -> None:
        """An update was made."""
        last = report.steps if self.until_step is None else min(self.until_step, report.steps)
        if title != self._title:
            self._title, self._before, self._seconds = (
                title,
                report.tokens - report.step_tokens,
                0.0,
            )
            self.progress.phase(title, last, report.step - 1, 0)
        self._seconds += report.seconds
        speed = (report.tokens - self._before) / self._seconds if self._seconds else 0.0
        self.progress.advance(1, 0)
        loss = "no targets" if report.loss is None else f"loss {report.loss:.3f}"
        self.progress.stands(f"{loss}, learning rate {report.lr:.5f}, {speed:,.0f} tokens/s")
        if report.step == last:
            self._title = None
            self.progress.end([Ledger(title, units=1, computed=1)])
