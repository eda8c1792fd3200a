"""From the globs of a source to its files: sorted, with paths that do not depend on where the root
lies.
"""

from __future__ import annotations

import difflib
import glob
import posixpath
import stat
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from fsspec.core import split_protocol

from artifacts.errors import UserError
from artifacts.store_errors import CREDENTIALS, in_one_line
from pipelines.readers.base import InputFile
from pipelines.readers.followed_links import FollowedLinks
from pipelines.readers.formats import AUTO, format_of
from pipelines.readers.streams.opened import filesystem_of

_WILDCARDS = "*?["


def discover(
    source_name: str | None, patterns: Iterable[str], format: str = AUTO, base: str | Path = "."
) -> list[InputFile]:
    """Files of a source, sorted by relative path (bytewise). Errors name the source if it has a
    name.

    A pattern is a path or a glob (``*``, ``?``, ``[ab]``, ``**``), relative to ``base``, or
    absolute and local or of any store fsspec knows (``s3://…``, ``gs://…``, ``hf://…``). ``base``
    is a folder, local or of such a store, and taken literally. The glob root of a pattern is the
    fixed folder before its first wildcard; without one, the folder of the file.

    Raises: UserError when a pattern matches nothing, a folder, or what cannot be read as a file (a
    link to nothing, a pipe), when two files of the source have the same relative path, or when a
    suffix does not tell the format.
    """
    found: dict[str, InputFile] = {}
    for pattern in patterns:
        for file in _reached(source_name, str(pattern), format, str(base)):
            other = found.setdefault(file.url, file)
            if other.path != file.path:
                raise UserError(
                    f"{_of(source_name)}two patterns reach this file under different "
                    "relative paths",
                    file=file.url,
                    field="paths",
                    found=f"{other.path} and {file.path}",
                    fix="remove one of the patterns",
                )
    files = sorted(found.values(), key=lambda file: (file.path.encode(), file.url))
    for first, second in pairwise(files):
        if first.path == second.path:
            raise UserError(
                f"{_of(source_name)}two files have the same relative path {first.path!r}, so "
                "their documents would share ids",
                file=second.url,
                field="paths",
                found=first.url,
                fix="use one pattern with a common root, or two sources",
            )
    return files


def _of(source_name: str | None) -> str:
    return "" if source_name is None else f"source {source_name!r}: "


def _reached(source_name: str | None, pattern: str, format: str, base: str) -> list[InputFile]:
    """The files of a pattern. Raises: UserError for a store that does not answer, too."""
    try:
        return _expand(source_name, pattern, format, base)
    except UserError:
        raise
    except Exception as error:  # whatever the code of a store raises
        raise UserError(
            f"{_of(source_name)}this path cannot be reached: {in_one_line(error)}",
            file=pattern,
            field="paths",
            fix=CREDENTIALS,
        ) from error


def _expand(source_name: str | None, pattern: str, format: str, base: str) -> list[InputFile]:
    if "\0" in pattern:
        raise UserError(
            "a path holds no NUL character", field="paths", found=ascii(pattern), fix="remove it"
        )
    filesystem, full, literal = _located(pattern, base)
    filesystem.invalidate_cache()
    if _first_wildcard(full, literal) is not None and _is_file(filesystem, full):
        literal = len(full)  # a file of exactly that name
    root = _glob_root(full, literal)
    matches = _matches(filesystem, full, literal)
    if not matches:
        raise _nothing_found(source_name, pattern, filesystem, root, full)
    is_local = "file" in _protocols(filesystem)
    files = []
    for path, info in matches:
        relative = path[len(root) :].lstrip("/")
        url = path if is_local else filesystem.unstrip_protocol(path)
        try:
            relative.encode()
        except UnicodeEncodeError:
            raise UserError(
                "the file name is not valid UTF-8", file=ascii(path), fix="rename the file"
            ) from None
        files.append(InputFile(url, relative, int(info["size"]), format_of(relative, format)))
    return files


def _located(pattern: str, base: str) -> tuple[Any, str, int]:
    """The file system of a pattern, its full path there, and how many characters of that are the
    literal base.
    """
    if split_protocol(pattern)[0] or pattern.startswith("file:"):
        return (*filesystem_of(pattern), 0)
    expanded = Path(pattern).expanduser()
    if expanded.is_absolute():
        return (*filesystem_of(str(expanded)), 0)
    if not split_protocol(base)[0]:
        folder = Path(base).absolute()
        return (*filesystem_of(str(folder / expanded)), len(str(folder)))
    filesystem, folder_path = filesystem_of(base)
    folder_path = str(folder_path).rstrip("/")
    return filesystem, f"{folder_path}/{pattern}", len(folder_path)


def _matches(filesystem: Any, full: str, literal: int) -> list[tuple[str, dict[str, Any]]]:
    if _first_wildcard(full, literal) is not None:
        if "file" in _protocols(filesystem):
            filesystem = FollowedLinks()
        entries = filesystem.glob(glob.escape(full[:literal]) + full[literal:], detail=True)
        named = [
            (path, info if info["type"] in ("file", "directory") else _followed(filesystem, path))
            for path, info in entries.items()
        ]
        return [(path, info) for path, info in named if info["type"] != "directory"]
    try:
        info = filesystem.info(full)
    except (FileNotFoundError, NotADirectoryError):
        if getattr(filesystem, "islink", lambda path: False)(full):
            _followed(filesystem, full)
        return []
    except PermissionError as error:
        raise UserError(
            f"may not be read: {error.strerror}",
            file=full,
            field="paths",
            fix="give this user read access",
        ) from None
    if info["type"] == "directory":
        fix = f"name its files, as in {full.rstrip('/')}/**/*.jsonl.zst"
        raise UserError("this is a folder, not a file", file=full, field="paths", fix=fix)
    return [(full, _followed(filesystem, full))]


def _followed(filesystem: Any, path: str) -> dict[str, Any]:
    """What a path leads to, a link being followed. Raises: UserError when that is neither a file
    nor a folder.
    """
    try:
        info: dict[str, Any] = filesystem.info(path)
    except FileNotFoundError:
        raise UserError(
            "this link leads nowhere",
            file=path,
            field="paths",
            fix="remove the link, or bring back the file it names",
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot be read: {error.strerror or error}",
            file=path,
            field="paths",
            fix="mend or remove it",
        ) from None
    if info["type"] not in ("file", "directory"):
        raise UserError(
            f"this is {_kind(info.get('mode', 0))}, not a file",
            file=path,
            field="paths",
            fix="write its content into a file, or leave it out",
        )
    return info


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((name for is_kind, name in kinds if is_kind(mode)), "something else")


def _first_wildcard(full: str, literal: int) -> int | None:
    """Where the first wildcard behind the literal base stands."""
    return min(
        (place for sign in _WILDCARDS if (place := full.find(sign, literal)) >= 0), default=None
    )


def _glob_root(full: str, literal: int) -> str:
    """The folder before the first wildcard, with its slash."""
    fixed = full[: _first_wildcard(full, literal)]
    return fixed[: fixed.rfind("/") + 1]


def _nothing_found(
    source_name: str | None, pattern: str, filesystem: Any, root: str, full: str
) -> UserError:
    folder = root.rstrip("/")
    while folder and not _exists(filesystem, folder):
        folder = posixpath.dirname(folder)
    try:
        names = sorted(
            posixpath.basename(path.rstrip("/"))
            for path in filesystem.ls(folder or "/", detail=False)
        )
    except OSError:
        names = []
    wanted = full[len(folder) :].lstrip("/").split("/")[0]
    close = difflib.get_close_matches(wanted, names, n=5, cutoff=0.4)
    return UserError(
        f"{_of(source_name)}no file matches {pattern!r}",
        file=(folder or "/")
        if "file" in _protocols(filesystem)
        else filesystem.unstrip_protocol(folder),
        field="paths",
        found=wanted,
        allowed=close or names[:5] or None,
        fix="correct the pattern, or create the files first",
    )


def _exists(filesystem: Any, path: str) -> bool:
    try:
        return bool(filesystem.exists(path))
    except (OSError, ValueError):
        return False


def _is_file(filesystem: Any, path: str) -> bool:
    """Whether a file has exactly this name; web servers answer for names they do not have."""
    return "http" not in _protocols(filesystem) and bool(filesystem.isfile(path))


def _protocols(filesystem: Any) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)
