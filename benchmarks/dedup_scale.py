"""The clustering of near-duplicates as a corpus grows: time, memory, and what a second worker
brings.

    PYTHONPATH=. python benchmarks/dedup_scale.py [--documents 100000 1000000] [--repeats 5]
    PYTHONPATH=. python benchmarks/dedup_scale.py --documents 5000 20000 --repeats 1        # a look

Documents are generated: runs of made-up sentences (words by Zipf's law), their lengths lognormal
with a median of 1.7 and a mean of about 3 kB, as those of crawled English pages. A fifth are copies
of an earlier document with some of their sentences exchanged, so that similarities from 0.3 to 1
and chains of copies occur; one in a hundred shares most of its sentences with all others of its
kind (a template). They are read and signed once (not measured here). What is measured is the whole
comparison behind the signatures, from band keys on disk to evidence and selections on disk: keys
sorted and grouped, clusters joined, candidates' texts read again, pairs verified.

Each figure comes from fresh processes, in which kernels are loaded and (for two workers) the local
Dask cluster is started before the clock starts; one worker is pinned to one core. ``peak_bytes`` is
the largest resident size of the process that does the work over that behind the imports; the pages
of files it maps count in it. Floors: the keys alone are 112 bytes per document, written and read
once more in partitions. Needs about 9 kB of disk per document under ``--work``. Writes
``benchmarks/results/dedup_scale.json``.
"""

from __future__ import annotations

import one_core  # isort: skip  (sets the thread pools)

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SENTENCES = 1 << 19  # in the pool that documents are made of
AT_ONCE = 20_000  # documents generated together
COPIES, TEMPLATES = 0.2, 0.01
NAME = "scale"


def main() -> None:
    arguments = parse()
    if arguments.one is not None:
        print(json.dumps(one_comparison(arguments.one, arguments.workers)))
        return
    arguments.work.mkdir(parents=True, exist_ok=True)
    sizes = {
        str(documents): measured(arguments.work, documents, arguments.repeats)
        for documents in arguments.documents
    }
    small, large = (
        sizes[str(documents)] for documents in (arguments.documents[0], arguments.documents[-1])
    )
    added = arguments.documents[-1] - arguments.documents[0]
    one_core.publish(
        "dedup_scale",
        {
            "machine": one_core.machine(["numpy", "numba", "pyarrow", "polars", "dask"]),
            "documents": sizes,
            "times_as_long": large["one_worker"]["seconds"]["median"]
            / small["one_worker"]["seconds"]["median"],
            "bytes_per_added_document": (
                large["one_worker"]["peak_bytes"] - small["one_worker"]["peak_bytes"]
            )
            / max(1, added),
            "two_workers_times_one": large["one_worker_on_dask"]["seconds"]["median"]
            / large["two_workers"]["seconds"]["median"],
        },
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--work", type=Path, default=one_core.WORK)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def measured(work: Path, documents: int, repeats: int) -> dict[str, Any]:
    """One worker in its own process, then one and two workers of a local cluster, in turns."""
    folder = work / f"scale-{documents}"
    if not (folder / "runs" / NAME / "run.json").exists():
        print(f"{documents} documents are made, read and signed", file=sys.stderr)
        generate(folder / "in", documents)
        sign(folder)
    found: dict[int, list[dict[str, Any]]] = {0: [], 1: [], 2: []}
    for _ in range(repeats):
        for workers, results in found.items():
            results.append(one_core.fresh(Path(__file__), "--one", folder, "--workers", workers))
    first = found[0][0]
    summary = {
        "text_bytes": first["text_bytes"],
        **{
            name: first[name]
            for name in ("candidates", "removed", "largest_cluster", "comparisons")
        },
    }
    for name, workers in (("one_worker", 0), ("one_worker_on_dask", 1), ("two_workers", 2)):
        results = found[workers]
        summary[name] = {
            "seconds": one_core.spread([result["seconds"] for result in results]),
            "phases": {
                phase: statistics.median(result["phases"][phase] for result in results)
                for phase in results[0]["phases"]
            },
        }
    summary["one_worker"]["peak_bytes"] = statistics.median(
        result["peak_bytes"] for result in found[0]
    )
    summary["one_worker"]["peak_bytes_of_phases"] = found[0][0]["peak_bytes_of_phases"]
    outcomes = {result["evidence"] for results in found.values() for result in results}
    summary["same_evidence"] = len(outcomes) == 1
    return summary


def generate(folder: Path, documents: int) -> None:
    """Parquet files of ``id`` and ``text``."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(documents)
    # the same for every size, so that sizes compare
    sentences = sentence_pool(np.random.default_rng(0))
    # sentences, of about 110 bytes
    lengths = np.clip(np.exp(rng.normal(np.log(15), 1.05, documents)), 1, 2000).astype(np.int64)
    frame = rng.integers(0, SENTENCES, 60)
    drawn: list[np.ndarray] = []
    for start in range(0, documents, AT_ONCE):
        parts = []
        for document in range(start, min(documents, start + AT_ONCE)):
            kind = rng.random()
            if kind < COPIES and drawn:
                original = drawn[int(rng.integers(len(drawn)))]
                exchanged = rng.random(len(original)) < rng.choice([0.0, 0.03, 0.1, 0.3])
                part = np.where(exchanged, rng.integers(0, SENTENCES, len(original)), original)
            elif kind < COPIES + TEMPLATES:
                part = np.concatenate(
                    [frame, rng.integers(0, SENTENCES, int(rng.integers(10, 40)))]
                )
            else:
                part = rng.integers(0, SENTENCES, lengths[document])
            parts.append(part)
            if document % 4 == 0:
                drawn.append(part)
        offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
        lists = pa.LargeListArray.from_arrays(
            pa.array(offsets), sentences.take(pa.array(np.concatenate(parts)))
        )
        texts = pc.binary_join(lists, pa.scalar(" ", pa.large_string()))
        ids = pa.array([f"{number}" for number in range(start, start + len(parts))])
        pq.write_table(
            pa.table({"id": ids, "text": texts}),
            folder / f"part-{start // AT_ONCE:05d}.parquet",
            compression="zstd",
        )


def sentence_pool(rng: np.random.Generator) -> pa.LargeStringArray:
    """Distinct sentences of 8 to 28 words, words by Zipf's law over 60,000."""
    letters = np.array(list("etaoinshrdlucmfwygpbvk"))
    words = np.array(
        ["".join(rng.choice(letters, int(rng.integers(2, 11)))) for _ in range(60_000)], object
    )
    lengths = rng.integers(8, 29, SENTENCES)
    chosen = np.minimum(rng.zipf(1.15, int(lengths.sum())) - 1, len(words) - 1)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    lists = pa.LargeListArray.from_arrays(
        pa.array(offsets), pa.array(words, pa.large_string()).take(pa.array(chosen))
    )
    return pc.binary_join(lists, pa.scalar(" ", pa.large_string()))


def sign(folder: Path) -> None:
    """Read and sign the documents; one comparison is made on the way."""
    from pipelines.run.driver import run_recipe

    run_recipe(
        recipe(folder), str(folder / "runs"), workers=len(os.sched_getaffinity(0)), until="corpus"
    )


def recipe(folder: Path) -> Any:
    from pipelines.recipe.load import given_recipe

    sources = [
        {"name": "web", "paths": [str(folder.resolve() / "in" / "*.parquet")], "id_field": "id"}
    ]
    return given_recipe(
        {"name": NAME, "corpus": {"sources": sources, "stages": [{"minhash_dedup": {}}]}}
    )


def one_comparison(folder: Path, workers: int) -> dict[str, Any]:
    """Remove what a comparison left and make it anew. ``workers``: of a Dask cluster; 0 for this
    process on one core.
    """
    from pipelines.comparisons.near.compare import compare_near
    from pipelines.comparisons.whole import CompareTask
    from pipelines.corpus.chunk import Chunk
    from pipelines.executors.base import limit_threads
    from pipelines.executors.memory import peak_bytes, reset_peak
    from pipelines.run.record import load_run
    from pipelines.run.work_plan import plan_steps
    from pipelines.stages.base import CompareStep

    store, record = load_run(str(folder / "runs"), NAME)
    for area in ("work", "evidence", "selection/minhash_dedup"):
        shutil.rmtree(store.full(area), ignore_errors=True)
    chunks = tuple(replace(Chunk.from_json(chunk), selection=None) for chunk in record["chunks"])
    step = next(step for step in plan_steps(recipe(folder)) if isinstance(step, CompareStep))
    carry_out = executor(workers)
    limit_threads()
    load_kernels()
    seconds, peaks = {}, {}
    clock = {"phase": "", "since": 0.0}

    def begins(phase: str) -> None:
        now = time.monotonic()
        if clock["phase"]:
            seconds[clock["phase"]] = now - clock["since"]
            peaks[clock["phase"]] = peak_bytes() - base
            reset_peak()
        clock.update(phase=phase, since=now)

    reset_peak()
    base = peak_bytes()
    started = time.monotonic()
    outcome = compare_near(CompareTask(store.root, chunks, ("web",), step), carry_out, begins)
    total = time.monotonic() - started
    begins("end")
    return {
        "seconds": total,
        "phases": seconds,
        "peak_bytes": max(peaks.values()),
        "peak_bytes_of_phases": peaks,
        "text_bytes": sum(entry.entered.bytes for entry in outcome.entries.values()),
        "removed": sum(
            count.documents
            for entry in outcome.entries.values()
            for count in entry.dropped.values()
        ),
        "evidence": outcome.files[0].checksum,
        **{name: outcome.facts[name] for name in ("candidates", "largest_cluster", "comparisons")},
    }


def executor(workers: int) -> Callable[[Callable[[Any, bool], Any], Sequence[Any]], list[Any]]:
    """Makes tasks, here or on a cluster that runs already and has loaded its kernels."""
    if workers == 0:
        one_core.pin(None)
        return lambda function, tasks: [function(task, True) for task in tasks]
    from pipelines.executors.dask import DaskExecutor
    from pipelines.run.stretches import _Compute

    cluster = DaskExecutor(workers)
    cluster._client.run(load_kernels)
    return lambda function, tasks: cluster.map(
        _Compute(function), tasks, lambda position, result: None
    )


def load_kernels() -> None:
    """Compile or load what the comparison uses, and import it."""
    from dedup.near.lsh import candidate_groups
    from dedup.near.minhash import MinHashConfig, band_keys, shingle_sets
    from dedup.near.partitions import deal_clusters
    from dedup.near.verify import greedy_keep
    from pipelines.comparisons.near.candidates import cluster_rows

    texts = pa.array(["a b c d e f g h i j k l m n o p"] * 2, pa.large_string())
    config = MinHashConfig()
    keys, signed = band_keys(texts, config)
    groups = candidate_groups(keys, signed)
    greedy_keep(np.arange(2), groups, shingle_sets(texts, config), 0.7)
    deal_clusters(np.zeros(2, np.int64), np.ones(2, np.bool_), np.ones(2, np.int64), 1)
    cluster_rows(np.zeros(2, np.int64))


if __name__ == "__main__":
    main()
