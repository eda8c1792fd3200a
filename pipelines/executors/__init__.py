"""Executors: where the tasks of a run are carried out.

    function, tasks ─ map ─▶ results in the order of the tasks, each reported as it ends

An executor has one method, ``map``; returning from it is the barrier. Tasks are small: they read
files, write files and return references and counts. All executors give the same bytes; they differ
in speed:

    open_executor(workers=1)                        # this process
    open_executor(workers=2)                        # a Dask LocalCluster of two processes
    open_executor(scheduler="tcp://10.0.0.1:8786")  # a Dask cluster
    open_executor(workers=2, kind="datatrove")      # ranks of datatrove's LocalPipelineExecutor

>>> from pipelines.executors import open_executor
>>> executor = open_executor(workers=1)
>>> executor.map(abs, [-2, 3], done=lambda place, result: print(place, result))
0 2
1 3
[2, 3]
>>> executor.close()

What a task costs in memory says :mod:`pipelines.executors.memory`; whoever watches a run is told of
its phases by :mod:`pipelines.executors.progress`.
"""

from __future__ import annotations

import os

from artifacts.errors import Setting, UserError
from artifacts.extras import EXTRAS, has, require
from pipelines.executors.base import Executor
from pipelines.executors.in_process import InProcessExecutor

__all__ = [
    "KINDS",
    "Executor",
    "InProcessExecutor",
    "default_workers",
    "executor_kind",
    "open_executor",
]

KINDS = ("in-process", "dask", "datatrove")


def open_executor(
    workers: int = 1, scheduler: str | None = None, kind: str | None = None
) -> Executor:
    """The executor of a kind. ``workers``: local processes. ``scheduler``: a Dask scheduler's
    address instead.

    Raises: UserError as :func:`executor_kind` does, and for a scheduler that does not answer.
    """
    kind = executor_kind(workers, scheduler, kind)
    if kind == "in-process":
        return InProcessExecutor()
    if kind == "datatrove":
        from pipelines.executors.datatrove import DatatroveExecutor

        return DatatroveExecutor(workers)
    from pipelines.executors.dask import DaskExecutor

    return DaskExecutor(workers, scheduler)


def executor_kind(workers: int = 1, scheduler: str | None = None, kind: str | None = None) -> str:
    """The kind asked for; by default Dask, and this process where one worker is enough.

    Raises: UserError for an unknown kind, for a scheduler together with a kind that has none, and
    for one whose library is not installed.
    """
    chosen = kind or ("in-process" if scheduler is None and workers <= 1 else "dask")
    if chosen not in KINDS:
        raise UserError(
            "no such executor",
            parameter="executor",
            found=kind,
            allowed=KINDS,
            fix="use one of these",
        )
    if scheduler is not None and chosen != "dask":
        raise UserError(
            "only Dask has a scheduler",
            parameter="scheduler",
            found=f"{kind} workers and a scheduler",
            fix="leave one of the two out",
        )
    if chosen in EXTRAS:
        alone = Setting("workers", 1) if kind is None and scheduler is None else None
        asked = "executor" if kind else "workers" if scheduler is None else "scheduler"
        require(chosen, asked, alone)
    return chosen


SMALL = 4 << 20
"""Stored bytes of all inputs below which one process is done before several have started."""


def default_workers(input_bytes: int | None = None) -> int:
    """One worker process for each core, where there is what makes them work together; one where
    there is not, and for inputs that are known and :data:`SMALL`.
    """
    small = input_bytes is not None and input_bytes < SMALL
    return len(os.sched_getaffinity(0)) if has("dask") and not small else 1
