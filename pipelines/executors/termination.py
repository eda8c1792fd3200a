"""Pools of processes that leave nothing behind, however the process that started them ends.

    with sigterm_exits():                       # in the process that starts a pool
        LocalPipelineExecutor(pipeline, tasks=8, workers=4).run()

By default SIGTERM ends a process at once, and the processes of its pools go on. With
:func:`sigterm_exits` it unwinds as Ctrl-C does, so that pools end theirs. :func:`end_with_parent`,
called in a process of a pool, also covers SIGKILL.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from pipelines.executors.killable_child import end_with


@contextlib.contextmanager
def sigterm_exits() -> Iterator[None]:
    """Raise SystemExit of status 143 at SIGTERM, a second one ends the process at once.

    Does nothing outside the main thread, and where somebody handles the signal already.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    owner = os.getpid()

    def exit_or_end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != owner:  # a process of a pool that was forked
            os.kill(os.getpid(), number)
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, exit_or_end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def end_with_parent() -> None:
    """Have this process end when the one that started it with ``multiprocess`` is gone; nothing
    where none did.
    """
    import multiprocess  # late: of the extra datatrove

    parent = multiprocess.parent_process()
    if parent is not None:
        end_with(parent.sentinel)


__all__ = ["end_with_parent", "sigterm_exits"]
