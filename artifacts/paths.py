"""A store: one root, on a local disk or behind fsspec, with whole-file atomic writes.

Everything the house writes goes through :class:`Store`. On a local disk a file is written under a
temporary name in the same folder, flushed to disk, and renamed. On an object store it is written
to a local temporary file and uploaded in one request, which those stores make atomic. Either way a
reader sees the whole file or none.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import fsspec
import xxhash
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from artifacts.commands import Command
from artifacts.errors import Setting, UserError
from artifacts.extras import install_command
from artifacts.store_errors import is_from_a_store, unanswered

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)  # a quota that is used up is a full disk to its user
PROBE = ".writing-probe"
# with one slash or no bucket; a folder of that name on this disk is hardly meant
_HALF_AN_ADDRESS = re.compile(r"(s3|gs|gcs|hf|az|abfs):(/?[^/]|/*$)")


class DiskFullError(UserError):
    """The disk holding the run has no room left."""


class Store:
    """Files under one root, named by relative POSIX paths.

    ``root`` opens the same store in any process, wherever it runs: local ones are absolute paths.
    Raises: UserError when the root names no store that can be opened.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = str(root)
        if _HALF_AN_ADDRESS.match(self.root):
            raise UserError(
                "not the address of a store",
                file=self.root,
                fix="write its bucket after two slashes, as in s3://bucket/folder",
            )
        self.fs: fsspec.AbstractFileSystem
        try:
            self.fs, self.base = url_to_fs(self.root)
        except ImportError as error:
            raise UserError(
                f"this store needs a package that is not installed: {error}",
                file=self.root,
                fix=install_command("cloud"),
            ) from error
        except ValueError as error:
            raise UserError(
                f"this store cannot be opened: {error}",
                file=self.root,
                found=self.root.split("://")[0],
                allowed=["file", "s3", "gs", "hf", "memory"],
                fix="give a folder, or a URL such as s3://bucket/folder",
            ) from error
        self.local = isinstance(self.fs, LocalFileSystem)
        if self.local:
            self.root = self.base
        else:
            # with its protocol: what is printed, or opened elsewhere, is a URL
            self.base = str(self.fs.unstrip_protocol(self.base))

    def __repr__(self) -> str:
        return f"Store({self.root!r})"

    def full(self, name: str) -> str:
        """Path of a file, which opens anywhere: an absolute one, or the URL of an object."""
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"not a name inside the store: {name!r}")
        return f"{self.base.rstrip('/')}/{name}"

    def exists(self, name: str) -> bool:
        return bool(self.fs.exists(self.full(name)))

    def size(self, name: str) -> int | None:
        """Bytes of a file, or None where there is none."""
        try:
            return int(self.fs.size(self.full(name)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading. Raises: UserError where a folder or a link to itself stands in
        its place.
        """
        try:
            file: IO[bytes] = self.fs.open(self.full(name), "rb")
        except OSError as error:
            if error.errno not in (errno.EISDIR, errno.ELOOP):
                raise
            raise UserError(
                "no file, where one has to be",
                file=self.full(name),
                found="a folder" if error.errno == errno.EISDIR else "a link to itself",
                fix="move it away, and restore the file or run again",
            ) from None
        return file

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            return file.read()

    def names(self, prefix: str = "") -> list[str]:
        """Every file below a prefix, relative to the root, sorted."""
        top = self.full(prefix) if prefix else self.base
        try:
            found = self.fs.find(top)
        except FileNotFoundError:
            return []
        cut = len(self.fs._strip_protocol(self.base).rstrip("/")) + 1
        return sorted(str(path)[cut:] for path in found)

    def delete(self, prefix: str) -> None:
        """Remove a file or everything below a prefix; nothing there is no error."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm(self.full(prefix), recursive=True)

    def free_bytes(self) -> int | None:
        """Room left on the disk; None where the store has no such limit."""
        if not self.local:
            return None
        return shutil.disk_usage(self._existing_folder()).free

    def _existing_folder(self) -> Path:
        """The root, or the nearest folder above it that is there."""
        folder = Path(self.base)
        while not folder.exists():
            folder = folder.parent
        return folder

    @contextlib.contextmanager
    def probe(self) -> Iterator[str]:
        """A small file where this store writes, gone when the block ends; yields its path. Nothing
        else is made.

        A local store that is not there yet is tried in the nearest folder above it.
        Raises: UserError when nothing can be written there.
        """
        try:
            if self.local:
                handle, path = tempfile.mkstemp(prefix=".writing-", dir=self._existing_folder())
                os.close(handle)
            else:
                self.write(PROBE, b"")
                path = self.full(PROBE)
        except Exception as error:  # stores raise errors of their own, such as missing credentials
            if is_from_a_store(error):
                raise unanswered(error, self.root, "cannot write here") from error
            reason = getattr(error, "strerror", None) or error
            raise UserError(
                f"cannot write here: {reason}",
                file=self.root,
                fix=(
                    "give this user write access, or choose another folder (",
                    Setting("runs"),
                    ")",
                ),
            ) from error
        try:
            yield path
        finally:
            self.fs.rm(path)

    def write(self, name: str, content: bytes) -> None:
        with self.writer(name) as file:
            file.write(content)

    @contextlib.contextmanager
    def writer(self, name: str) -> Iterator[HashingFile]:
        """Write one file whole: it appears when the block ends without an error, else never.

        Raises: DiskFullError when the disk runs out of room, naming what was needed.
        """
        target = self.full(name)
        folder = os.path.dirname(target) if self.local else None
        temporary, file = None, None
        try:
            if folder is not None:
                os.makedirs(folder, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=".writing-", dir=folder)
            with os.fdopen(handle, "wb", buffering=1 << 20) as raw:
                file = HashingFile(raw)
                yield file
                raw.flush()
                os.fsync(raw.fileno())
            if self.local:
                os.chmod(temporary, 0o644)
                os.replace(temporary, target)
            else:
                self.fs.put_file(temporary, target)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise disk_full(target, 0 if file is None else file.bytes) from error
            error.filename = error.filename or target  # stores do not say which
            raise
        finally:
            if temporary is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)


def disk_full(path: str, written: int) -> DiskFullError:
    """The error for a disk that ran out of room while a file was being written."""
    folder = os.path.dirname(path) or "."
    free = shutil.disk_usage(folder).free if os.path.isdir(folder) else 0
    return DiskFullError(
        f"the disk is full: {written:,} bytes of this file were written and at least as many more "
        f"are needed, {free:,} are free",
        file=path,
        fix=(
            "free some room (",
            Command("cache gc RUN"),
            "), or choose another disk (",
            Setting("runs"),
            "); the run goes on where it stopped",
        ),
    )


class HashingFile:
    """A writable binary file that counts and hashes (xxh3_128) what goes through it."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._digest = xxhash.xxh3_128()
        self.bytes = 0

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._digest.update(view)
        self._raw.write(view)
        self.bytes += len(view)
        return len(view)

    def flush(self) -> None:
        self._raw.flush()

    def tell(self) -> int:
        return self.bytes

    def close(self) -> None:
        """The store closes the file; writers such as Arrow's may call this first."""

    @property
    def closed(self) -> bool:
        return False

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    @property
    def checksum(self) -> str:
        """xxh3_128 of everything written, 32 hex digits."""
        return self._digest.hexdigest()
