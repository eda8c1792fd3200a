"""Programs in a pseudo-terminal: what a person at a terminal sees and types.

with Terminal("chat", checkpoint) as terminal:
    terminal.read("> ")
    terminal.write("hello\\n")
    assert terminal.end() == 0
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import sys
import time
from collections.abc import Sequence
from types import TracebackType

from tests.pipelines.test_train_command import COMMAND


class Terminal:
    """A program in a pseudo-terminal of its own, killed where it has not ended.

    Of the commands of this house by their arguments, of another by ``command``.
    """

    def __init__(self, *arguments: object, command: Sequence[str] = ()) -> None:
        self.output = ""
        self._at = 0
        words = [*command] or [sys.executable, "-c", COMMAND, *map(str, arguments)]
        self.process, self.place = pty.fork()
        if self.process == 0:
            # a shell in the background ignores it for what it starts; a terminal's does not
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.environ.update(TERM="dumb", OMP_NUM_THREADS="1", COLUMNS="200")
            os.execv(words[0], words)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.place)
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)

    def read(self, wanted: str, seconds: float = 120) -> str:
        """What came since the last call, up to a text, which is waited for."""
        end = time.monotonic() + seconds
        while (found := self.output.find(wanted, self._at)) < 0:
            ready = select.select([self.place], [], [], max(0.0, end - time.monotonic()))[0]
            if not ready or not self._more():
                raise AssertionError(f"no {wanted!r} in {self.output[self._at :]!r}")
        came = self.output[self._at : found + len(wanted)]
        self._at = found + len(wanted)
        return came

    def write(self, text: str) -> None:
        os.write(self.place, text.encode())

    def interrupt(self, wanted: str) -> str:
        """Press Ctrl-C until a text comes: Python may not look for signals between showing its
        prompt and waiting for a key, and then it looks at the next key.
        """
        for _ in range(30):
            self.write("\x03")
            with contextlib.suppress(AssertionError):
                return self.read(wanted, seconds=4)
        return self.read(wanted, seconds=0)

    def end(self) -> int:
        """The exit code, once all output is read."""
        while self._more():
            pass
        _, status = os.waitpid(self.process, 0)
        self.process = 0
        return os.waitstatus_to_exitcode(status)

    def _more(self) -> bool:
        """Whether there was something more to read."""
        try:
            came = os.read(self.place, 65536)
        except OSError:  # the other end is closed
            return False
        self.output += came.decode("utf-8", "replace")
        return bool(came)
