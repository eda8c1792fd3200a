"""Stop a run without losing a step: the first SIGTERM or SIGINT asks, the second one kills."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """While the block runs, a signal only sets :attr:`signal`; the loop looks at it between steps.

    After the first signal the former handlers are back, so a second one acts at once. Outside
    the main thread nothing is caught (Python allows handlers there only).
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._former: dict[signal.Signals, object] = {}

    @property
    def exit_code(self) -> int:
        """128 plus the signal's number, as shells count; 0 when none came."""
        return 0 if self.signal is None else 128 + int(self.signal)

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._former = {}
