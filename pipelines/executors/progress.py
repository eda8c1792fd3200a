"""What a run tells whoever watches: phases that start, advance and end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from artifacts.ledger import Ledger

if TYPE_CHECKING:
    from trainer.loop.run import StepReport
    from trainer.loop.training import TrainOutcome


class Progress(Protocol):
    """Receives a run's progress. Implementations print, draw, or ignore."""

    def phase(self, title: str, tasks: int, found: int, size: int) -> None:
        """A phase begins: ``tasks`` in all, of which ``found`` need no work; ``size`` bytes to
        do.
        """

    def advance(self, tasks: int, size: int) -> None:
        """Tasks ended, that many bytes further."""

    def stands(self, text: str) -> None:
        """How the running phase stands now, facts separated by commas; takes the place of what was
        said before.
        """

    def end(self, ledgers: list[Ledger]) -> None:
        """The phase ended; these steps were completed by it."""

    def note(self, text: str) -> None:
        """Something worth a line."""


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
        self.progress.stands(
            f"loss {report.loss:.3f}, learning rate {report.lr:.5f}, {speed:,.0f} tokens/s"
        )
        if report.step == last:
            self._title = None
            self.progress.end([Ledger(title, units=1, computed=1)])


class Silent:
    """A progress that says nothing."""

    def phase(self, title: str, tasks: int, found: int, size: int) -> None: ...

    def advance(self, tasks: int, size: int) -> None: ...

    def stands(self, text: str) -> None: ...

    def end(self, ledgers: list[Ledger]) -> None: ...

    def note(self, text: str) -> None: ...
