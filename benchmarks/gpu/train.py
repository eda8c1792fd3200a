"""Whole training steps: tokens per second of the 1.2B and the 2.4B at windows of 4,096, as a share
of the device's peak, and memory.

    python -m benchmarks.gpu.train                         # on a GPU
    python -m benchmarks.gpu.train --device cpu --tiny     # that it runs

Forward, backward, clipping and update in bf16 on fp32 masters, random tokens, no data loader.
Windows per step are doubled until the next doubling would leave less than a tenth of the memory, or
does not fit; the largest is timed, eager and with layers compiled. Algorithms are deterministic, as
in training. Shares of the peak are told by both conventions (:mod:`trainer.costs.roofline`), beside
the ceiling that the roofline allows.
"""

from __future__ import annotations

import gc
import time
import traceback
from typing import Any

import torch

from benchmarks.gpu.session import Record, Session, begin, clocks
from benchmarks.gpu.shapes import TINY, WINDOW
from benchmarks.gpu.timing import spread
from benchmarks.gpu.training import Trainee, token_batch
from trainer.costs.device_rates import DEVICES, Device
from trainer.costs.roofline import roofline
from trainer.devices.determinism import deterministic
from trainer.devices.precision import computing_in
from trainer.shapes.config import ModelConfig
from trainer.shapes.presets import PAPER_VOCABULARY, preset

MODELS = {"2.4B": preset("2.4B"), "1.2B": preset("1.2B", vocab_size=PAPER_VOCABULARY)}
STEPS, TINY_STEPS, WARM_UPS = 6, 2, 2
MARGIN = 0.1
RATE = 1e-3
Found = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    session = begin(
        __doc__,
        [("--model", {"choices": [*MODELS], "help": "one of them; both unless given"})],
        arguments,
    )
    models = {"tiny": TINY.config} if session.tiny else MODELS
    for name, config in models.items():
        if session.options.model in (None, name):
            record = Record(session, f"train_{name}")
            try:
                with deterministic(), computing_in("bf16"):  # as the trainer does
                    measure(session, record, config)
            except Exception as error:
                record["failed"] = {"error": repr(error), "trace": traceback.format_exc(limit=-4)}
                raise
            record.done()
    return 0


def measure(session: Session, record: Record, config: ModelConfig) -> None:
    window = TINY.window if session.tiny else WINDOW
    trainee = Trainee.build(config, session.device, "bf16", seed=1, quick=True)
    record["precision"], record["window"] = "bf16", window
    device = described(session)
    rows, sizes, before = 1, {}, 0
    while rows:
        found = attempt(session, trainee, config, rows, window)
        sizes[str(rows)] = found
        record["windows"] = sizes
        largest = rows if "tokens_per_second" in found else rows // 2
        rows = rows * 2 if room_for_twice(session, found, before) else 0
        before = found.get("peak_bytes", 0)
    record["largest"] = largest
    best = sizes[str(largest)] if largest else {}
    if best:
        record["eager"] = with_shares(best, config, window, device, largest)
        for layer in trainee.model.layers:
            layer.compile(backend="aot_eager" if session.tiny else "inductor")
        record["compiled"] = with_shares(
            attempt(session, trainee, config, largest, window), config, window, device, largest
        )
    record["clocks_after"] = clocks() if session.cuda else {}


def attempt(
    session: Session, trainee: Trainee, config: ModelConfig, rows: int, window: int
) -> Found:
    """Seconds per step and peak memory with ``rows`` windows; what stopped it where it does not
    fit.
    """
    batch = token_batch(config, rows, window, session.device, seed=rows)
    if session.cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    try:
        for step in range(WARM_UPS + (TINY_STEPS if session.tiny else STEPS)):
            session.wait()
            began = time.perf_counter()
            trainee.step(batch, RATE)
            session.wait()
            if step >= WARM_UPS:
                seconds.append(time.perf_counter() - began)
    except RuntimeError as error:
        if not isinstance(error, torch.cuda.OutOfMemoryError) and "ALLOC_FAILED" not in str(error):
            raise
        trainee.optimizer.zero_grad()
        found: Found = {"out_of_memory": str(error).splitlines()[0]}
    else:
        times = spread(seconds)
        found = {"seconds": times, "tokens_per_second": rows * window / times["median"]}
        found["peak_bytes"] = torch.cuda.max_memory_allocated() if session.cuda else 0
    gc.collect()
    if session.cuda:
        torch.cuda.empty_cache()
    return found


def room_for_twice(session: Session, found: Found, before: int) -> bool:
    """Whether a step of twice the windows is worth a try: it would fit, with a margin.

    ``before``: peak bytes of half the windows, 0 where there was no such step. What a doubling
    added, the next adds twice.
    """
    if "tokens_per_second" not in found or not session.cuda:
        return False
    peak = found["peak_bytes"]
    growth = 2 * (peak - before) if before else 0
    return (
        peak + growth < (1 - MARGIN) * torch.cuda.get_device_properties(session.device).total_memory
    )


def described(session: Session) -> Device:
    """The device of the roofline that this one is, by name; an H200 where it is another."""
    name = torch.cuda.get_device_name(session.device) if session.cuda else ""
    return next((device for key, device in DEVICES.items() if key in name), DEVICES["H200"])


def with_shares(found: Found, config: ModelConfig, window: int, device: Device, rows: int) -> Found:
    """With shares of the peak, and the ceiling."""
    if "tokens_per_second" not in found:
        return found
    floors = roofline(config, device, tokens=rows * window, sequence_length=window)
    speed = found["tokens_per_second"]
    shares = {"causal": floors.mfu(speed), "palm": floors.palm_mfu(speed)}
    ceiling = {
        "device": device.name,
        "tokens_per_second": floors.tokens_per_second,
        "share": speed / floors.tokens_per_second,
    }
    return {**found, "mfu": shares, "ceiling": ceiling}


if __name__ == "__main__":
    raise SystemExit(main())
