"""The one way kernels are compiled: numba, no GIL, a cache folder that cannot go stale.

numba's own file cache notices a change in the file of the compiled function, not in the files of
the functions it calls, and then returns results of the old callee. So the cache folder is named
after a hash of *every* kernel source in the house plus the numba and numpy versions: any change
anywhere gives a new, empty folder.

What lies in the cache is run. So it is kept in a folder of this user's own, and where someone else
could have put something into it, or it cannot be written, kernels are compiled in memory.

A kernel file says ``from artifacts.jit import kernel`` (that line is how its source is found) and
decorates its functions with ``@kernel``.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar, cast

from artifacts.floors import FLOORS
from artifacts.private_folders import make_private, weakness

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
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    base = os.environ.get("WINDTUNNEL_KERNEL_CACHE") or os.path.join(home, "windtunnel", "kernels")
    return Path(os.path.abspath(base), digest.hexdigest())


def unusable(folder: Path) -> str | None:
    """Why compiled kernels are not kept in a folder, which is made where it is missing; None when
    they are.
    """
    try:
        make_private(folder)
    except OSError as error:
        return f"{error.filename or folder}: {error.strerror or error}"
    return weakness(folder) or (None if os.access(folder, os.W_OK) else f"{folder}: not writable")


_FOLDER = cache_folder()
KEPT = unusable(_FOLDER) is None
if KEPT:
    os.environ["NUMBA_CACHE_DIR"] = str(_FOLDER)

# where there is colorama numba would colour its errors, and end every program with a code to the
# terminal
os.environ.setdefault("NUMBA_DISABLE_ERROR_MESSAGE_HIGHLIGHTING", "1")

import numba  # noqa: E402  (numba reads NUMBA_CACHE_DIR when it is imported)
from numba.core.event import Listener, register  # noqa: E402

if KEPT:  # in case numba was imported before
    numba.config.__dict__["CACHE_DIR"] = str(_FOLDER)


def kernel(function: Function) -> Function:
    """Compile a function with numba: nopython, no GIL, C division, cached on disk where that is
    safe.
    """
    compiled = numba.njit(cache=KEPT, nogil=True, error_model="numpy")(function)
    _compile_once(compiled)
    return cast(Function, compiled)


def _compile_once(compiled: Any) -> None:
    """Let other kernels call this one as it is for values: numba would compile it anew for each
    constant that it is called with. Machine code gets constants anyway, where it is inlined.
    """
    template = compiled.get_call_template

    def of_values(arguments: Any, keywords: dict[str, Any]) -> Any:
        return template(
            tuple(numba.types.unliteral(one) for one in arguments),
            {name: numba.types.unliteral(one) for name, one in keywords.items()},
        )

    compiled.get_call_template = of_values


class _Compilations(Listener):  # type: ignore[misc]
    """Counts the kernels this process compiles; one that the cache gives is not compiled."""

    begun = 0

    def on_start(self, event: Any) -> None:
        self.begun += 1

    def on_end(self, event: Any) -> None:
        """It was counted when it began."""


_COMPILATIONS = _Compilations()
register("numba:compile", _COMPILATIONS)


def start() -> None:
    """Load numba's own machinery now: a third of a second that the first kernel of a process would
    take otherwise.
    """
    _nothing(0)


@kernel
def _nothing(value: int) -> int:
    return value


def last_kept() -> int:
    """When any process last kept a kernel in the cache folder, in nanoseconds of its file system's
    clock; 0 where none did.
    """
    if not KEPT:
        return 0
    try:
        return max((entry.stat().st_mtime_ns for entry in os.scandir(_FOLDER)), default=0)
    except FileNotFoundError:  # a user may delete the cache at any time
        return 0


def compilations() -> int:
    """Kernels that this process has compiled, or is compiling now."""
    return _COMPILATIONS.begun
