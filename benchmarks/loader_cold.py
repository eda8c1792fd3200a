"""Tokens per second of an epoch from files that are not in the page cache, against the rate at
which the disk is read front to back.

    PYTHONPATH=. python benchmarks/loader_cold.py --texts PATH... [--tokens 400e6] [--repeats 5]

Before each run the cached pages of the shards are dropped (posix_fadvise, DONTNEED) and counted
again (mincore): what is left must be near 0. Runs alternate: the files front to back in reads of 8
MiB, then an epoch of our loader in batches of 64 windows of 4,096, in processes of their own on one
core. The clock begins before the shards are opened, for opening may start to read; imports and
compiled kernels are no part of it (a first batch is made, the shards are closed, and then the pages
are dropped).

On a virtual disk the host may keep what the guest dropped. Signs of it stand in the result: a
sequential rate near that of memory, or a first reading much slower than the later ones. Then the
figure speaks of the host's cache, not of a disk, and one core is busy making batches before such a
rate is reached. A limit of the block layer (``blkio.throttle.read_bps_device`` of the control
group, or ``io.max``) makes a disk of a known rate of it: say so with ``--disk``. Writes
``benchmarks/results/loader_cold.json``.
"""

from __future__ import annotations

import one_core  # isort: skip  (sets the thread pools)

import argparse
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
from loader import RUN, described
from token_data import add_options, prepare

MEMORY_LIKE = 4e9  # bytes per second: above this a disk is hardly what answers


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, 400e6)
    parser.add_argument("--window", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--core", type=int, default=None)
    parser.add_argument(
        "--disk",
        default=None,
        help="what is known of the disk, for the result: such as a limit it was held to",
    )
    arguments = parser.parse_args()
    core = one_core.pin(arguments.core)
    data = prepare(arguments.work, arguments.texts, int(arguments.tokens))
    place = (
        "--folder",
        data.folder,
        "--window",
        arguments.window,
        "--batch",
        arguments.batch,
        "--core",
        core,
    )
    one_core.fresh(RUN, "loader", *place, "--seconds", 0.1)  # compiles what is not compiled yet
    runs: dict[str, list[dict[str, Any]]] = {"read": [], "loader": []}
    for _ in range(arguments.repeats):
        for what, found in runs.items():
            found.append(one_core.fresh(RUN, what, *place, "--cold"))
    sequential = [run["bytes"] / run["seconds"] for run in runs["read"]]
    ours = [run["tokens"] / run["seconds"] for run in runs["loader"]]
    width = np.dtype(np.uint16).itemsize
    result = {
        "machine": one_core.machine(("numpy", "pyarrow"), core),
        **({"disk": arguments.disk} if arguments.disk else {}),
        "window": arguments.window,
        "batch": arguments.batch,
        "repeats": arguments.repeats,
        "data": described(data),
        "share_of_pages_left_in_cache": max(
            run["pages_left"] for found in runs.values() for run in found
        ),
        "tokens_per_second": {key: round(value) for key, value in one_core.spread(ours).items()},
        "sequential_bytes_per_second": {
            key: round(value) for key, value in one_core.spread(sequential).items()
        },
        "share_of_sequential_rate": round(
            median(width * one / other for one, other in zip(ours, sequential, strict=True)), 3
        ),
        "major_faults": max(run["major_faults"] for run in runs["loader"]),
        "processor_seconds_per_second": round(
            median(run["processor_seconds"] / run["seconds"] for run in runs["loader"]), 2
        ),
        "first_reading_bytes_per_second": round(sequential[0]),
        "a_cache_below_answers": "likely" if suspect(sequential) else "no sign of it",
    }
    one_core.publish("loader_cold", result)


def suspect(sequential: Sequence[float]) -> bool:
    """Whether the sequential rates look like memory rather than like a disk."""
    later = sequential[1:] or sequential
    return median(sequential) > MEMORY_LIKE or median(later) > 2 * sequential[0]


if __name__ == "__main__":
    main()
