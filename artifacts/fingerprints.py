"""Fingerprints: canonical JSON, content keys, and what a library or a file is.

The key under which an output is stored is a hash of everything that decides its bytes: the digests
of its inputs, the settings, the rule version, and the libraries and models behind it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import orjson
import xxhash
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from artifacts.errors import UserError

KEY_DIGITS = 20
SETTLED_NS = 2_000_000_000


def canonical_json(value: Any) -> bytes:
    """The one JSON spelling of a value: sorted keys, no spaces, UTF-8; NaN is refused."""
    return json.dumps(
        value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    ).encode()


def content_key(parts: dict[str, Any]) -> str:
    """Key of an output: 20 hex digits (80 bits) of xxh3_128 over the canonical JSON of what decides
    it.
    """
    return xxhash.xxh3_128_hexdigest(canonical_json(parts))[:KEY_DIGITS]


@functools.cache
def library(name: str) -> str:
    """Version and content hash of an installed library, e.g. ``pyarrow 26.0.1 3f2a…``.

    The hash covers the recorded hashes of the files inside the package (its ``RECORD``), so a
    patched build of the same version counts as another library. Scripts and metadata are left out:
    they hold the path of the environment.
    """
    distribution = metadata.distribution(name)
    rows = (distribution.read_text("RECORD") or "").splitlines()
    kept = sorted(
        row
        for row in rows
        if "sha256=" in row and not row.startswith("..") and ".dist-info/" not in row
    )
    return f"{name} {distribution.version} {xxhash.xxh3_64_hexdigest(chr(10).join(kept))}"


def libraries(*names: str) -> list[str]:
    return [library(name) for name in names]


def file_digest(url: str, known: dict[str, Any] | None = None) -> str:
    """Digest of an input file: xxh3_128 of its bytes on local disks, the store's own mark
    elsewhere.

    ``known`` is a cache ``{path: [size, mtime_ns, ctime_ns, inode, digest]}`` for local files; it
    is read and filled, so an unchanged file is not read again.

    Raises: UserError when the file is gone or cannot be read, or its store reports no etag,
    checksum or generation.
    """
    fs, path = url_to_fs(url)
    if isinstance(fs, LocalFileSystem):
        return _local_digest(path, known)
    with _readable(url):
        info = fs.info(path)
    for field in ("ETag", "etag", "md5Hash", "generation", "checksum", "sha256"):
        if info.get(field):
            return f"{field}:{str(info[field]).strip(chr(34))}:{info['size']}"
    with _readable(url):
        return f"xxh3:{xxhash.xxh3_128_hexdigest(fs.cat_file(path))}"


def stamp(url: str) -> str:
    """A cheap mark that changes when a file does: size and times of change on local disks, the
    store's own mark elsewhere. The time of the last change of its metadata cannot be set back.

    Raises: UserError when the file is gone or cannot be read.
    """
    fs, path = url_to_fs(url)
    if not isinstance(fs, LocalFileSystem):
        return file_digest(url)
    with _readable(path):
        status = os.stat(path)
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def _local_digest(path: str, known: dict[str, Any] | None) -> str:
    with _readable(path):
        status = os.stat(path)
    mark = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    if known is not None and known.get(path, [])[:4] == mark:
        return str(known[path][4])
    digest = xxhash.xxh3_128()
    with _readable(path), open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    settled = time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > SETTLED_NS
    # a file changed a moment ago may change again within the clock's grain
    if known is not None and settled:
        known[path] = [*mark, digest.hexdigest()]
    return digest.hexdigest()


@contextlib.contextmanager
def _readable(place: str) -> Iterator[None]:
    """What goes wrong while an input is read, as the user's error."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError("input file is gone", file=place) from error
    except OSError as error:
        reason = error.strerror or str(error)
        fix = "give this user read access" if isinstance(error, PermissionError) else None
        raise UserError(f"input file cannot be read: {reason}", file=place, fix=fix) from error


def load_json(raw: bytes) -> Any:
    return orjson.loads(raw)
