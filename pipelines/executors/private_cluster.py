"""A Dask cluster on this machine that only the process which starts it can use.

    start(workers=2) ─▶ scheduler and workers, TLS on 127.0.0.1, one certificate made for this run

Whoever talks to a scheduler or a worker makes it run code. So each of them listens on the loopback
interface alone and asks its caller for the certificate, whose key lies in the memory of this
process and its workers. Dask opens a port for HTTP in every scheduler and worker, also when its
dashboard is off; here none is opened. Workers keep their files in a folder of their own, because
they import modules from it.
"""

from __future__ import annotations

import logging
import tempfile
from typing import Any, cast

from distributed import Nanny, Scheduler, Security, SpecCluster, Worker
from distributed.http.routing import RoutingApplication

from artifacts.errors import UserError

START_ATTEMPTS = 4
HOST = "127.0.0.1"
PROTOCOL = "tls://"


class PrivateCluster:
    """``workers`` processes of one thread each behind a scheduler in this process. ``security``
    holds the certificate a client needs.
    """

    def __init__(self, workers: int) -> None:
        self.security = _certificate()
        self._folder = tempfile.TemporaryDirectory(prefix="windtunnel-dask-")
        try:
            self.cluster = _started(workers, self.security, self._folder.name)
        except BaseException:
            self._folder.cleanup()
            raise

    def close(self) -> None:
        self.cluster.close()
        self._folder.cleanup()


class _NoHttp:
    """A node whose routes for HTTP exist, and no port that serves them."""

    def start_http_server(self, routes: Any, *address: Any, **options: Any) -> None:
        self.http_application = RoutingApplication(routes)


class SchedulerWithoutHttp(_NoHttp, Scheduler):  # type: ignore[misc]
    """Dask's scheduler; only its TLS port listens."""


class WorkerWithoutHttp(_NoHttp, Worker):  # type: ignore[misc]
    """Dask's worker; only its TLS port listens."""


def _certificate() -> Security:
    """Raises: UserError where the library that makes certificates is missing."""
    try:
        return cast(Security, Security.temporary())
    except ImportError as error:
        raise UserError(
            "the package cryptography is missing, and workers talk over connections it secures",
            fix="pip install cryptography, or use one worker, which needs no connection",
        ) from error


def _started(workers: int, security: Security, folder: str) -> SpecCluster:
    """A worker that dies while starting is tried again."""
    reached_at = {"host": HOST, "protocol": PROTOCOL, "security": security}
    worker = {
        "cls": Nanny,
        "options": {
            **reached_at,
            "worker_class": WorkerWithoutHttp,
            "nthreads": 1,
            "memory_limit": None,
            "local_directory": folder,
            "silence_logs": logging.CRITICAL,
        },
    }
    for attempt in range(START_ATTEMPTS):
        try:
            return SpecCluster(
                scheduler={
                    "cls": SchedulerWithoutHttp,
                    "options": {**reached_at, "port": 0, "dashboard": False},
                },
                workers=dict.fromkeys(range(workers), worker),
                worker=worker,
                security=security,
                silence_logs=logging.CRITICAL,
            )
        except RuntimeError:
            if attempt == START_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")
