"""Does a model learn the same in fewer bits: 200 steps in bf16 on the GPU, and in 8-bit floats,
against fp32.

    python -m benchmarks.gpu.parity                          # on a GPU
    python -m benchmarks.gpu.parity --device cpu --tiny      # that it runs
    python -m benchmarks.gpu.parity --device cpu --tiny --steps 200 --seeds 1 2 3
                                                             # 8-bit floats emulated, a few minutes

The same seeds, the same batches, windows of several documents in which a token mostly follows from
the one before. Told are the mean losses of the last tenth of the steps, run by run, and the
differences from fp32 with the seed in common. What another seed changes is the yardstick. On a GPU
a few steps of fp32 are made on the CPU too, so that the reference has one.
"""

from __future__ import annotations

import statistics
from typing import Any

import torch

from benchmarks.gpu.session import Record, Session, begin
from benchmarks.gpu.training import TokenBatch, Trainee, pattern_batch
from trainer.devices.determinism import deterministic
from trainer.shapes.config import ModelConfig

SMALL = ModelConfig(vocab_size=2000, width=256, layers=6, heads=4, kv_heads=2, ff=640)
TOY = ModelConfig(vocab_size=150, width=96, layers=2, heads=6, kv_heads=3, head_dim=16, ff=160)
STEPS, TINY_STEPS, CPU_STEPS = 200, 4, 8
WARM_UP, RATE = 20, 0.01
Found = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    seeds = {"type": int, "nargs": "+", "default": [1, 2, 3]}
    session = begin(__doc__, [("--steps", {"type": int}), ("--seeds", seeds)], arguments)
    record = Record(session, "parity")
    config, rows, window = (TOY, 4, 32) if session.tiny else (SMALL, 16, 256)
    steps = session.options.steps or (TINY_STEPS if session.tiny else STEPS)
    record["model"] = config.as_dict()
    record["batch"] = {"windows": rows, "window": window, "steps": steps, "last": last(steps)}
    runs: dict[str, dict[str, list[float]]] = {name: {} for name in precisions(session)}
    with torch.random.fork_rng(), deterministic():
        for seed in session.options.seeds:
            batches = batches_of(config, rows, window, steps, seed)
            for name, losses in runs.items():
                losses[str(seed)] = curve(session.device, name, config, batches, seed)
                record["losses"] = runs
    record["emulated"] = not session.cuda
    record["difference"] = {
        name: differences(runs["fp32"], found, steps)
        for name, found in runs.items()
        if name != "fp32"
    }
    if session.cuda:
        here = runs["fp32"][str(session.options.seeds[0])][:CPU_STEPS]
        seed = session.options.seeds[0]
        there = curve(
            torch.device("cpu"),
            "fp32",
            config,
            batches_of(config, rows, window, CPU_STEPS, seed),
            seed,
        )
        record["fp32_on_cpu"] = {
            "steps": CPU_STEPS,
            "largest_difference": max(abs(a - b) for a, b in zip(here, there, strict=True)),
        }
    record.done()
    return 0


def precisions(session: Session) -> list[str]:
    """What can be compared here: 8-bit floats on a CPU are emulated, on a GPU that has none left
    out.
    """
    capable = not session.cuda or torch.cuda.get_device_capability(session.device) >= (8, 9)
    return ["fp32", "bf16", *(["float8"] if capable else [])]


def batches_of(
    config: ModelConfig, rows: int, window: int, steps: int, seed: int
) -> list[TokenBatch]:
    """One for each step, on the host: all precisions are shown the same."""
    return [
        pattern_batch(config, rows, window, torch.device("cpu"), seed=1_000_003 * seed + step)
        for step in range(steps)
    ]


def curve(
    device: torch.device, precision: str, config: ModelConfig, batches: list[TokenBatch], seed: int
) -> list[float]:
    """The loss of each step in nats per token, at a rate that warms up and then stays."""
    trainee = Trainee.build(config, device, precision, seed)
    losses = []
    for step, batch in enumerate(batches):
        losses.append(trainee.step(batch.to(device), RATE * min(1.0, (step + 1) / WARM_UP)))
    return [float(loss) for loss in torch.stack(losses).cpu()]


def last(steps: int) -> int:
    """Steps whose mean is told."""
    return max(1, steps // 10)


def differences(
    reference: dict[str, list[float]], found: dict[str, list[float]], steps: int
) -> Found:
    """Final losses, their differences seed by seed, and how far seeds of the reference lie
    apart.
    """
    ends = [
        {seed: statistics.fmean(losses[-last(steps) :]) for seed, losses in each.items()}
        for each in (reference, found)
    ]
    by_seed = {seed: ends[1][seed] - ends[0][seed] for seed in ends[0]}
    values = list(ends[0].values())
    return {
        "fp32": ends[0],
        "loss": ends[1],
        "by_seed": by_seed,
        "mean": statistics.fmean(by_seed.values()),
        "largest": max(map(abs, by_seed.values())),
        "spread_of_fp32_over_seeds": max(values) - min(values),
    }


if __name__ == "__main__":
    raise SystemExit(main())
