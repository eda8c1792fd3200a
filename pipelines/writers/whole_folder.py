"""A folder of a few files, written whole or not at all.

    write_folder("exported", {"a.json": b"{}", "b.bin": content}, own=("a.json", "b.bin"))

On a local disk the files are written to a folder under a temporary name, flushed, and the folder is
renamed; where the folder is there already they are moved into it, all once all are written. On an
object store they are uploaded one by one, and those that were are taken away again where one
fails.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from artifacts.errors import UserError
from artifacts.paths import NO_ROOM, Store, disk_full

_WRITING = ".writing-"


def check_folder(output: str, own: Collection[str]) -> Store:
    """The store of a folder that may be written: not there, empty, or with files of these names
    alone, which are those of an earlier call. Raises: UserError, said of the parameter ``output``.
    """
    if not output.strip():
        raise UserError(
            "no folder to write into", parameter="output", found=repr(output), fix="name a folder"
        )
    store = Store(output.rstrip("/") or "/")
    if store.local and os.path.lexists(store.base) and not os.path.isdir(store.base):
        raise UserError(
            "a file lies where the folder goes",
            file=store.base,
            parameter="output",
            fix="choose another folder",
        )
    foreign = [name for name in _names(store) if name not in own]
    if foreign:
        raise UserError(
            "the folder holds other files, which are not overwritten or mixed with these",
            file=store.base,
            parameter="output",
            found=", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else ""),
            fix="choose a folder that is empty or not there yet, or move these files away",
        )
    return store


def write_folder(output: str, files: Mapping[str, bytes], own: Collection[str]) -> list[str]:
    """Write files by name into a folder; full names of what is there now.

    ``own``: names that may be there already and are replaced, or removed where ``files`` has none
    of that name. Raises: UserError as :func:`check_folder`, and where the disk is full.
    """
    store = check_folder(output, own)
    if store.local:
        _write_local(Path(store.base), files)
    else:
        _upload(store, files)
    for name in set(_names(store)) - set(files):
        store.delete(name)
    return [store.full(name) for name in files]


def _names(store: Store) -> list[str]:
    """Everything in a folder, folders and links too; what was left half written is nothing."""
    if not store.local:
        return store.names()
    found = sorted(os.listdir(store.base)) if os.path.isdir(store.base) else []
    return [name for name in found if not name.startswith(_WRITING)]


def _write_local(folder: Path, files: Mapping[str, bytes]) -> None:
    there = folder.is_dir()
    (folder if there else folder.parent).mkdir(parents=True, exist_ok=True)
    with _new_folder(folder if there else folder.parent) as written:
        for name, content in files.items():
            _write(written / name, content, folder / name)
        if not there:
            written.chmod(0o755)
            written.rename(folder)
            return
        for name in files:
            (written / name).replace(folder / name)


@contextlib.contextmanager
def _new_folder(parent: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=_WRITING, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # nothing is left of it where it was renamed


def _write(path: Path, content: bytes, target: Path) -> None:
    try:
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno in NO_ROOM:
            raise disk_full(str(target), 0) from error
        raise


def _upload(store: Store, files: Mapping[str, bytes]) -> None:
    done: list[str] = []
    try:
        for name, content in files.items():
            store.write(name, content)
            done.append(name)
    except BaseException:
        for name in done:
            store.delete(name)
        raise
