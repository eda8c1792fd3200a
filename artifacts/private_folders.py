"""Folders whose content is run: whether anyone else could have put something into one.

A compiled kernel is read as code, so a folder of them must be out of reach of other users: the
folder, all that lies in it, and each folder on the way to it, which another user could rename.

>>> import tempfile
>>> from pathlib import Path
>>> from artifacts.private_folders import make_private, weakness
>>> with tempfile.TemporaryDirectory() as folder:
...     own = make_private(Path(folder) / "kernels")
...     before = weakness(own)
...     own.chmod(0o777)
...     print(before, "/", weakness(own).replace(str(own), "FOLDER"))
None / FOLDER can be written by others
"""

from __future__ import annotations

import functools
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

MOST_LINKS = 40  # on the way to a folder, as the system itself allows


def make_private(folder: Path) -> Path:
    """Make a folder and those on the way to it that are missing, each for its owner alone.

    Nothing is made inside a folder that another user could change. Raises: OSError.
    """
    missing = [folder := Path(os.path.abspath(folder))]
    while not os.path.lexists(missing[-1].parent):
        missing.append(missing[-1].parent)
    if _weak_way(missing[-1].parent, last=False) is None:
        for path in reversed(missing):
            path.mkdir(0o700, exist_ok=True)
    return folder


def weakness(folder: Path) -> str | None:
    """Why someone else could have put something into a folder, or could replace it; None when only
    its owner, who is this process's user, and root could.
    """
    try:
        return _weak_way(folder, last=True) or _weak_inside(folder)
    except OSError as error:
        return f"{error.filename or folder}: {error.strerror or error}"


def _weak_way(folder: Path, last: bool) -> str | None:
    """What is wrong with a folder or one on the way to it. ``last``: the folder itself is used,
    not only passed.
    """
    places = list(_passed(Path(os.path.abspath(folder))))
    for place in places:
        problem = _weak(place, passed=not (last and place is places[-1]))
        if problem is not None:
            return problem
    return None


def _passed(path: Path) -> Iterator[Path]:
    """Each folder and link that the system passes on the way to a path, and the path's folder."""
    current = Path("/")
    yield current
    ahead = list(reversed(path.parts[1:]))
    links = 0
    while ahead:
        part = ahead.pop()
        if part == "..":
            current = current.parent
            continue
        place = current / part
        yield place
        if place.is_symlink():
            links += 1
            if links > MOST_LINKS:
                raise OSError(40, "Too many levels of symbolic links", str(path))
            target = Path(os.readlink(place))
            if target.is_absolute():
                current = Path("/")
            ahead += [part for part in reversed(target.parts) if part != "/"]
        else:
            current = place
    yield current


def _weak(place: Path, passed: bool) -> str | None:
    """Whether someone else owns a place or can write it."""
    return _weak_as(place, place.lstat(), passed)


def _weak_as(place: Path | str, held: os.stat_result, passed: bool) -> str | None:
    """In a sticky folder that is only passed everyone may write, since nobody can touch there what
    belongs to another.
    """
    if held.st_uid not in (0, os.getuid()):
        return f"{place} belongs to another user ({held.st_uid})"
    if stat.S_ISLNK(held.st_mode) or (passed and held.st_mode & stat.S_ISVTX):
        return None
    shared = held.st_mode & stat.S_IWGRP and not _own_group(held.st_gid)
    return f"{place} can be written by others" if held.st_mode & stat.S_IWOTH or shared else None


@functools.cache
def _own_group(group: int) -> bool:
    """Whether a group is its user's alone, as systems make one for each user."""
    if group == 0 and os.getuid() == 0:
        return True
    try:
        user, entry = pwd.getpwuid(os.getuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return (
        group == user.pw_gid and entry.gr_name == user.pw_name and {*entry.gr_mem} <= {user.pw_name}
    )


def _weak_inside(folder: Path | str) -> str | None:
    """What is wrong with anything inside a folder, links included."""
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                held = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # another process of ours replaced it
                continue
            if stat.S_ISLNK(held.st_mode):
                return f"{entry.path} is a link"
            problem = _weak_as(entry.path, held, passed=False)
            if problem is None and stat.S_ISDIR(held.st_mode):
                problem = _weak_inside(entry.path)
            if problem is not None:
                return problem
    return None
