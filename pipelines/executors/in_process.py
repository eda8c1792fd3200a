"""The simplest executor: tasks one after another in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipelines.executors.base import Result, Task, limit_threads


class InProcessExecutor:
    """Runs every task here. The reference the others are tested against."""

    workers = 1

    def __init__(self) -> None:
        limit_threads()

    def map(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        done: Callable[[int, Result], None],
    ) -> list[Result]:
        results = []
        for index, task in enumerate(tasks):
            result = function(task)
            results.append(result)
            done(index, result)
        return results

    def close(self) -> None:
        """Nothing to close."""
