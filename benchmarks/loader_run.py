"""One measurement of reading token shards, in a process of its own; the last line of standard
output is a JSON object.

    PYTHONPATH=. python benchmarks/loader_run.py loader|memmap|order|read --folder DATA
        --batch 8 --seconds 20 --core 1 [--cold]

``loader``: our loader, whole batches. ``memmap``: the floor, the same windows in the same order
copied from the bare stream (uint16) into one int64 array that is used again and again. ``order``:
writes the order of those windows. ``read``: the parts front to back in reads of 8 MiB, dropped from
the page cache before. With ``--cold`` the loader's files are dropped too and the run ends with the
epoch; else they are read once before and epochs follow one another for ``--seconds``.
"""

from __future__ import annotations

import time

BEGUN = time.perf_counter()

import one_core  # noqa: E402  isort: skip  (sets the thread pools)

import argparse  # noqa: E402
import dataclasses  # noqa: E402
import gc  # noqa: E402
import json  # noqa: E402
import resource  # noqa: E402
import threading  # noqa: E402
from collections.abc import Iterator, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
from page_cache import drop, resident  # noqa: E402
from token_data import TokenData, load  # noqa: E402

from mixtures.freeze.freeze import Plan, freeze  # noqa: E402
from mixtures.loader.loader import Batch, Buffer, Loader  # noqa: E402
from mixtures.spec.spec import MixtureSpec  # noqa: E402

LONG = 1 << 40  # tokens of the plan: more than any run here shows
WARM_UP_BATCHES = 16
READ_BYTES = 1 << 23


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("loader", "memmap", "order", "read"))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--window", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--core", type=int, default=None)
    parser.add_argument("--cold", action="store_true")
    arguments = parser.parse_args()
    one_core.pin(arguments.core)
    pa.set_cpu_count(1)
    data = load(arguments.folder)
    match arguments.what:
        case "loader":
            result = loader_rate(data, arguments)
        case "memmap":
            result = memmap_rate(data, arguments)
        case "order":
            result = write_order(data, arguments.window)
        case _:
            drop(data.files)
            left = resident(data.files)
            begun, used = time.perf_counter(), time.process_time()
            size = read(data.files)
            seconds, processor = time.perf_counter() - begun, time.process_time() - used
            result = {
                "bytes": size,
                "seconds": seconds,
                "processor_seconds": processor,
                "pages_left": round(left, 4),
            }
    print(json.dumps(result))


def opened(data: TokenData, window: int, batch: int) -> Loader:
    """A loader over a plan that shows every source in proportion to its tokens."""
    tokens = {name: facts["tokens"] for name, facts in data.facts["sources"].items()}
    weights = {name: count / sum(tokens.values()) for name, count in tokens.items()}
    spec = MixtureSpec(phases=[{"name": "stable", "tokens": LONG, "weights": weights}])  # type: ignore[arg-type]
    plan = freeze(
        spec,
        data.sources,
        sequence_length=window,
        batch_tokens=batch * window,
        seed=1,
        bos_id=data.tokenizer.bos_id,
    )
    return Loader(plan, data.folders)


def batches(loader: Loader, last_step: int) -> Iterator[Batch]:
    """Steps from 0 to ``last_step`` - 1, into one buffer; no thread reads ahead, since there is one
    core.
    """
    buffer = Buffer(loader.plan.batch_tokens)
    for step in range(last_step):
        yield loader.batch(step, buffer)


def loader_rate(data: TokenData, arguments: argparse.Namespace) -> dict[str, Any]:
    imported = time.perf_counter()
    loader = opened(data, arguments.window, arguments.batch)
    ready = time.perf_counter()
    stream = batches(loader, loader.plan.steps)
    next(stream)
    start_up = {
        "imports": imported - BEGUN,
        "plan_and_open": ready - imported,
        "first_batch": time.perf_counter() - ready,
    }
    width = bytes_per_token(loader)
    if arguments.cold:
        plan = loader.plan
        stream.close()
        # nothing may map the shards when their pages are dropped, or still ask for the next ones
        del stream, loader
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join()
        return cold_epoch(plan, data)
    read(data.files)
    for _ in range(WARM_UP_BATCHES):
        next(stream)
    figures = counted((batch.tokens for batch in stream), arguments.seconds)
    return {**figures, "start_up_seconds": start_up, "bytes_per_token": width}


def cold_epoch(plan: Plan, data: TokenData) -> dict[str, Any]:
    """An epoch, from opening the shards on; nothing of them is mapped or in the page cache
    before.
    """
    gc.collect()
    drop(data.files)
    left = resident(data.files)
    epoch = sum(source.windows for source in plan.contexts[0].sources) // plan.batch_windows

    def tokens() -> Iterator[np.ndarray]:
        for batch in batches(Loader(plan, data.folders), epoch):
            yield batch.tokens

    return {**counted(tokens(), float("inf")), "pages_left": round(left, 4)}


def bytes_per_token(loader: Loader) -> float:
    """Bytes of a batch's arrays per token."""
    batch = loader.batch(0)
    columns = [getattr(batch, field.name) for field in dataclasses.fields(batch)]
    return round(
        sum(column.nbytes for column in columns if isinstance(column, np.ndarray))
        / batch.tokens.size,
        2,
    )


def memmap_rate(data: TokenData, arguments: argparse.Namespace) -> dict[str, Any]:
    path = data.stream(arguments.window)
    read([path])
    windows = np.memmap(path, np.uint16, "r").reshape(-1, arguments.window)
    order = np.load(order_file(data, arguments.window))
    room = np.empty((arguments.batch, arguments.window), np.int64)

    def gathered() -> Iterator[np.ndarray]:
        while True:
            for first in range(0, len(order) - arguments.batch + 1, arguments.batch):
                for row, window in enumerate(order[first : first + arguments.batch].tolist()):
                    room[row] = windows[window]
                yield room

    stream = gathered()
    for _ in range(WARM_UP_BATCHES):
        next(stream)
    return {**counted(stream, arguments.seconds), "bytes_per_token": room.itemsize}


def counted(stream: Iterator[np.ndarray], seconds: float) -> dict[str, Any]:
    """Tokens and time until the stream or the time ends."""
    tokens = seen = 0
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    clock, used = time.perf_counter(), time.process_time()
    for rows in stream:
        tokens += rows.size
        seen += int(rows[0, 0])  # looked at, as training would
        if time.perf_counter() - clock >= seconds:
            break
    return {
        "tokens": tokens,
        "seconds": time.perf_counter() - clock,
        "processor_seconds": time.process_time() - used,
        "major_faults": resource.getrusage(resource.RUSAGE_SELF).ru_majflt - faults,
        "sum_of_first_tokens": seen,
    }


def write_order(data: TokenData, window: int) -> dict[str, Any]:
    """Rows of the bare stream in the order in which our loader shows them, an epoch long."""
    loader = opened(data, window, 64)
    sizes = [source.windows for source in loader.plan.contexts[0].sources]
    begins = np.concatenate([[0], np.cumsum(sizes)])[:-1]
    rows = []
    for step in range(max(1, sum(sizes) // 64)):
        batch = loader.batch(step)
        rows.append(begins[batch.source] + batch.pieces[:, 3] // window)  # streams: one piece a row
    np.save(order_file(data, window), np.concatenate(rows))
    return {"windows": sum(map(len, rows))}


def order_file(data: TokenData, window: int) -> Path:
    return data.folder / f"{window}-order.npy"


def read(files: Sequence[Path]) -> int:
    """Read files front to back; returns the bytes."""
    room, total = bytearray(READ_BYTES), 0
    for path in files:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(room):
                total += count
    return total


if __name__ == "__main__":
    main()
