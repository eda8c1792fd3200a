"""Ten batches added to an index of near-duplicates, against one run over everything: same kept
documents, size, time per batch.

    PYTHONPATH=. python benchmarks/dedup_index.py --texts NAME=PATH...
        [--megabytes 100] [--batches 10] [--verify 0.7]

PATH is a ``.jsonl.zst`` file or a folder of them and NAME a label for the result. Documents
(``--megabytes`` of text of each PATH, every file giving an equal share) are dealt to batches in
turn, each a folder of JSON Lines, so that near-duplicates lie in different batches. The batches are
added one after another, ordered by id inside a batch; then all of them are deduplicated by one
``dedup_files`` run whose keep order is (batch, id). The kept documents of both must be the same,
and so must the similarity, the bands and the stand-in of every near copy: the script fails where
they are not.

The process is pinned to one core with every thread pool at 1. Seconds of a batch are those of the
whole ``add_batch`` call by the wall and by the processor time of this process: reading, hashing,
looking up, comparing, writing what is kept. Small batches are added to an index of their own first,
so that kernels are loaded. ``lookup`` is one more pass of a batch's keys over the finished index,
by itself. Writes ``benchmarks/results/dedup_index.json``.
"""

from __future__ import annotations

import os

for pool in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "NUMBA_NUM_THREADS",
):
    os.environ[pool] = "1"

import argparse  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import shutil  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from importlib import metadata  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import orjson  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import zstandard  # noqa: E402

RESULT = Path(__file__).parent / "results" / "dedup_index.json"


def main() -> None:
    arguments = parse()
    core = max(os.sched_getaffinity(0)) if arguments.core is None else arguments.core
    os.sched_setaffinity(0, {core})
    pa.set_cpu_count(1)
    settings = {
        "batches": arguments.batches,
        "verify": arguments.verify,
        "megabytes": arguments.megabytes,
    }
    result: dict[str, Any] = {"benchmark": "dedup_index", "machine": machine(core), **settings}
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        warm_up(Path(folder))
        result["texts"] = {}
        for label, path in arguments.texts:
            result["texts"][label] = measured(Path(folder) / label, path, arguments)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--texts",
        nargs="+",
        type=labelled,
        default=[("corpus", Path("examples/corpus"))],
        metavar="NAME=PATH",
    )
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--verify", type=float, default=0.7)
    parser.add_argument(
        "--work",
        type=Path,
        default=None,
        help="where batches and indexes lie while it runs; default: a temporary folder",
    )
    parser.add_argument("--core", type=int, default=None)
    return parser.parse_args()


def labelled(argument: str) -> tuple[str, Path]:
    name, separator, path = argument.rpartition("=")
    return (name if separator else Path(path).name), Path(path)


def machine(core: int) -> dict[str, Any]:
    models = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    versions = {name: metadata.version(name) for name in ("numba", "numpy", "pyarrow")}
    return {
        "processor": models[0] if models else platform.processor(),
        "core": core,
        "python": platform.python_version(),
        **versions,
    }


def deal(folder: Path, path: Path, limit: float, batches: int) -> int:
    """Write the documents of the files in turn into folders ``b00``, ``b01``, ...; returns the
    bytes of text.
    """
    files = sorted(path.rglob("*.jsonl.zst")) if path.is_dir() else [path]
    outs = []
    for batch in range(batches):
        (folder / f"b{batch:02d}").mkdir(parents=True)
        outs.append((folder / f"b{batch:02d}" / "part.jsonl").open("wb"))
    number = size = 0
    for file in files:
        total = 0
        with (
            file.open("rb") as raw,
            zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as stream,
        ):
            for line in stream.read().splitlines():
                text = orjson.loads(line).get("text")
                if not isinstance(text, str) or not text:
                    continue
                outs[number % batches].write(orjson.dumps({"text": text}) + b"\n")
                number, total = number + 1, total + len(text.encode())
                if total > limit / len(files):
                    break
        size += total
    for out in outs:
        out.close()
    if not number:
        raise SystemExit(f"no documents under {path}: give .jsonl.zst files with a text field")
    return size


def warm_up(folder: Path) -> None:
    """Load every kernel: two small batches that share a document, on an index of their own."""
    from pipelines.deduplicate.index.changes import add_batch

    for batch, text in enumerate(
        ("one two three four five six", "one two three four five six seven")
    ):
        (folder / f"warm{batch}").mkdir()
        (folder / f"warm{batch}" / "part.jsonl").write_bytes(orjson.dumps({"text": text}))
        add_batch(
            str(folder / "warm"),
            [str(folder / f"warm{batch}" / "part.jsonl")],
            str(folder / f"warm-kept{batch}"),
            keep="id",
        )


def measured(folder: Path, path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    from pipelines.deduplicate.files import dedup_files
    from pipelines.deduplicate.index.changes import add_batch

    size = deal(folder, path, arguments.megabytes * 1_000_000, arguments.batches)
    paths = [f"{folder}/b{batch:02d}/part.jsonl" for batch in range(arguments.batches)]
    added = []
    for batch, file in enumerate(paths):
        begun, used = time.perf_counter(), time.process_time()
        done = add_batch(
            f"{folder}/index",
            [file],
            f"{folder}/kept/{batch:02d}",
            keep="id",
            verify=arguments.verify,
        )
        seconds, processor = time.perf_counter() - begun, time.process_time() - used
        added.append(
            {
                "documents_before": done.documents
                - sum(done.counts[name] for name in ("kept", "exact_duplicate", "near_duplicate")),
                **done.counts,
                "compared": done.facts["compared"],
                "skipped": done.facts["skipped"],
                "seconds": round(seconds, 3),
                "processor_seconds": round(processor, 3),
            }
        )
    begun, used = time.perf_counter(), time.process_time()
    one = dedup_files(
        paths, f"{folder}/one", keep="source_rank, id", verify=arguments.verify, format="parquet"
    )
    seconds, processor = time.perf_counter() - begun, time.process_time() - used
    check_equal(folder, arguments.batches)
    found = {
        "bytes": size,
        "documents": done.documents,
        "kept": one.kept.documents,
        "kept_set_equals_one_run": True,
        "evidence_equals_one_run": True,
        "index_bytes": done.index_bytes,
        "bytes_per_document": round(done.bytes_per_document, 2),
        "added": added,
        "added_processor_seconds": round(sum(batch["processor_seconds"] for batch in added), 3),
        "one_run": {"seconds": round(seconds, 3), "processor_seconds": round(processor, 3)},
        "lookup": lookup(folder),
    }
    shutil.rmtree(folder)
    return found


def check_equal(folder: Path, batches: int) -> None:
    """Exit unless the batches kept the documents of the one run, and removed near copies for the
    same ones.
    """

    def kept(files: list[Path]) -> set[bytes]:
        return {
            value
            for file in files
            for value in pq.read_table(file, columns=["id"])["id"].to_pylist()
        }

    ours = kept(sorted((folder / "kept").glob("*/kept/*.parquet")))
    theirs = kept(sorted((folder / "one" / "kept").glob("*.parquet")))
    if ours != theirs:
        raise SystemExit(
            f"the kept sets differ: {len(ours - theirs)} only in the index, {len(theirs - ours)} "
            "only in the one run"
        )
    names = ("id", "kept_id", "similarity", "bands_hit")
    rows = [
        row
        for batch in range(batches)
        for row in pq.read_table(folder / "kept" / f"{batch:02d}" / "evidence.parquet").to_pylist()
    ]
    evidence = {row["id"]: tuple(row[name] for name in names) for row in rows}
    for row in pq.read_table(folder / "one" / "evidence.parquet").to_pylist():
        if row["reason"] == "near_duplicate" and evidence.get(row["id"]) != tuple(
            row[name] for name in names
        ):
            raise SystemExit(f"the evidence differs: {row} and {evidence.get(row['id'])}")


def lookup(folder: Path) -> dict[str, Any]:
    """One pass of a batch's ids, text hashes and keys over the whole index, from a warm page
    cache.
    """
    from artifacts.ids import document_ids
    from dedup.index.columns import NewDocuments
    from dedup.index.decide import find_candidates
    from pipelines.deduplicate.index.opened import OpenIndex

    opened = OpenIndex.at(f"{folder}/index")
    last = opened.columns[-1]
    ids = document_ids("nobody", [str(row).encode() for row in range(len(last))])
    new = NewDocuments.of(ids, ids, np.stack(last.bands, axis=1), np.ones(len(last), bool))
    find_candidates(opened.columns, new)
    used = time.process_time()
    find_candidates(opened.columns, new)
    processor = time.process_time() - used
    size = sum(
        len(segment) * (32 + 8 * len(segment.bands)) + 32 * len(segment.removed.ids)
        for segment in opened.columns
    )
    return {
        "new_documents": len(new),
        "index_documents": opened.kept,
        "processor_seconds": round(processor, 4),
        "megabytes": round(size / 1e6, 2),
        "mb_per_processor_second": round(size / 1e6 / max(processor, 1e-9), 1),
    }


if __name__ == "__main__":
    main()
