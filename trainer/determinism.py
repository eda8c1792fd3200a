"""The same bits every time: deterministic algorithms only, and a record of what decides the bits.

Within one machine, software and number of threads, a step gives the same bits whenever and however often
it is run. Another number of threads may split a sum otherwise, so it is recorded.
"""

from __future__ import annotations

import contextlib
import functools
import platform
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import xxhash

ROOT = Path(__file__).resolve().parent.parent


@contextlib.contextmanager
def deterministic(threads: int | None = None) -> Iterator[int]:
    """Deterministic algorithms and a fixed number of threads while the block runs; yields that number."""
    before = torch.are_deterministic_algorithms_enabled()
    threads_before = torch.get_num_threads()
    torch.use_deterministic_algorithms(True)
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield torch.get_num_threads()
    finally:
        torch.use_deterministic_algorithms(before)
        torch.set_num_threads(threads_before)


@functools.cache
def source_digest() -> str:
    """xxh3_128 over the source of what computes a step: the trainer and the loader, 32 hex digits."""
    digest = xxhash.xxh3_128()
    for folder in ("mixtures", "trainer"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(ROOT).as_posix()}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def software(device: torch.device) -> dict[str, str]:
    """Versions behind the bits; on a GPU also which one, and CUDA's."""
    gpu = {"gpu": torch.cuda.get_device_name(device), "cuda": str(torch.version.cuda)} if device.type == "cuda" else {}
    return {
        **gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
    }
