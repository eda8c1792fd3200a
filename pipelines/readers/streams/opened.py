"""Inputs opened: which compression a path tells, which file system it lies on."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import IO, Any

import fsspec

from artifacts.errors import UserError
from artifacts.extras import install_command

COMPRESSIONS = {
    ".gz": "gzip",
    ".zst": "zstd",
    ".zstd": "zstd",
    ".bz2": "bzip2",
    ".xz": "xz",
    ".lz4": "lz4",
}


def compression_of(path: str) -> str | None:
    """Compression by the suffix of a path, ``None`` for plain."""
    return COMPRESSIONS.get(PurePosixPath(path).suffix.lower())


def filesystem_of(url: str) -> tuple[Any, str]:
    """The fsspec file system of a path or url, and the path inside it.

    Raises: UserError for an unknown protocol or one whose package is not installed.
    """
    try:
        return fsspec.core.url_to_fs(url)  # type: ignore[no-any-return]
    except ImportError as error:
        raise UserError(
            f"this store needs a package that is not installed: {error}",
            file=url,
            fix=install_command("cloud"),
        ) from None
    except ValueError as error:
        raise UserError(
            f"this path cannot be opened: {error}",
            file=url,
            found=url.split("://")[0],
            allowed=["s3", "gs", "hf", "https", "file"],
            fix="correct the protocol of the path",
        ) from None


def open_input(url: str) -> IO[bytes]:
    """Open a local path or an object for reading bytes.

    Raises: UserError when there is no such file or it may not be read.
    """
    try:
        # a local path; fsspec takes as long to find that out as opening it takes
        if url.startswith("/") and "::" not in url and "://" not in url:
            return open(url, "rb")
        filesystem, path = filesystem_of(url)
        return filesystem.open(path, "rb")  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise UserError("no such file", file=url, fix="check the paths of the source") from None
    except PermissionError as error:
        raise UserError(
            f"may not be read: {error}", file=url, fix="give this user read access"
        ) from None
