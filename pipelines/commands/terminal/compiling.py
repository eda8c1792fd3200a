"""Says that kernels are compiled while they are, so that a first run does not seem to hang.

    this process ─ compilations ─┐
    local workers ─ last_kept ───┴▶ KernelWatch ─▶ one line on standard error

with KernelWatch():
    run_recipe(load_recipe("recipe.yaml"))
"""

from __future__ import annotations

import contextlib
import sys
import threading
from pathlib import Path
from types import ModuleType, TracebackType

from artifacts.commands import Command

BEAT_SECONDS = 0.25
LONGEST_BEAT_SECONDS = 4.0  # of a command that has compiled nothing for long
_HOME = "artifacts.jit"


class KernelWatch:
    """Looks for compiled kernels until it has seen one and said so; a context manager.

    It sees those of this process and, once it has started others, those that are kept in the same
    folder meanwhile, as worker processes do. It imports no compiler where a command needs none.
    """

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="kernels")
        self._begun_before = 0
        self._kept_before: int | None = None

    def __enter__(self) -> KernelWatch:
        jit = _loaded()
        self._begun_before = 0 if jit is None else jit.compilations()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        beat = BEAT_SECONDS
        while not self._ended.wait(beat):
            if self.compiling():
                print(_message(sys.modules[_HOME]), file=sys.stderr, flush=True)
                return
            beat = min(1.1 * beat, LONGEST_BEAT_SECONDS)

    def compiling(self) -> bool:
        """Whether a kernel was compiled since the watch began, or is now."""
        jit = _loaded()
        if jit is None:
            return False
        kept = jit.last_kept()
        if self._kept_before is None:
            self._kept_before = kept
        if jit.compilations() > self._begun_before:
            return True
        return bool(kept > self._kept_before) and _has_children()


def _has_children() -> bool:
    """Whether this process has started others: what is compiled without them is not for it."""
    lists = Path("/proc/self/task").glob("*/children")
    with contextlib.suppress(OSError):  # a thread that ended meanwhile
        return any(one.read_text().strip() for one in lists)
    return False


def _loaded() -> ModuleType | None:
    """The compiler's module, once all of it is there: the last name it defines tells."""
    jit = sys.modules.get(_HOME)
    return jit if hasattr(jit, "compilations") else None


def _message(jit: ModuleType) -> str:
    if jit.KEPT:
        return (
            "compiling kernels, once: a minute or so, then kept for all later calls "
            f"({Command('doctor --compile')} compiles all of them beforehand)"
        )
    return f"compiling kernels in memory, in each process anew: {Command('doctor')} says why"
