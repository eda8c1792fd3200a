"""The other side of :mod:`pipelines.executors.killable`: a process that answers until it is killed.

It ends with the process that started it, or after a while without a task. Idle, it sees the end of
the pipe that tasks come by. At work it may be inside code in C, which looks at no pipe; so the
kernel watches a third pipe, on which nothing is ever sent, and ends the process by ``SIGIO`` when
the last writer of it is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
from multiprocessing.connection import Connection
from typing import Any

IDLE_SECONDS = 30.0  # without a task, after which it ends by itself: it holds memory


def serve(receive: int, send: int, life: int) -> None:
    """Answer tasks that come by ``receive``, a file descriptor as the others, until it ends."""
    for number in (signal.SIGIO, signal.SIGPROF, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGIO, signal.SIGPROF, signal.SIGTERM})
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process decides what Ctrl-C means
    end_with(life)
    tasks = Connection(receive, writable=False)
    answers = Connection(send, readable=False)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            if not tasks.poll(IDLE_SECONDS):
                return
            prepare, function, values = tasks.recv()
            if prepare is not None:
                with contextlib.suppress(Exception):  # the function will raise it too
                    prepare()
            _send(answers, False, None)
            for value, cpu_seconds in values:
                signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
                try:
                    failed, answer = False, function(value)
                except Exception as error:  # whatever it raises is raised in the other process
                    failed, answer = True, error
                signal.setitimer(signal.ITIMER_PROF, 0)
                _send(answers, failed, answer)


def end_with(life: int) -> None:
    """Have this process ended when the last writer of a pipe is gone."""
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([life], [], [], 0)[0]:  # gone before anybody watched
        os.kill(os.getpid(), signal.SIGKILL)


def _send(answers: Connection, failed: bool, answer: Any) -> None:
    try:
        answers.send((failed, answer))
    except ConnectionError:
        raise
    except Exception as error:  # an answer, or an error, that cannot be sent
        said = f"{type(answer).__name__}: {answer}" if failed else str(error)
        answers.send((True, TypeError(said)))


__all__ = ["serve"]
