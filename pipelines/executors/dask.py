"""Dask: a local cluster of processes, or the cluster behind a scheduler's address.

Workers are spawned (never forked), not daemonic (so that extraction may start a sandbox), and have
one thread each. A worker that dies is replaced and its task is run again; because tasks publish
whole units under content keys, running one twice changes nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any, cast

import dask
from distributed import Client, LocalCluster, as_completed
from distributed.scheduler import KilledWorker

from artifacts.errors import Setting, UserError
from artifacts.paths import Store
from pipelines.executors.base import Result, Task, limit_threads, worker_environment

START_ATTEMPTS = 4
ALLOWED_DEATHS = 20  # of workers under one task, before the task is taken for the killer

_CONFIG = {
    "distributed.worker.daemon": False,
    "distributed.worker.multiprocessing-method": "spawn",
    "distributed.scheduler.allowed-failures": ALLOWED_DEATHS,
    "distributed.scheduler.worker-ttl": None,
    "distributed.admin.tick.limit": "60s",
    "distributed.comm.timeouts.connect": "60s",
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
}


class DaskExecutor:
    """Tasks on Dask workers.

    Parameters: ``workers``: processes of a local cluster; ``address``: a running scheduler's
    (``tcp://host:port``) instead, whose workers must have this package installed.
    """

    def __init__(self, workers: int = 2, address: str | None = None) -> None:
        self._environment = {name: os.environ.get(name) for name in worker_environment()}
        self._config = dask.config.set(
            {**_CONFIG, "distributed.nanny.pre-spawn-environ": worker_environment()}
        )
        self._cluster: LocalCluster | None = None
        logging.getLogger("distributed").setLevel(logging.ERROR)
        if address is None:
            self._cluster = _local_cluster(workers)
            self._client = Client(self._cluster)
            self.workers = workers
        else:
            try:
                self._client = Client(address, timeout="20s")
            except (OSError, ValueError) as error:  # nobody there, or no address
                raise UserError(
                    "no Dask scheduler answers at this address",
                    parameter="scheduler",
                    found=address,
                    fix=(
                        "start one with dask scheduler, and workers with dask worker ADDRESS "
                        "--nthreads 1"
                    ),
                ) from error
            self.workers = max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))

    def map(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        done: Callable[[int, Result], None],
    ) -> list[Result]:
        futures = [self._client.submit(_run, function, task, pure=False) for task in tasks]
        order = {future.key: index for index, future in enumerate(futures)}
        results: dict[int, Result] = {}
        try:
            for future in as_completed(futures):
                index = order[future.key]
                results[index] = cast(Result, _result(future))
                done(index, results[index])
        except BaseException:
            self._client.cancel(futures)
            raise
        return [results[index] for index in range(len(tasks))]

    def check_sees(self, path: str) -> None:
        """Ask every worker for a file that is there. Raises: UserError naming those that do not see
        it.
        """
        blind = sorted(worker for worker, sees in self._client.run(_sees, path).items() if not sees)
        if blind:
            raise UserError(
                "the workers do not see this folder",
                file=os.path.dirname(path),
                parameter="scheduler",
                found=", ".join(blind),
                fix=(
                    "choose a folder on a disk that all machines share, or a store (",
                    Setting("runs"),
                    ")",
                ),
            )

    def close(self) -> None:
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()
        self._restore_environment()

    def _restore_environment(self) -> None:
        """Dask starts workers by setting their environment in this process, where it would hold
        torch to one thread.
        """
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def check_cluster(address: str, store: Store) -> None:
    """Refuse a cluster that a run cannot work on: no scheduler answers, or a worker does not see
    the run's local folder.

    Raises: UserError naming the workers.
    """
    executor = DaskExecutor(address=address)
    try:
        if store.local:
            with store.probe() as path:
                executor.check_sees(path)
    finally:
        executor.close()


def _local_cluster(workers: int) -> LocalCluster:
    """A cluster of worker processes on this machine; a worker that dies while starting is tried
    again.
    """
    for attempt in range(START_ATTEMPTS):
        try:
            return LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                memory_limit=None,
                silence_logs=logging.CRITICAL,
            )
        except RuntimeError:
            if attempt == START_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _sees(path: str) -> bool:
    return os.path.exists(path)


def _run(function: Callable[[Any], Any], task: Any) -> Any:
    limit_threads()
    return function(task)


def _result(future: Any) -> Any:
    try:
        return future.result()
    except KilledWorker as error:
        raise UserError(
            f"{ALLOWED_DEATHS} workers died on one task, most likely out of memory",
            field="corpus.chunk_mib",
            fix=(
                "make chunks smaller (",
                Setting("overrides", "corpus.chunk_mib=16"),
                "), use fewer workers, or give workers more memory",
            ),
        ) from error
