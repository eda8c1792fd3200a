"""datatrove: each task is a rank of datatrove's LocalPipelineExecutor, in spawned processes.

    executor = open_executor(workers=4, kind="datatrove")

datatrove's ranks hand back statistics, not results, and its pipeline is pickled with all its data
once per rank. So the pipeline holds a socket's address alone: a rank fetches its own task there and
sends its result back. Nothing is pickled to disk. One worker means datatrove's in-process loop.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import multiprocess
from datatrove.executor.local import LocalPipelineExecutor
from loguru import logger
from multiprocess import forkserver
from multiprocess.connection import Client, Listener
from multiprocess.managers import SyncManager

from artifacts.errors import Setting, UserError
from pipelines.executors.base import Result, Task, gathered, limit_threads, worker_environment
from pipelines.executors.termination import end_with_parent, sigterm_exits

POLL_SECONDS = 0.1
GRACE_SECONDS = 10.0  # a worker that is gone for longer, while ranks still run, has died


class DatatroveExecutor:
    """Tasks as ranks of a LocalPipelineExecutor of ``workers`` processes, started anew for each
    list of tasks.

    datatrove does not give a dead worker's rank to another: then :meth:`map` raises, and the same
    run goes on from the units that are there.
    """

    def __init__(self, workers: int = 1) -> None:
        self.workers = max(1, workers)

    def map(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        done: Callable[[int, Result], None],
    ) -> list[Result]:
        if not tasks:
            return []
        workers = min(self.workers, len(tasks))
        with (
            sigterm_exits(),
            tempfile.TemporaryDirectory(prefix="windtunnel-") as folder,
            _Exchange(tasks, workers) as exchange,
        ):
            ranks = _QuietLocalExecutor(
                [_RunTask(function, exchange.address)],
                tasks=len(tasks),
                workers=workers,
                logging_dir=folder,
                skip_completed=False,
                start_method="spawn",
            )
            threading.Thread(target=_run, args=(ranks, exchange.events), daemon=True).start()
            return self._collect(exchange.events, len(tasks), done)

    def close(self) -> None:
        """Nothing to close: workers live as long as one call of :meth:`map`."""

    def _collect(
        self, events: queue.SimpleQueue[_Event], tasks: int, done: Callable[[int, Any], None]
    ) -> list[Any]:
        """Results in the order of tasks. Raises: what a rank raised; UserError when a worker
        died.
        """
        results: dict[int, Any] = {}
        watch = _WorkerWatch()
        ended = False
        while not ended or len(results) < tasks:
            try:
                event = events.get(timeout=POLL_SECONDS)
            except queue.Empty:
                if len(results) < tasks:
                    watch.check()
                continue
            if isinstance(event, _Ended):
                if event.error is not None:
                    raise event.error
                ended = True
            else:
                results[event.rank] = event.value
                done(event.rank, event.value)
        return gathered(results)


@dataclass(frozen=True)
class _Finished:
    rank: int
    value: Any


@dataclass(frozen=True)
class _Ended:
    """All ranks are through, or the first error ended them."""

    error: BaseException | None


_Event = _Finished | _Ended


class _Exchange:
    """The driver's side of the socket: gives each rank its task, and its result to ``events``."""

    def __init__(self, tasks: Sequence[Any], links: int) -> None:
        self.events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._tasks = tasks
        self._listener = Listener(family="AF_UNIX", backlog=links + 1, authkey=_authkey())
        self.address: str = self._listener.address
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> _Exchange:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        with (
            contextlib.suppress(OSError, EOFError),
            Client(self.address, authkey=_authkey()) as link,
        ):
            link.send(None)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                link = self._listener.accept()
                rank = link.recv()
            except (multiprocess.AuthenticationError, EOFError, OSError):
                continue  # the caller died while it called; the watch notices
            if rank is None:
                link.close()
                return
            threading.Thread(target=self._serve, args=(link, rank), daemon=True).start()

    def _serve(self, link: Any, rank: int) -> None:
        with link:
            try:
                link.send(self._tasks[rank])
                self.events.put(_Finished(rank, link.recv()))
            except (EOFError, OSError):
                return  # the rank raised, which ends the run, or died, which the watch notices
            except Exception as error:  # a task or a result that cannot be pickled
                self.events.put(_Ended(error))


class _RunTask:
    """The pipeline of a rank: fetch the task, carry it out, send the result."""

    def __init__(self, function: Callable[[Any], Any], address: str) -> None:
        self.function = function
        self.address = address

    def __call__(self, data: Any, rank: int, world_size: int) -> None:
        end_with_parent()
        limit_threads()
        with Client(self.address, authkey=_authkey()) as link:
            link.send(rank)
            link.send(self.function(link.recv()))


class _QuietLocalExecutor(LocalPipelineExecutor):  # type: ignore[misc]
    """datatrove's executor without its log lines, in the worker processes too, which leave Ctrl-C
    to the driver.
    """

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> Any:
        logger.disable("datatrove")
        if multiprocess.parent_process() is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        return super()._run_for_rank(rank, local_rank, node_rank)


def _run(ranks: LocalPipelineExecutor, events: queue.SimpleQueue[_Event]) -> None:
    try:
        with _quiet(), _never_forking(), _worker_environment(ranks.workers):
            ranks.run()
    except BaseException as error:
        events.put(_Ended(error))
    else:
        events.put(_Ended(None))


class _WorkerWatch:
    """Notices that a worker process died: datatrove would wait for its rank for ever."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._gone_since: float | None = None

    def check(self) -> None:
        """Raises: UserError once a worker has been gone for :data:`GRACE_SECONDS`."""
        alive = {
            child.pid for child in multiprocess.active_children() if "PoolWorker" in child.name
        }
        self._seen |= alive
        if not self._seen - alive:
            return
        self._gone_since = self._gone_since or time.monotonic()
        if time.monotonic() - self._gone_since > GRACE_SECONDS:
            raise UserError(
                "a worker process died on its task, most likely out of memory",
                field="corpus.chunk_mib",
                fix=(
                    "the same command goes on from here; make chunks smaller (",
                    Setting("overrides", "corpus.chunk_mib=16"),
                    "), or use fewer workers",
                ),
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logger.disable("datatrove")
    try:
        yield
    finally:
        logger.enable("datatrove")


@contextlib.contextmanager
def _never_forking() -> Iterator[None]:
    """datatrove's bookkeeping process comes from a fork server, as workers are spawned: nothing is
    forked from this threaded process.
    """
    method = multiprocess.get_start_method(allow_none=True)
    usual = multiprocess.Manager
    multiprocess.set_start_method("forkserver", force=True)
    forkserver.ensure_running()
    multiprocess.Manager = _manager
    try:
        yield
    finally:
        multiprocess.Manager = usual
        multiprocess.set_start_method(method, force=True)


def _manager() -> SyncManager:
    """What datatrove calls ``multiprocess.Manager()`` for; its process ends with this one."""
    manager = SyncManager(ctx=multiprocess.get_context())
    manager.start(end_with_parent)
    return manager


@contextlib.contextmanager
def _worker_environment(workers: int) -> Iterator[None]:
    """What spawned workers inherit: one thread per library. A single worker is this process, which
    stays as it is.
    """
    added = worker_environment() if workers > 1 else {}
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _authkey() -> bytes:
    """The key this process shares with those it spawns."""
    return bytes(multiprocess.current_process().authkey)
