"""The executor interface: run a list of tasks, hand back each result as it comes.

A task is a picklable object and a module-level function of it; it does seconds of work, writes its
own output under a content key, and returns a small object. Which worker runs it, in what order,
and how often it is tried again after a worker died, decides no byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs tasks; ``workers`` is how many it runs at a time."""

    workers: int

    def map(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        done: Callable[[int, Result], None],
    ) -> list[Result]:
        """Run ``function`` on every task; ``done(index, result)`` is called in this process as each
        ends.

        The list is in the order of the tasks: returning is the barrier. An exception of any task is
        raised here after the other running tasks were told to stop.
        """
        ...

    def close(self) -> None: ...


def worker_environment() -> dict[str, str]:
    """Environment of a worker process: one thread per library, a safe module path."""
    names = (
        "POLARS_MAX_THREADS",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "ARROW_IO_THREADS",
        "RAYON_NUM_THREADS",
    )
    return {**dict.fromkeys(names, "1"), "PYTHONSAFEPATH": "1"}


def limit_threads() -> None:
    """Bring the thread pools of libraries that are loaded already down to one."""
    import pyarrow as pa

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


def gathered(results: dict[int, Any]) -> list[Any]:
    return [results[index] for index in sorted(results)]
