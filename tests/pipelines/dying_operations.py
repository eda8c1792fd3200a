"""Kill this process at a chosen file operation under certain folders of a run: SIGKILL, from an audit hook, before it happens.

    python -c "from tests.pipelines.dying_operations import DyingOperations; DyingOperations(7, ('/work/',)); ..."

Operations are opening files and renaming them into place, as Python reports them itself: nothing of the run is replaced.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


class DyingOperations:
    """Counts operations on paths that contain one of ``within``; at number ``last`` (from 1) the process is gone. 0 only counts."""

    def __init__(self, last: int, within: tuple[str, ...]) -> None:
        self.last, self.within, self.operations = last, within, 0
        sys.addaudithook(self._seen)

    def _seen(self, event: str, facts: tuple[Any, ...]) -> None:
        if event in ("open", "os.rename") and isinstance(facts[0], str) and any(part in facts[0] for part in self.within):
            self.operations += 1
            if self.operations == self.last:
                os.kill(os.getpid(), signal.SIGKILL)
