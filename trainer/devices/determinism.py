"""The same bits every time: deterministic algorithms only.

Within one machine, software and number of threads, a step gives the same bits whenever and however
often it is run. Another number of threads may split a sum otherwise, so it is recorded
(:mod:`trainer.loop.provenance`). Needs torch alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def deterministic(threads: int | None = None) -> Iterator[int]:
    """Deterministic algorithms and a fixed number of threads while the block runs; yields that
    number.

    Torch would also fill every tensor it makes empty, which on a GPU is a pass over memory for each
    output of a kernel; the kernels write all of theirs, so that is left off.
    """
    before = torch.are_deterministic_algorithms_enabled()
    switches: Any = torch.utils.deterministic
    filling = switches.fill_uninitialized_memory
    threads_before = torch.get_num_threads()
    torch.use_deterministic_algorithms(True)
    switches.fill_uninitialized_memory = False
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield torch.get_num_threads()
    finally:
        torch.use_deterministic_algorithms(before)
        switches.fill_uninitialized_memory = filling
        torch.set_num_threads(threads_before)
