"""One executor for several borrowers, one after the other: opened when the first task comes, closed
by its owner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipelines.executors.base import Executor, Result, Task


class LentExecutor:
    """Passes tasks on to an executor that outlives its borrowers, whose ``close`` does nothing.

        lent = LentExecutor(lambda: open_executor(workers=4))
        ...                                # each borrower maps, and closes
        lent.end()

    A borrower that closes it only gives it back.
    """

    def __init__(self, open_executor: Callable[[], Executor], workers: int = 1) -> None:
        self.workers = workers
        self._open = open_executor
        self._inner: Executor | None = None

    def map(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        done: Callable[[int, Result], None],
    ) -> list[Result]:
        if self._inner is None:
            self._inner = self._open()
        return self._inner.map(function, tasks, done)

    def close(self) -> None:
        """The borrower is done; the workers stay."""

    def end(self) -> None:
        """The owner is done."""
        if self._inner is not None:
            self._inner.close()
            self._inner = None
