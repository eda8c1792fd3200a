"""Times of short functions on a device, side by side, and what the device itself reaches.

Variants run in turn, round after round, so that a drifting clock meets all of them alike; medians
are compared. Before each call the L2 cache is overwritten, which also gives the host the time to
enqueue the call: what is timed, between two events on the device, is the device's work. Data is
random: products of zeros draw less power and run faster.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from benchmarks.gpu.session import Session

FLUSH_BYTES = 1 << 30
ROUNDS, FEWEST_ROUNDS, TINY_ROUNDS = 25, 7, 2
BUDGET_US = 2e6
WARM_UPS = 3


def interleaved(
    session: Session,
    variants: Mapping[str, Callable[[], Any]],
    prepare: Callable[[], Any] | None = None,
) -> dict[str, dict[str, float]]:
    """Microseconds of each variant: median, lowest, highest. Slow ones get fewer rounds, so that
    all of them take about 2 seconds.

    ``prepare`` is called before each call and not timed: it puts back what a call overwrites.
    """
    prepare = prepare or _nothing
    for _ in range(1 if session.tiny else WARM_UPS):
        for run in variants.values():
            prepare()
            run()
    session.wait()
    once = _device_time if session.cuda else _host_time
    flush = (
        torch.empty(FLUSH_BYTES, dtype=torch.int8, device=session.device) if session.cuda else None
    )
    count = TINY_ROUNDS
    if not session.tiny:
        whole = sum(once(run, flush, prepare) for run in variants.values())
        count = max(FEWEST_ROUNDS, min(ROUNDS, int(BUDGET_US / max(whole, 1.0))))
    times: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(count):
        names = list(variants)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            times[name].append(once(variants[name], flush, prepare))
    return {name: spread(values) for name, values in times.items()}


def spread(values: list[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def _nothing() -> None:
    """Nothing has to be put back."""


def _device_time(
    run: Callable[[], Any], flush: torch.Tensor | None, prepare: Callable[[], Any]
) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    assert flush is not None
    prepare()
    flush.zero_()
    start.record()
    run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) * 1e3


def _host_time(run: Callable[[], Any], _: torch.Tensor | None, prepare: Callable[[], Any]) -> float:
    prepare()
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) * 1e6


def copy_bandwidth(session: Session) -> float:
    """Bytes per second, read and written together, of torch's copy of a large tensor."""
    values = 1 << (16 if session.tiny else 30)
    source = torch.randn(values // 4, device=session.device).view(torch.uint8)  # (values,) bytes
    target = torch.empty_like(source)
    found = interleaved(session, {"copy": lambda: target.copy_(source)})
    return 2 * values / found["copy"]["median"] * 1e6


def product_rate(session: Session, dtype: torch.dtype = torch.bfloat16) -> float:
    """Operations per second of a product as large as the trainer's, of random values."""
    rows, inputs, outputs = (64, 64, 64) if session.tiny else (16_384, 2304, 11_520)
    a = torch.randn(rows, inputs, device=session.device).to(dtype)
    b = torch.randn(outputs, inputs, device=session.device).to(dtype)
    found = interleaved(session, {"product": lambda: a @ b.T})
    return 2 * rows * inputs * outputs / found["product"]["median"] * 1e6
