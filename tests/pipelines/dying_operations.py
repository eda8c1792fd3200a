"""Kill this process at a chosen file operation below a folder: SIGKILL, from an audit hook, before
the operation happens.

    Dying("/data/index", 7)

Operations are those that change something: opening to write, renaming, making and removing. Python
reports them itself, so nothing is replaced. Arrow's own writes are not reported; the operation
after them is.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir")


class Dying:
    """Counts operations below ``folder``; at number ``last`` (from 1) the process is gone. 0 only
    counts.
    """

    def __init__(self, folder: str, last: int) -> None:
        self.folder, self.last, self.operations = folder, last, 0
        sys.addaudithook(self._seen)

    def _seen(self, event: str, facts: tuple[Any, ...]) -> None:
        changes = event in CHANGES or (event == "open" and facts[2] & (os.O_WRONLY | os.O_RDWR))
        if changes and isinstance(facts[0], str) and facts[0].startswith(self.folder):
            self.operations += 1
            if self.operations == self.last:
                os.kill(os.getpid(), signal.SIGKILL)
