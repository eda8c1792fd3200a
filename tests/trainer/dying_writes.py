"""Kill this process at a chosen file operation inside checkpoint writing: SIGKILL, from an audit
hook, before it happens.

    PYTHONPATH=. python -c "from tests.trainer.dying_writes import Dying; Dying(7, torn=True); ..."

Operations are those on files of a checkpoint that is being written: opening them (to write, to
check, to flush) and renaming their folder into place. Python reports them itself, so nothing of the
trainer is replaced. Tensors are written by a library that does not report; the operation after it
does.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

WRITING = ".writing-"


class Dying:
    """Counts operations; at number ``last`` (from 1) the process is gone. 0 only counts.

    ``torn``: the file written last is cut to half before, as if its bytes had not all reached the
    disk.
    """

    def __init__(self, last: int, *, torn: bool = False) -> None:
        self.last, self.torn, self.operations = last, torn, 0
        sys.addaudithook(self._seen)

    def _seen(self, event: str, facts: tuple[Any, ...]) -> None:
        if event not in ("open", "os.rename") or self.operations < 0:
            return
        path = facts[0]
        if not isinstance(path, str | Path) or f"/checkpoints/{WRITING}" not in str(path):
            return
        self.operations += 1
        if self.operations == self.last:
            self.operations = -1  # what follows is our own
            if self.torn:
                _cut(Path(str(path)))
            os.kill(os.getpid(), signal.SIGKILL)


def _cut(path: Path) -> None:
    folder = next(part for part in (path, *path.parents) if part.name.startswith(WRITING))
    files = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)
    if files:
        os.truncate(files[-1], files[-1].stat().st_size // 2)
