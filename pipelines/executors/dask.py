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
from distributed import Client, Security, as_completed
from distributed.scheduler import KilledWorker

from artifacts.errors import Setting, UserError
from artifacts.paths import Store
from pipelines.executors.base import Result, Task, limit_threads, worker_environment
from pipelines.executors.private_cluster import PrivateCluster

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

    Parameters: ``workers``: processes of a local cluster that only this process can use;
    ``address``: a running scheduler's (``tls://host:port``, ``tcp://host:port``) instead, whose
    workers must have this package installed.
    """

    def __init__(self, workers: int = 2, address: str | None = None) -> None:
        self._environment = {name: os.environ.get(name) for name in worker_environment()}
        self._config = dask.config.set(
            {**_CONFIG, "distributed.nanny.pre-spawn-environ": worker_environment()}
        )
        self._cluster: PrivateCluster | None = None
        logging.getLogger("distributed").setLevel(logging.ERROR)
        if address is None:
            self._cluster = PrivateCluster(workers)
            self._client = Client(self._cluster.cluster, security=self._cluster.security)
            self.workers = workers
        else:
            self._client = _connected(address)
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


def _connected(address: str) -> Client:
    """A client, with TLS as Dask's configuration says.

    Raises: UserError when no scheduler answers, or its certificate and ours do not agree.
    """
    security = _security() if address.startswith("tls://") else None
    try:
        return Client(address, timeout="20s", security=security)
    except (OSError, ValueError) as error:  # nobody there, no address, or no trust
        raise UserError(
            "no Dask scheduler answers at this address"
            + ("" if security is None else " and trusts this certificate"),
            parameter="scheduler",
            found=address,
            fix=(
                "start one with dask scheduler, and workers with dask worker ADDRESS --nthreads 1; "
                "one that has certificates is reached at tls://HOST:PORT, with those of one "
                "authority on both sides"
            ),
        ) from error


def _security() -> Any:
    """What Dask's configuration says of TLS, tried before the network is.

    Raises: UserError when it names no certificate, or files that are none.
    """
    security: Any = Security()
    files = (security.tls_ca_file, security.tls_client_cert, security.tls_client_key)
    try:
        complete = security.get_connection_args("client")["ssl_context"] is not None
        problem = ""
    except OSError as error:  # ssl.SSLError too: missing, not a certificate, not its key
        complete, problem = False, f": {error.strerror or error}"
    if not complete:
        raise UserError(
            f"Dask's configuration holds no certificate that can be used{problem}",
            parameter="scheduler",
            found=", ".join(str(file) for file in files if file) or "no certificate",
            fix=(
                "set DASK_DISTRIBUTED__COMM__TLS__CA_FILE, "
                "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT and "
                "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY to PEM files"
            ),
        )
    return security


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
