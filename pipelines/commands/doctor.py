"""A look at the machine before the first run: what is there, what is missing, what to do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec

from artifacts.extras import EXTRAS, install_command
from artifacts.floors import FLOORS
from pipelines.report.numerals import count, duration

NEEDED = (
    "pyarrow",
    "polars",
    "numba",
    "datasketch",
    "sentencepiece",
    "fasttext-numpy2-wheel",
    "xxhash",
    "zstandard",
)
FACADE = "windtunnel"
LEAST_MEMORY = 4 << 30


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    what: str
    found: str
    remark: str
    ok: bool = True


def examine(compile_kernels: bool = False) -> list[Finding]:
    """Python, libraries, cores, memory, disk, kernel cache, module path.

    compile_kernels: also compile every kernel of the house that the cache does not hold.
    """
    findings = [
        Finding(
            "Python",
            f"{platform.python_version()} ({sys.executable})",
            "3.11 to 3.13",
            (3, 11) <= sys.version_info < (3, 14),
        )
    ]
    findings += [_library(name) for name in NEEDED]
    owners = metadata.packages_distributions()
    findings += [_extra(name, extra, owners) for extra, names in EXTRAS.items() for name in names]
    findings += _clashes(owners)
    findings += [_cores(), _memory(), _disk(), _kernels(), _fasttext()]
    return [*findings, _compiled()] if compile_kernels else findings


def _library(name: str) -> Finding:
    try:
        return Finding(name, metadata.version(name), "")
    except metadata.PackageNotFoundError:
        return Finding(name, "missing", "pip install windtunnel", ok=False)


def _extra(name: str, extra: str, owners: Mapping[str, Sequence[str]]) -> Finding:
    """A library that only some of the work needs: no fault where it is missing. A distribution of
    another name may bring it.
    """
    if find_spec(name) is None:
        return Finding(name, "not installed", install_command(extra))
    versions = [metadata.version(owner) for owner in owners.get(name, ())]
    return Finding(name, ", ".join(versions) or "there, of no distribution", "")


def _clashes(owners: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Packages of ours that another distribution has written into, or hides."""
    found = []
    for floor in (*FLOORS, FACADE):
        others = " ".join(sorted({name for name in owners.get(floor, ()) if name != "windtunnel"}))
        if others:
            remark = f"pip uninstall {others}, then install windtunnel again"
            found.append(Finding(f"package {floor}", f"also of {others}", remark, ok=False))
    return found


def _cores() -> Finding:
    usable, there = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    return Finding("cores", f"{usable} of {there}", "one worker process each by default")


def _memory() -> Finding:
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    enough = size >= LEAST_MEMORY
    return Finding(
        "memory",
        f"{size / 2**30:.1f} GiB",
        "" if enough else "at least 4 GiB; use --workers 1 and smaller chunks (corpus.chunk_mib)",
        enough,
    )


def _disk() -> Finding:
    free = shutil.disk_usage(".").free
    return Finding(
        "disk",
        f"{free / 2**30:.1f} GiB free here",
        "runs take about as much as their compressed input",
    )


def _kernels() -> Finding:
    from artifacts.jit import cache_folder, unusable

    folder = cache_folder()
    problem = unusable(folder)
    return Finding(
        "kernel cache",
        str(folder) if problem is None else "in memory, compiled anew by each process",
        "" if problem is None else f"{problem}; set WINDTUNNEL_KERNEL_CACHE to a folder of yours",
        problem is None,
    )


def _compiled() -> Finding:
    from artifacts.jit import KEPT
    from pipelines.commands.kernel_calls import compile_all

    if not KEPT:
        return Finding("kernels", "none compiled", "there is no folder to keep them in", ok=False)
    done = compile_all()
    there = done.calls - done.compiled
    return Finding(
        "kernels",
        f"{count(done.compiled)} compiled in {duration(done.seconds)}",
        f"{count(there)} were there" if there > 0 else "",
    )


def _fasttext() -> Finding:
    """Packages such as fasttext-predict put their own module in fasttext's place, without
    training.
    """
    try:
        import fasttext
    except ImportError as error:
        return Finding("fasttext module", str(error), "pip install fasttext-numpy2-wheel", ok=False)
    whole = hasattr(fasttext, "train_supervised")
    return Finding(
        "fasttext module",
        "can train" if whole else "cannot train",
        ""
        if whole
        else (
            "another package overwrote it: pip uninstall fasttext-predict, then reinstall "
            "fasttext-numpy2-wheel"
        ),
        whole,
    )
