"""Work in a process that can be killed: what does not end by itself is ended from outside.

    values ─ map ─▶ child process: one answer for each value, or OVER_LIMIT

A Python signal handler runs between two steps of the interpreter, so it does not interrupt code in
C, as a regular expression that backtracks. Here a function is called in a child process, and the
kernel ends the whole child once it has used its processor time on one value (``ITIMER_PROF``, whose
signal keeps its default action). The value it was at is over the limit, and a new child goes on
with the next one. Processor time, not time on the clock: a busy machine puts nobody over the limit.

>>> from pipelines.executors.killable import KillableProcess
>>> process = KillableProcess()
>>> process.map(abs, [-2, 3], cpu_seconds=[5.0, 5.0])
[2, 3]
>>> process.end()

A child lives as long as this process at the most, however that ends
(:mod:`pipelines.executors.killable_child`).
"""

from __future__ import annotations

import atexit
import contextlib
import enum
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, Final, TypeAlias, TypeVar

from pipelines.executors.base import worker_environment

Value = TypeVar("Value")
Result = TypeVar("Result")

_Task: TypeAlias = "tuple[Any, Any, Sequence[tuple[Any, float]]]"  # prepare, function, values

GRACE_SECONDS = 10.0  # that a child may take to end once it answers no more


class OverLimit(enum.Enum):
    OVER_LIMIT = "over the limit of processor time"


OVER_LIMIT: Final = OverLimit.OVER_LIMIT
"""The answer for a value on which the function used its processor time without an end."""

START = (
    "import sys\n"
    "sys.path[:] = {path!r}\n"
    "from pipelines.executors.killable_child import serve\n"
    "serve({receive}, {send}, {life})\n"
)


class ProcessDiedError(Exception):
    """The child ended, and not by its limit. ``index``: the value it was at, None before the first;
    ``how``: the signal or the exit status.
    """

    def __init__(self, index: int | None, how: str) -> None:
        super().__init__(f"{how}, at value {index}" if index is not None else how)
        self.index = index
        self.how = how


class KillableProcess:
    """Calls functions in one child, which is started when it is first needed and kept. Threads take
    turns.
    """

    def __init__(self) -> None:
        self._child: _Child | None = None
        self._lock = threading.Lock()

    def map(
        self,
        function: Callable[[Value], Result],
        values: Sequence[Value],
        cpu_seconds: Sequence[float],
        prepare: Callable[[], object] | None = None,
    ) -> list[Result | OverLimit]:
        """One answer for each value, in order.

        All of it has to be of a kind that can be sent to another process. cpu_seconds: of the
        child, on each of the values. prepare: called before, without a limit, e.g. to load what the
        function needs.
        Raises: ProcessDiedError; whatever the function raises.
        """
        answers: list[Result | OverLimit] = []
        with self._lock, self._ended_on_error():
            while len(answers) < len(values):
                rest = [*zip(values, cpu_seconds, strict=True)][len(answers) :]
                child = self._begun((prepare, function, rest))
                while len(answers) < len(values) and (reply := child.reply()) is not None:
                    failed, answer = reply
                    if failed:
                        raise answer
                    answers.append(answer)
                if len(answers) < len(values):
                    self._child, status = None, child.ended()
                    if status != -signal.SIGPROF:
                        raise ProcessDiedError(len(answers), how_ended(status))
                    answers.append(OVER_LIMIT)
        return answers

    def end(self) -> None:
        """Let the child go; the next call starts a new one."""
        with self._lock:
            self.kill()

    def kill(self) -> None:
        """The same at once, also while another thread waits for an answer."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def forget(self) -> None:
        """In a process that was forked: the child is another's."""
        self._lock = threading.Lock()
        if self._child is not None:
            self._child.close()
            self._child = None

    def _begun(self, task: _Task) -> _Child:
        """The child at work on a task. One that was killed while it had none is replaced."""
        if self._child is not None and self._child.begin(task):
            return self._child
        self.kill()
        child = self._child = _Child()
        if not child.begin(task):
            raise ProcessDiedError(None, how_ended(child.ended()))
        return child

    @contextlib.contextmanager
    def _ended_on_error(self) -> Iterator[None]:
        """An error or an interrupt leaves answers unread, which would be taken for later ones."""
        try:
            yield
        except BaseException:
            self.kill()
            raise


class _Child:
    """A running child with a pipe each way, and a third that says that this process lives."""

    def __init__(self) -> None:
        receive, tasks = os.pipe()
        answers, send = os.pipe()
        life, alive = os.pipe()
        self._tasks = Connection(tasks, readable=False)
        self._answers = Connection(answers, writable=False)
        self._alive = alive
        theirs = (receive, send, life)
        code = START.format(path=sys.path, receive=receive, send=send, life=life)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what foreign code prints is no answer of a command
                pass_fds=theirs,
                env={**os.environ, **worker_environment()},
            )
        except BaseException:
            self.close()
            raise
        finally:
            for file in theirs:
                os.close(file)

    def begin(self, task: _Task) -> bool:
        """Hand over a task; False where the child ended before it could begin."""
        try:
            self._tasks.send(task)
        except ConnectionError:
            return False
        return self.reply() is not None

    def reply(self) -> tuple[bool, Any] | None:
        """Whether the function raised, and what, or its result; None where the child ended."""
        try:
            reply: tuple[bool, Any] = self._answers.recv()
        except (EOFError, OSError):
            return None
        return reply

    def ended(self) -> int:
        """The exit status of a child that ends by itself, of a signal the negative number."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_SECONDS)
        return self.kill()

    def kill(self) -> int:
        """Kill it where it still runs; its exit status."""
        self.close()
        self._process.kill()
        return self._process.wait()

    def close(self) -> None:
        """This process's ends of the pipes."""
        self._tasks.close()
        self._answers.close()
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1


def how_ended(status: int) -> str:
    """The signal or the exit status of a process, in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


SHARED = KillableProcess()
"""The one child of this process, for all that has to be called in one."""

atexit.register(SHARED.kill)
os.register_at_fork(after_in_child=SHARED.forget)

__all__ = [
    "OVER_LIMIT",
    "SHARED",
    "KillableProcess",
    "OverLimit",
    "ProcessDiedError",
    "how_ended",
]
