"""The executor for trainings: tasks in processes of this machine, each in the main thread of one.

    function, tasks ─ map ─▶ WORKERS processes, a task at a time each ─▶ results in the tasks' order

A training finishes its step and writes a checkpoint when a signal asks it to, and Python hears
signals in the main thread of a process alone. So a task has a process's main thread to itself here,
which no thread pool can give it. Workers have a process group of their own: what Ctrl-C means is
decided by this process, which passes one SIGTERM on to each task that runs, waits for them to end,
and kills them at a second Ctrl-C. They end with this process, whatever ends it.

>>> from pipelines.executors.processes import ProcessExecutor
>>> executor = ProcessExecutor(workers=2)
>>> executor.map(abs, [-2, 3], done=lambda place, result: None)
[2, 3]
>>> executor.close()

While a task runs it may tell this process how it stands: what it gives to
:func:`pipelines.executors.process_worker.tell` arrives at ``told`` with the place of the task.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from artifacts.errors import UserError
from pipelines.executors.base import Result, Task, gathered, worker_environment
from pipelines.executors.killable import how_ended

DEATHS = 3
"""Of the processes of one task, after which it is not tried again."""

START = (
    "import sys\n"
    "sys.path[:] = {path!r}\n"
    "from pipelines.executors.process_worker import serve\n"
    "serve({receive}, {send}, {life})\n"
)


class ProcessExecutor:
    """Runs tasks in ``workers`` processes, which are started when they are needed and kept.

    ``environments``: variables of each worker besides those of this process, for instance which GPU
    it sees. ``told``: called here with the place of a task and what it told of itself.
    """

    def __init__(
        self,
        workers: int,
        environments: Sequence[Mapping[str, str]] = (),
        told: Callable[[int, Any], None] | None = None,
    ) -> None:
        self.workers = workers
        self.told = told
        self._environments = [*environments, *({} for _ in range(workers - len(environments)))]
        self._idle: list[_Worker] = []

    def map(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        done: Callable[[int, Result], None],
    ) -> list[Result]:
        """As :meth:`pipelines.executors.base.Executor.map`; tasks begin in the order given.

        A task whose process dies is begun again. Raises: UserError when it died three times.
        """
        waiting = deque(range(len(tasks)))
        running: dict[Connection, tuple[_Worker, int]] = {}
        results: dict[int, Result] = {}
        deaths = [0] * len(tasks)
        try:
            while waiting or running:
                while waiting and len(running) < self.workers:
                    worker, place = self._free(running), waiting.popleft()
                    running[worker.answers] = worker, place
                    worker.begin(function, tasks[place])
                for answers in wait([*running]):
                    worker, place = running[answers]  # type: ignore[index]
                    reply = worker.reply()
                    if reply is None:
                        del running[worker.answers]
                        deaths[place] += 1
                        _check_deaths(deaths[place], place, worker.kill())
                        waiting.appendleft(place)
                        continue
                    kind, answer = reply
                    if kind == "told":
                        if self.told is not None:
                            self.told(place, answer)
                        continue
                    del running[worker.answers]
                    self._idle.append(worker)
                    if kind == "raised":
                        raise answer
                    results[place] = answer
                    done(place, answer)
        except BaseException:
            _stop([worker for worker, _ in running.values()])
            raise
        return gathered(results)

    def close(self) -> None:
        """End the workers."""
        for worker in self._idle:
            worker.kill()
        self._idle.clear()

    def _free(self, running: Mapping[Connection, tuple[_Worker, int]]) -> _Worker:
        """A worker without a task; a started one where there is none."""
        while self._idle:
            worker = self._idle.pop()
            if worker.alive():
                return worker
            worker.kill()
        slots = {worker.slot for worker, _ in running.values()}
        slot = next(slot for slot in range(self.workers) if slot not in slots)
        return _Worker(slot, self._environments[slot])


class _Worker:
    """A process with a pipe each way, and a third that says that this process lives."""

    def __init__(self, slot: int, environment: Mapping[str, str]) -> None:
        self.slot = slot
        receive, tasks = os.pipe()
        answers, send = os.pipe()
        life, alive = os.pipe()
        self._tasks = Connection(tasks, readable=False)
        self.answers = Connection(answers, writable=False)
        self._alive = alive
        theirs = (receive, send, life)
        code = START.format(path=sys.path, receive=receive, send=send, life=life)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a library prints is no answer of a command
                pass_fds=theirs,
                process_group=0,
                env={**os.environ, **worker_environment(), **environment},
            )
        except BaseException:
            self._close()
            raise
        finally:
            for file in theirs:
                os.close(file)

    def begin(self, function: Callable[[Any], Any], task: Any) -> None:
        """Hand over a task; one that cannot be sent raises here, a dead worker is seen by its
        reply.
        """
        with contextlib.suppress(ConnectionError):
            self._tasks.send((function, task))

    def reply(self) -> tuple[str, Any] | None:
        """What the worker says next; None where it ended."""
        try:
            reply: tuple[str, Any] = self.answers.recv()
        except (EOFError, OSError):
            return None
        return reply

    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """Ask the task that runs to end."""
        if self.alive():
            self._process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        """Until the task that was asked to end has answered, or its process has ended."""
        while (reply := self.reply()) is not None and reply[0] == "told":
            pass

    def kill(self) -> int:
        """Kill it where it still runs; its exit status."""
        self._close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()

    def _close(self) -> None:
        self._tasks.close()
        self.answers.close()
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1


def _stop(workers: Sequence[_Worker]) -> None:
    """End the tasks that run: each is asked once, and killed when a second interrupt comes."""
    try:
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.wait()
    finally:
        for worker in workers:
            worker.kill()


def _check_deaths(deaths: int, place: int, status: int) -> None:
    if deaths >= DEATHS:
        raise UserError(
            f"a process died {deaths} times over one task",
            field=f"task {place + 1}",
            found=how_ended(status),
            fix="use fewer workers where memory ran out; the same command goes on from there",
        )


__all__ = ["ProcessExecutor"]
