"""Every kernel with the types it is called with, so that all can be compiled before the first run.

    kernel_calls.txt ─ known_calls ─▶ compile_all ─▶ the cache folder of artifacts.jit
    a cache that runs or tests have filled ─ recorded_calls ─▶ kernel_calls.txt

A line is ``module.kernel(types)``, in numba's notation; an array that is only read is ``const``.
After a kernel was added or its arguments changed, call something that uses it and record:

    python -m pipelines.commands.kernel_calls
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numba
import numpy as np
from numba.core.dispatcher import Dispatcher

from artifacts import jit

CALLS = Path(__file__).with_suffix(".txt")
_HOUSE = Path(__file__).resolve().parents[2]


class KernelCall(NamedTuple):
    """A kernel by its dotted name, and the types of its arguments."""

    kernel: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kernel}({', '.join(self.arguments)})"


class Compiled(NamedTuple):
    """What compiling all kernels came to; ``compiled`` of the ``calls`` were not there yet."""

    calls: int
    compiled: int
    seconds: float


def known_calls() -> list[KernelCall]:
    """The calls of the list."""
    found = (re.fullmatch(r"([\w.]+)\((.*)\)", line) for line in CALLS.read_text().splitlines())
    return [KernelCall(one[1], tuple(one[2].split(", "))) for one in found if one]


def compile_all() -> Compiled:
    """Compile every call that is not in the cache, and keep it there."""
    started, kernels, calls = time.monotonic(), house_kernels(), known_calls()
    before = _misses(kernels)
    for call in calls:
        kernels[call.kernel].compile(tuple(type_of(text) for text in call.arguments))
    return Compiled(len(calls), _misses(kernels) - before, time.monotonic() - started)


def _misses(kernels: dict[str, Any]) -> int:
    """How often this process looked for one of these in the cache and had to compile it."""
    return sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels.values())


def house_kernels() -> dict[str, Any]:
    """Compiled functions of the house by their dotted names."""
    return {
        f"{module}.{name}": value
        for module in sorted(_modules())
        for name, value in vars(import_module(module)).items()
        if isinstance(value, Dispatcher) and value.__module__ == module
    }


def _modules() -> Iterator[str]:
    for path in jit.kernel_sources(_HOUSE):
        yield ".".join(path.relative_to(_HOUSE).with_suffix("").parts)


def spelled(kind: Any) -> str:
    """A type of numba as the list writes it: ``int64``, ``const uint8[::1]``, ``int64[:,::1]``."""
    if not isinstance(kind, numba.types.Array):
        return str(kind)
    axes = ":," * (kind.ndim - 1) + ("::1" if kind.layout == "C" else ":")
    return f"{'' if kind.mutable else 'const '}{kind.dtype}[{axes}]"


def type_of(text: str) -> Any:
    """The type that :func:`spelled` writes so."""
    name, _, axes = text.removeprefix("const ").partition("[")
    element = numba.from_dtype(np.dtype(name))
    if not axes:
        return element
    layout: Literal["C", "A"] = "C" if axes.endswith("::1]") else "A"
    read_only = text.startswith("const ")
    dimensions = axes.count(",") + 1
    return numba.types.Array(element, dimensions, layout, readonly=read_only)


def recorded_calls() -> set[KernelCall]:
    """Calls that the cache folder holds for this copy of the house."""
    return {
        KernelCall(name, tuple(spelled(kind) for kind in key[0]))
        for name, kernel in house_kernels().items()
        for key in kernel._cache._cache_file._load_index()  # numba has no public reader of it
    }


def fitting(calls: Iterable[KernelCall]) -> list[KernelCall]:
    """Those of kernels that exist and take as many arguments, sorted."""
    kernels = house_kernels()
    return sorted(
        call
        for call in calls
        if call.kernel in kernels
        and len(inspect.signature(kernels[call.kernel].py_func).parameters) == len(call.arguments)
    )


def main() -> None:
    """Add what the cache holds to the list, and take out what does not fit any more."""
    lines = fitting({*known_calls(), *recorded_calls()})
    CALLS.write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
