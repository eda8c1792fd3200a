"""The other side of :mod:`pipelines.executors.processes`: a process whose main thread runs tasks.

Without a task SIGTERM ends it. While a task runs the signal is the task's, where that handles it; a
task that does not is unwound as by Ctrl-C.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

from pipelines.executors.base import limit_threads
from pipelines.executors.killable_child import end_with

_answers: Connection | None = None


def tell(fact: Any) -> None:
    """Say how the task of this process stands; nothing happens where no executor listens."""
    if _answers is not None:
        with contextlib.suppress(ConnectionError):
            _answers.send(("told", fact))


def serve(receive: int, send: int, life: int) -> None:
    """Answer tasks that come by ``receive``, a file descriptor as the others, until it ends."""
    global _answers
    for number in (signal.SIGIO, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGIO, signal.SIGTERM})
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process decides what Ctrl-C means
    signal.signal(signal.SIGTERM, _unwind)
    end_with(life)
    limit_threads()
    tasks = Connection(receive, writable=False)
    _answers = Connection(send, readable=False)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            function, task = tasks.recv()
            try:
                reply = ("made", function(task))
            except Exception as error:  # whatever it raises is raised in the other process
                reply = ("raised", error)
            _send(_answers, reply)


def _send(answers: Connection, reply: tuple[str, Any]) -> None:
    try:
        answers.send(reply)
    except ConnectionError:
        raise
    except Exception as error:  # an answer, or an error, that cannot be sent
        kind, answer = reply
        said = f"{type(answer).__name__}: {answer}" if kind == "raised" else str(error)
        answers.send(("raised", TypeError(said)))


def _unwind(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


__all__ = ["serve", "tell"]
