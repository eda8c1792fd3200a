"""A folder or a commit as a checkout, and its command line, called in a place that both share.

Outputs may hold absolute paths (an index names the folders of its texts). So each case of both
checkouts runs in the same folder, one after the other, and what it wrote is moved away.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from one_core import POOLS

ENTRY = "from pipelines.launch import main; main()"
LINES_OF_A_FAILURE = 15


class CallFailedError(Exception):
    """A command of a checkout ended with another exit code than 0, or did what it should not."""


@dataclass(frozen=True)
class Checkout:
    """One of the two: ``old`` or ``new``."""

    side: str
    folder: Path

    def described(self) -> str:
        """The commit, and whether files were changed since."""
        commit = git(self.folder, "rev-parse", "--short", "HEAD")
        changed = git(self.folder, "status", "--porcelain", "--untracked-files=no")
        return f"{commit or 'no commit'}{' with changes' if changed else ''}"


@dataclass(frozen=True)
class Work:
    """The folder everything lies in while it is compared.

    inputs/ what both read, at/CASE where a case runs, old/CASE and new/CASE what it wrote there,
    logs/ what commands said.
    """

    root: Path

    @property
    def inputs(self) -> Path:
        return self.root / "inputs"

    def at(self, case: str) -> Path:
        return self.root / "at" / case

    def of(self, side: str, case: str) -> Path:
        return self.root / side / case

    @contextmanager
    def running(self, side: str, case: str, start: Path | None = None) -> Iterator[Path]:
        """The folder in which a case runs, empty or a copy of ``start``; moved to
        :meth:`of` (side, case) at the end.
        """
        place, target = self.at(case), self.of(side, case)
        for folder in (place, target):
            shutil.rmtree(folder, ignore_errors=True)
            folder.parent.mkdir(parents=True, exist_ok=True)
        if start is None:
            place.mkdir()
        else:
            shutil.copytree(start, place)
        try:
            yield place
        finally:
            shutil.move(place, target)

    def call(self, checkout: Checkout, *arguments: object) -> str:
        """Run a command of a checkout; returns its standard output. Raises: CallFailedError."""
        neutral, logs = self.root / "empty", self.root / "logs"
        for folder in (neutral, logs):
            folder.mkdir(exist_ok=True)
        words = [str(argument) for argument in arguments]
        done = subprocess.run(
            [sys.executable, "-c", ENTRY, *words],
            cwd=neutral,
            env=self.environment(checkout),
            capture_output=True,
            text=True,
        )
        log = logs / f"{len(list(logs.iterdir())):03d}-{checkout.side}-{words[0]}.txt"
        said = f"windtunnel {' '.join(words)}\nexit code {done.returncode}\n"
        log.write_text(f"{said}{done.stderr}{done.stdout}", encoding="utf-8")
        if done.returncode:
            last = "\n".join((done.stderr + done.stdout).splitlines()[-LINES_OF_A_FAILURE:])
            raise CallFailedError(f"the {checkout.side} checkout: {said}{last}")
        return done.stdout

    def environment(self, checkout: Checkout) -> dict[str, str]:
        """The same for both but for the checkout itself: one thread in every pool, no byte code
        beside the sources.
        """
        return {
            **os.environ,
            **dict.fromkeys(POOLS, "1"),
            "PYTHONPATH": str(checkout.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "COLUMNS": "200",
        }


@contextmanager
def checkout(side: str, asked: str, repository: Path, work: Path) -> Iterator[Checkout]:
    """The checkout in a folder, or that of a commit in a worktree that is removed at the end."""
    if Path(asked).is_dir():
        yield Checkout(side, Path(asked).resolve())
        return
    if not git(repository, "rev-parse", "--verify", "--quiet", f"{asked}^{{commit}}"):
        raise SystemExit(f"--{side} {asked}: neither a folder nor a commit of {repository}")
    folder = work / f"checkout-{side}"
    added = ("worktree", "add", "--detach", "--quiet", str(folder), asked)
    subprocess.run(["git", "-C", str(repository), *added], check=True)
    try:
        yield Checkout(side, folder)
    finally:
        git(repository, "worktree", "remove", "--force", str(folder))


def git(folder: Path, *arguments: str) -> str:
    """What git says; nothing where it fails."""
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""
