"""Triton where it is installed; without it kernels can be defined and read, but not launched.

    from trainer.kernels.language import jit, tl, triton

Training on a CPU takes the torch references and needs no Triton.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from artifacts.private_folders import make_private, weakness


def keep_compiled_kernels_private() -> None:
    """Let Triton keep what it compiles, and loads and runs, where no other user could have put it:
    in its own folder, else in one that this process makes and removes.
    """
    home = os.environ.get("TRITON_HOME") or os.path.expanduser("~")
    folder = Path(os.environ.get("TRITON_CACHE_DIR") or Path(home, ".triton", "cache"))
    try:
        usable = weakness(make_private(folder)) is None
    except OSError:  # a read-only home
        usable = False
    if not usable:
        os.environ["TRITON_CACHE_DIR"] = own = tempfile.mkdtemp(prefix="windtunnel-triton-")
        atexit.register(shutil.rmtree, own, ignore_errors=True)


try:
    import triton
    import triton.language as tl
    from triton import jit

    keep_compiled_kernels_private()
except ImportError:
    from types import SimpleNamespace

    triton = None
    tl = SimpleNamespace(constexpr=Any)

    class _Missing:
        """Stands where a compiled kernel would; says what is missing when it is launched."""

        def __init__(self, function: Callable[..., Any]) -> None:
            self.__name__ = function.__name__

        def __getitem__(self, grid: Any) -> Any:
            raise ModuleNotFoundError(
                f"{self.__name__} is a Triton kernel and Triton is not installed: pip install "
                "'windtunnel[gpu]'"
            )

    def jit(function: Callable[..., Any]) -> Any:
        return _Missing(function)


__all__ = ["jit", "tl", "triton"]
