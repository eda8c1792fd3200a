"""Is the order of windows random enough: statistics of the order, and the loss of training against
fully random order.

    PYTHONPATH=. python benchmarks/shuffle_quality.py [--texts PATH...]
        [--keys 20] [--seeds 10] [--steps 150]
    PYTHONPATH=. python benchmarks/shuffle_quality.py --keys 3 --blocks 64 --seeds 2
        --steps 20      # a look

**Order.** Blocks are permuted, and windows among the blocks that are open together. For each of
``--keys`` seeds, over two epochs of ``--blocks`` blocks of 4,096 windows, one p-value per key of
each test; over the keys their smallest, the share below 0.05, and the p-value of Kolmogorov's test
that they are uniform:

- ``place_in_group``: chi-square of (where a window lies in its block, 16 bins) by (where it is
  shown in its group, 16 bins)
- ``block_in_group``: chi-square of (which of the open blocks) by (where it is shown, 16 bins)
- ``block_neighbours``: correlation of the places of blocks that are neighbours in the stream, by
  Spearman
- ``block_runs``: runs above and below the median in the places of the blocks along the stream (Wald
  and Wolfowitz)
- ``epochs_blocks_spearman``, ``epochs_blocks_kendall``: places of the same block in successive
  epochs
- ``epochs_windows_spearman``: places of the same window inside its group in successive epochs

Blocks, not windows, are the units of the last but one: windows of one block move together, by
design.

**Training.** A small decoder is trained for ``--steps`` steps on the same windows in two orders,
epoch by epoch: as the plan shows them, and each epoch's windows permuted over the whole epoch.
Pairs share their starting weights; each pair has another seed for weights, plan and permutation.
The figure is the difference of the losses on held-out documents at the end, planned less random,
with its 95% t-interval over the pairs; beside it the same for the mean training loss. A third
order, windows sorted by their mean token (which puts languages and kinds of text together), shows
that the experiment can tell a bad order. The run goes a few times through its source, which is
small and so has all its blocks open: epochs of it are to be as good as fully random ones.

Each seed trains in a process of its own, on one thread. Takes about 5 minutes on two cores at the
defaults. Writes ``benchmarks/results/shuffle_quality.json``.
"""

from __future__ import annotations

import one_core  # isort: skip  (sets the thread pools)

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from token_data import TokenData, add_options, prepare

from mixtures.freeze.freeze import Plan, freeze
from mixtures.loader.loader import Batch, Loader
from mixtures.order.source_order import source_orders
from mixtures.spec.spec import MixtureSpec
from tokenizer.shards.manifest import SourceManifest
from tokenizer.shards.reader import ShardSource
from trainer.model import Model, init, parameter_groups
from trainer.objectives.next_token import batch_loss
from trainer.optimizer.adamw import AdamW
from trainer.optimizer.schedules import rate, wsd
from trainer.shapes.presets import preset

WINDOW, BLOCK_WINDOWS, BINS = 4096, 4096, 16  # of the statistics
LENGTH, BATCH, VOCABULARY, PEAK = 128, 16, 4096, 0.01  # of the training
HELD_OUT_STEPS = 16
TRAIN, HELD_OUT = "train", "held-out"

Ints = NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, 100e3)
    parser.add_argument("--keys", type=int, default=20)
    parser.add_argument("--blocks", type=int, default=256)
    parser.add_argument(
        "--seeds", type=int, default=10, help="pairs of training runs (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument(
        "--workers",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="training processes of one thread each",
    )
    arguments = parser.parse_args()
    if arguments.seeds < 2 or arguments.keys < 2:
        parser.error("at least two seeds and two keys are needed")
    begun = time.perf_counter()
    order = order_statistics(arguments.keys, arguments.blocks)
    between = time.perf_counter()
    names = (TRAIN, HELD_OUT)
    data = prepare(
        arguments.work,
        arguments.texts,
        int(arguments.tokens),
        names=names,
        vocab_size=VOCABULARY,
        alike=True,
    )
    training = training_losses(data, arguments.seeds, arguments.steps, arguments.workers)
    result = {
        "machine": one_core.machine(("numpy", "scipy", "torch")),
        "order": order,
        "training": training,
        "seconds": {
            "order": round(between - begun, 1),
            "training": round(time.perf_counter() - between, 1),
        },
    }
    one_core.publish("shuffle_quality", result)


# -- the order ----------------------------------------------------------------------------------


def order_statistics(keys: int, blocks: int) -> dict[str, Any]:
    """p-values of every test over the keys."""
    found: dict[str, list[float]] = {}
    for seed in range(keys):
        plan = simulated(blocks * BLOCK_WINDOWS, seed)
        epochs = [shown(plan, epoch) for epoch in range(2)]
        for name, value in tests_of(plan, *epochs).items():
            found.setdefault(name, []).append(value)
    order_of = source_orders(plan, 0)[0]
    summary = {
        name: {
            "smallest_p": float(f"{min(values):.3g}"),
            "share_below_0.05": round(float(np.mean(np.array(values) < 0.05)), 3),
            "uniform_p": float(f"{stats.kstest(values, 'uniform').pvalue:.3g}"),
        }
        for name, values in found.items()
    }
    shape = {
        "windows": order_of.windows,
        "block_windows": order_of.block_windows,
        "open_blocks": order_of.pinned.open_blocks,
    }
    return {"keys": keys, **shape, "tests": summary}


def simulated(windows: int, seed: int) -> Plan:
    """A plan over one source of as many windows; there are no shards, since only the order is asked
    for.
    """
    manifest = SourceManifest(
        source=TRAIN,
        tokenizer_hash="0" * 32,
        dtype="uint16",
        vocab_size=1000,
        eos_id=2,
        shuffle_key="0" * 16,
    )

    class Counted(SourceManifest):
        @property
        def tokens(self) -> int:
            return windows * WINDOW

    counted = Counted(**manifest.model_dump())
    phase = {"name": "stable", "tokens": 2 * windows * WINDOW, "weights": {TRAIN: 1.0}}
    spec = MixtureSpec(phases=[phase], packing={TRAIN: "stream"})  # type: ignore[list-item]
    source = ShardSource(Path(TRAIN), counted)
    plan = freeze(
        spec, {TRAIN: source}, sequence_length=WINDOW, batch_tokens=64 * WINDOW, seed=seed
    )
    found = source_orders(plan, 0)[0].block_windows
    if found != BLOCK_WINDOWS:
        raise SystemExit(f"blocks have {found} windows, {BLOCK_WINDOWS} expected")
    return plan


def shown(plan: Plan, epoch: int) -> Ints:
    """The windows of the stream in the order of an epoch, (windows,). The one place that knows how
    plans tell it.
    """
    order = source_orders(plan, 0)[0]
    windows = order.windows
    _, window = order.shown(np.arange(epoch * windows, (epoch + 1) * windows))
    if not (np.bincount(window, minlength=windows) == 1).all():
        raise SystemExit("an epoch does not show every window once")
    return window


def tests_of(plan: Plan, first: Ints, second: Ints) -> dict[str, float]:
    """A p-value per test; see the head of the file."""
    order = source_orders(plan, 0)[0]
    size = order.block_windows
    group = size * order.pinned.open_blocks
    windows = len(first) // group * group
    place = np.arange(windows)
    block, offset = first[:windows] // size, first[:windows] % size
    in_group = place % group * BINS // group
    members = np.sort(block.reshape(-1, group), axis=1)
    rank = (block.reshape(-1, group)[:, :, None] > members[:, None, ::size]).sum(axis=2).reshape(-1)
    places, places_second = inverse(first), inverse(second)
    of_block = places.reshape(-1, size).mean(axis=1)
    of_block_second = places_second.reshape(-1, size).mean(axis=1)
    # blocks open together have the same place but for chance
    noise = np.random.default_rng(1).random((2, len(of_block)))
    return {
        "place_in_group": table_p(offset * BINS // size, in_group),
        "block_in_group": table_p(rank, in_group),
        "block_neighbours": float(
            stats.spearmanr(
                of_block[:-1] // group + noise[0, :-1], of_block[1:] // group + noise[0, 1:]
            ).pvalue
        ),
        "block_runs": runs_p(of_block),
        "epochs_blocks_spearman": float(stats.spearmanr(of_block, of_block_second).pvalue),
        "epochs_blocks_kendall": float(stats.kendalltau(of_block, of_block_second).pvalue),
        "epochs_windows_spearman": float(
            stats.spearmanr(places % group, places_second % group).pvalue
        ),
    }


def inverse(order: Ints) -> Ints:
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return places


def table_p(rows: Ints, columns: Ints) -> float:
    """Chi-square of independence; both margins are fixed by the design."""
    table = np.zeros((int(rows.max()) + 1, int(columns.max()) + 1), np.int64)
    np.add.at(table, (rows, columns), 1)
    return float(stats.chi2_contingency(table, correction=False).pvalue)


def runs_p(values: NDArray[np.float64]) -> float:
    """Runs above and below the median, two-sided."""
    above = values > np.median(values)
    runs = 1 + int((above[1:] != above[:-1]).sum())
    high, low = int(above.sum()), int((~above).sum())
    mean = 1 + 2 * high * low / (high + low)
    variance = (mean - 1) * (mean - 2) / (high + low - 1)
    return float(2 * stats.norm.sf(abs(runs - mean) / variance**0.5))


# -- training -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Windows:
    """All windows of a run, (n, LENGTH) each, in the order of the plan; ``start`` (n,) place in the
    stream.
    """

    columns: dict[str, NDArray[Any]]

    def batches(self, order: Ints) -> list[Batch]:
        rows = [order[first : first + BATCH] for first in range(0, len(order) - BATCH + 1, BATCH)]
        return [
            Batch(**{name: column[row] for name, column in self.columns.items()}) for row in rows
        ]


ROWWISE = ("tokens", "targets", "weights", "positions", "documents", "source")


def read(plan: Plan, data: TokenData, steps: int) -> Windows:
    """The windows of the first steps."""
    loader = Loader(plan, data.folders)
    batches = [loader.batch(step) for step in range(steps)]
    columns = {
        name: np.concatenate([getattr(batch, name) for batch in batches]) for name in ROWWISE
    }
    # borders of documents and pieces: not used by this model
    columns["lengths"] = np.zeros(len(columns["tokens"]), np.int32)
    columns["pieces"] = np.zeros((len(columns["tokens"]), 5), np.int64)
    return Windows(columns)


def planned(data: TokenData, name: str, steps: int, seed: int) -> Plan:
    spec = MixtureSpec(
        phases=[{"name": "stable", "tokens": steps * BATCH * LENGTH, "weights": {name: 1.0}}]  # type: ignore[arg-type]
    )
    sources = {name: data.sources[name]}
    return freeze(
        spec,
        sources,
        sequence_length=LENGTH,
        batch_tokens=BATCH * LENGTH,
        seed=seed,
        bos_id=data.tokenizer.bos_id,
    )


def by_epoch(windows: Windows, epoch: int, rearranged: Callable[[Ints], Ints]) -> Ints:
    """Row numbers with each epoch's rows rearranged."""
    total = len(windows.columns["tokens"])
    return np.concatenate(
        [
            rearranged(np.arange(first, min(first + epoch, total)))
            for first in range(0, total, epoch)
        ]
    )


def training_losses(data: TokenData, seeds: int, steps: int, workers: int) -> dict[str, Any]:
    """Losses of every seed in the three orders, and intervals of their differences."""
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        tasks = [pool.submit(losses_of, data, seed, steps) for seed in range(1, seeds + 1)]
        found = [task.result() for task in tasks]
    losses = {name: [own[name] for own in found] for name in found[0]}
    plan = planned(data, TRAIN, steps, 1)
    order = source_orders(plan, 0)[0]
    shape = {
        "windows": order.windows,
        "block_windows": order.block_windows,
        "open_blocks": order.pinned.open_blocks,
    }
    return {
        "steps": steps,
        "batch_tokens": BATCH * LENGTH,
        "sequence_length": LENGTH,
        "epochs": round(steps * BATCH / order.windows, 2),
        **shape,
        "seeds": seeds,
        "held_out_loss": {
            name: round(float(np.mean([loss for loss, _ in pairs])), 4)
            for name, pairs in losses.items()
        },
        "planned_less_random": difference(losses["planned"], losses["random"]),
        "sorted_less_random": difference(losses["sorted"], losses["random"]),
    }


def losses_of(data: TokenData, seed: int, steps: int) -> dict[str, tuple[float, float]]:
    """What :func:`trained` finds for a seed, by order."""
    torch.set_num_threads(1)
    held = planned(data, HELD_OUT, HELD_OUT_STEPS, 1)
    held_out = read(held, data, min(HELD_OUT_STEPS, source_orders(held, 0)[0].windows // BATCH))
    plan = planned(data, TRAIN, steps, seed)
    windows, epoch = read(plan, data, steps), source_orders(plan, 0)[0].windows
    means = windows.columns["tokens"].mean(axis=1)
    orders = {
        "planned": by_epoch(windows, epoch, lambda rows: rows),
        "random": by_epoch(windows, epoch, np.random.default_rng(seed).permutation),
        "sorted": by_epoch(
            windows, epoch, lambda rows: rows[np.argsort(means[rows], kind="stable")]
        ),
    }
    return {
        name: trained(windows.batches(order), held_out, seed, data.tokenizer.vocab_size)
        for name, order in orders.items()
    }


def trained(
    batches: list[Batch], held_out: Windows, seed: int, vocab_size: int
) -> tuple[float, float]:
    """(held-out loss at the end, mean training loss of the last fifth), nats per token."""
    shape = {"width": 64, "heads": 1, "kv_heads": 1, "layers": 2, "ff": 160}
    # the base of the model that the recorded results were measured with
    config = preset("tiny", vocab_size=vocab_size, dim_model_base=256, **shape)
    model = Model(config)
    init(model, config, seed)
    optimizer = AdamW(parameter_groups(model, config, PEAK, 0.1))
    schedule = wsd(len(batches), len(batches) // 2, peak=PEAK, warmup=max(1, len(batches) // 15))
    last = []
    for step, batch in enumerate(batches, 1):
        last.append(batch_loss(model, batch, BATCH, backward=True).loss)
        optimizer.clip(1.0)
        optimizer.step(rate(schedule, step))
        optimizer.zero_grad()
    with torch.no_grad():
        everything = held_out.batches(np.arange(len(held_out.columns["tokens"])))
        found = [batch_loss(model, batch, BATCH, backward=False) for batch in everything]
    loss = sum(part.loss * part.targets for part in found) / sum(part.targets for part in found)
    return float(loss), float(np.mean(last[-max(1, len(last) // 5) :]))


def difference(one: list[tuple[float, float]], other: list[tuple[float, float]]) -> dict[str, Any]:
    """Mean of the paired differences with a 95% t-interval, held out and in training."""
    out: dict[str, Any] = {}
    for place, name in enumerate(("held_out", "training")):
        differences = np.array([a[place] - b[place] for a, b in zip(one, other, strict=True)])
        half = float(
            stats.t.ppf(0.975, len(differences) - 1)
            * differences.std(ddof=1)
            / len(differences) ** 0.5
        )
        mean = float(differences.mean())
        out[name] = {
            "mean": round(mean, 5),
            "low": round(mean - half, 5),
            "high": round(mean + half, 5),
        }
    return out


if __name__ == "__main__":
    main()
