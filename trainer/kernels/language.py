"""Triton where it is installed; without it kernels can be defined and read, but not launched.

    from trainer.kernels.language import jit, tl, triton

Training on a CPU takes the torch references and needs no Triton.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    import triton
    import triton.language as tl
    from triton import jit
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
