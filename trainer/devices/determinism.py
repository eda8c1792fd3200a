"""The same bits every time: deterministic algorithms only.

Within one machine, software and number of threads, a step gives the same bits whenever and however
often it is run. Another number of threads may split a sum otherwise, so it is recorded
(:mod:`trainer.loop.provenance`). Needs torch alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
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


@contextlib.contextmanager
def settled_threads() -> Iterator[int]:
    """As many threads of torch as physical cores while the block runs; yields their number.

    Torch's own choice is what MKL says. Trainings on a busy machine came out now and then as with
    one thread, so nobody is asked. MKL_NUM_THREADS or else OMP_NUM_THREADS lowers the number.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(min([physical_cores(), *_said()]))
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def physical_cores() -> int:
    """Physical cores this process may use; a processor counts as one where the system does not say
    which share a core.
    """
    return len({_sharing_a_core(processor) for processor in os.sched_getaffinity(0)})


def _said() -> list[int]:
    """The number that the environment says, MKL's before OpenMP's, nothing where neither is one
    above 0. Of a list, which is by level of nesting, the first counts.
    """
    said = [os.environ.get(f"{name}_NUM_THREADS", "") for name in ("MKL", "OMP")]
    outermost = [value.split(",")[0].strip() for value in said]
    return [int(value) for value in outermost if value.isdecimal() and int(value)][:1]


def _sharing_a_core(processor: int) -> str:
    place = Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
    return place.read_text().strip() if place.is_file() else str(processor)
