"""A folder that appears whole or not at all: filled beside its place, and renamed.

    with appearing(Path("model")) as place:
        (place / "config.json").write_bytes(...)

While it is filled, its process holds the operating system's lock on it. A killed process holds none
any more, so the next one that writes beside it removes what was left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from artifacts.errors import UserError
from artifacts.paths import NO_ROOM, disk_full

WRITING = ".writing-export-"
"""What the name of a folder begins with that is not whole yet."""


@contextlib.contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes its place when nothing went wrong. Raises: UserError when there
    is something in its place, when it is no place on this machine, and when the disk is full.
    """
    _check_place(folder)
    if folder.is_symlink() or (
        folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))
    ):
        raise UserError(
            "there is something here already",
            file=folder,
            fix="name a folder that is not there yet, or remove this one",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_left(folder.parent)
    place, handle = _held(folder.parent)
    try:
        yield place
        place.chmod(0o755)
        os.rename(place, folder)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise disk_full(str(folder), 0) from error
        raise
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(handle)


def remove_left(parent: Path) -> None:
    """Remove what killed processes left below a folder; what a living one fills stays."""
    for left in parent.glob(f"{WRITING}*"):
        with contextlib.suppress(OSError):  # another removes it, or may alone
            handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(handle)


def _held(parent: Path) -> tuple[Path, int]:
    """A new folder and the handle of its lock."""
    while True:
        place = Path(tempfile.mkdtemp(prefix=WRITING, dir=parent))
        try:
            handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # another took it for left, before it was locked
            continue
        if _locked(handle) and _is_there(place, handle):
            return place, handle
        os.close(handle)


def _locked(handle: int) -> bool:
    """Whether nobody else holds the lock now; a disk without locks counts as held by us."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # another is about to remove it
        return False
    except OSError:
        return True
    return True


def _is_there(place: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(place), os.fstat(handle))
    except FileNotFoundError:
        return False


def _check_place(folder: Path) -> None:
    """Raises: UserError for a folder that cannot be replaced or is not on this machine."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", os.fspath(folder)):
        raise UserError(
            "models are exported to a folder of this machine",
            file=re.sub(":/+", "://", os.fspath(folder), count=1),  # a path joins both strokes
            fix="export to a folder, and copy it to the store",
        )
    found = Path(os.path.abspath(folder))
    if found == Path.cwd() or found == found.parent:
        raise UserError(
            "this folder cannot be replaced",
            file=found,
            fix="name a folder that is not there yet",
        )
