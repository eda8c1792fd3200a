"""The one way kernels are compiled: numba, no GIL, a cache folder that cannot go stale.

numba's own file cache notices a change in the file of the compiled function, not in the files of
the functions it calls, and then returns results of the old callee. So the cache folder is named
after a hash of *every* kernel source in the house plus the numba and numpy versions: any change
anywhere gives a new, empty folder.

A kernel file says ``from artifacts.jit import kernel`` (that line is how its source is found) and
decorates its functions with ``@kernel``.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar, cast

from artifacts.floors import FLOORS

_MARK = b"from artifacts.jit import kernel"

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel_sources(root: Path | None = None) -> list[Path]:
    """Every source file of the house that compiles kernels, sorted by path."""
    root = root or Path(__file__).resolve().parent.parent
    files = (path for floor in FLOORS for path in sorted((root / floor).rglob("*.py")))
    return [path for path in files if _MARK in path.read_bytes()]


def cache_folder(root: Path | None = None) -> Path:
    """Folder for compiled kernels, named by the hash of all kernel sources and the compiler."""
    root = root or Path(__file__).resolve().parent.parent
    digest = hashlib.blake2b(digest_size=12)
    for name in ("numba", "llvmlite", "numpy"):
        digest.update(f"{name}={metadata.version(name)};".encode())
    digest.update(sys.version.encode())
    for path in [Path(__file__).resolve(), *kernel_sources(root)]:
        digest.update(str(path.relative_to(root)).encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    base = Path(os.environ.get("WINDTUNNEL_KERNEL_CACHE") or Path(home) / "windtunnel" / "kernels")
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError:  # a read-only home: compile into a private folder of this machine
        base = Path(tempfile.gettempdir()) / f"windtunnel-kernels-{os.getuid()}"
    return base / digest.hexdigest()


os.environ["NUMBA_CACHE_DIR"] = str(cache_folder())

import numba  # noqa: E402  (numba reads NUMBA_CACHE_DIR when it is imported)

# in case numba was imported before
numba.config.__dict__["CACHE_DIR"] = os.environ["NUMBA_CACHE_DIR"]


def kernel(function: Function) -> Function:
    """Compile a function with numba: nopython, no GIL, C division, cached on disk."""
    compiled = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return cast(Function, compiled)


def start() -> None:
    """Load numba's own machinery now: a third of a second that the first kernel of a process would
    take otherwise.
    """
    _nothing(0)


@kernel
def _nothing(value: int) -> int:
    return value
