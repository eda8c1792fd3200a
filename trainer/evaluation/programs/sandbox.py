"""Run a program against tests where it can do no harm, and say whether it passed.

    sandbox = Sandbox.here()
    sandbox.run(Trial("def f(x): return x + 1", "assert f(1) == 2", functions=("f",)))

Each trial is a fresh process (:mod:`trainer.evaluation.programs.inside`) that is started by exec,
so threads and locks of this one do not matter. What holds it back is in
:mod:`trainer.evaluation.programs.walls`. A program that does not end, that takes too much, or
that breaks out of its part ends as a trial that failed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from artifacts.errors import Setting, UserError
from trainer.evaluation.programs.walls import EVERY, LANDLOCK, NAMESPACES, SYSTEM_CALLS

ROOT = str(Path(__file__).resolve().parents[3])
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from trainer.evaluation.programs.inside import main; main()"
)
_GRACE = 20.0
"""Seconds that the guard, which keeps the time itself, may take longer on a busy machine."""

_CLOSED_BY = {
    "the network": (NAMESPACES, SYSTEM_CALLS),
    "other processes": (NAMESPACES, SYSTEM_CALLS),
    "files": (NAMESPACES, LANDLOCK),
}


@dataclass(frozen=True)
class Limits:
    """Of one program: wall time and CPU time in ``seconds``, address space in ``memory`` bytes."""

    seconds: float = 3.0
    memory: int = 256 << 20


@dataclass(frozen=True)
class Trial:
    """A program and what it must pass. ``functions``: those of it that ``tests`` call.
    ``reference``: code for other names that ``tests`` use; its own of ``functions`` are replaced.
    """

    program: str
    tests: str
    functions: tuple[str, ...]
    reference: str = ""


@dataclass(frozen=True)
class Outcome:
    """Whether every test passed; ``reason``: why not, in the words of what ended it."""

    passed: bool
    reason: str


@dataclass(frozen=True)
class Sandbox:
    """``walls``: which are built round every program."""

    walls: tuple[str, ...]
    limits: Limits = Limits()

    @classmethod
    def here(cls, limits: Limits | None = None, *, without_walls: bool = False) -> Sandbox:
        """With all walls that can be built on this machine.

        Raises: UserError where the network, other processes or files stay open to a program, unless
        ``without_walls`` allows that.
        """
        if sys.platform != "linux":
            raise UserError(
                "programs that a model wrote are run on Linux alone",
                found=sys.platform,
                fix="run this on Linux, in a container for instance",
            )
        standing = tuple(wall for wall in EVERY if _stands(wall))
        made = cls(standing, limits or Limits())
        if made.leaves_open and not without_walls:
            raise UserError(
                "programs that a model wrote cannot be held back on this machine",
                found=f"{' and '.join(made.leaves_open)} would be open to them",
                allowed=["user namespaces, or Landlock (Linux 5.13) and seccomp (x86-64)"],
                fix=(
                    "allow these in the settings of the kernel or the container, or give ",
                    Setting("without_walls", True),
                    " where nothing can be harmed",
                ),
            )
        return made

    @property
    def leaves_open(self) -> list[str]:
        """What programs can reach since no wall keeps them from it."""
        return [what for what, walls in _CLOSED_BY.items() if not set(walls) & set(self.walls)]

    def run(self, trial: Trial) -> Outcome:
        """Run one. Raises: UserError when its walls cannot be built."""
        with _folder() as folder:
            verdict = _verdict(
                {
                    "root": ROOT,
                    "folder": folder,
                    "walls": self.walls,
                    "seconds": self.limits.seconds,
                    "memory": self.limits.memory,
                    "program": trial.program,
                },
                {
                    "tests": trial.tests,
                    "functions": trial.functions,
                    "reference": trial.reference,
                },
            )
        if verdict["walls"] is not None:
            raise UserError(
                "the walls round a program cannot be built",
                found=verdict["walls"],
                allowed=[", ".join(self.walls)],
                fix="run it where they can",
            )
        return Outcome(verdict["passed"], verdict["reason"])

    def run_all(self, trials: Sequence[Trial]) -> list[Outcome]:
        """Run many, one on each core, in their order."""
        cores = len(os.sched_getaffinity(0))
        with ThreadPoolExecutor(cores) as threads:
            return list(threads.map(self.run, trials))


def _stands(wall: str) -> bool:
    """Whether a wall can be built here: a program that does nothing passes within it."""
    trial = Trial("def f(): return 1", "assert f() == 1", ("f",))
    try:
        return Sandbox((wall,), Limits(seconds=10)).run(trial).passed
    except UserError:
        return False


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    """An empty folder of the trial's own, gone afterwards."""
    folder = tempfile.mkdtemp(prefix="windtunnel-program-")
    try:
        yield folder
    finally:
        for place, folders, _ in os.walk(folder):  # a program may have closed them to their owner
            for path in (os.path.join(place, name) for name in folders):
                if not os.path.islink(path):
                    os.chmod(path, 0o700)
        shutil.rmtree(folder)


def _verdict(job: dict[str, Any], judged_by: dict[str, Any]) -> dict[str, Any]:
    """What the guard of a job says. ``judged_by`` is a file that only the judge reads."""
    with (
        _written(judged_by) as hidden,
        _written({**job, "judged_by": hidden.fileno()}) as asked,
    ):
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _START, ROOT],
            stdin=asked,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[hidden.fileno()],
            cwd="/",
            env={"LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )
        try:
            said, errors = guard.communicate(timeout=job["seconds"] + _GRACE)
        except subprocess.TimeoutExpired:
            said, errors = b"", b""
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(guard.pid, signal.SIGKILL)
            guard.wait()
            for pipe in (guard.stdout, guard.stderr):
                if pipe is not None:
                    pipe.close()
    if guard.returncode == 0 and said:
        return dict(json.loads(said))
    if guard.returncode > 0:
        raise RuntimeError(f"the guard of a program failed: {errors.decode(errors='replace')}")
    return {"passed": False, "reason": "out of time", "walls": None}


@contextlib.contextmanager
def _written(values: dict[str, Any]) -> Iterator[IO[bytes]]:
    """An open file without a name that holds values, from its beginning."""
    with tempfile.TemporaryFile() as file:
        file.write(json.dumps(values).encode())
        file.seek(0)
        yield file
