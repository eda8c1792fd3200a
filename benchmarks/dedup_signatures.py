"""MinHash band keys from texts: ours and the peers, same documents, one core.

    PYTHONPATH=. python benchmarks/dedup_signatures.py --texts NAME=PATH...
        [--megabytes 40] [--repeats 5]

PATH is a ``.jsonl.zst`` file or a folder of them and NAME a label for the result, such as
``english=...`` and ``chinese=...``. Documents are read into memory first (``--megabytes`` of text
of each), and reading is not part of any figure. The process is pinned to one core with every thread
pool at 1. Figures are MB of text per second, the median of ``--repeats`` runs after a warm-up, by
the wall and by the processor time of this process (the two differ when others use the core); each
run of ``band_keys`` makes as many passes as give 200 MB. Start-up, the character table and
compilation (or loading compiled kernels) are stated apart.

Peers, on a subset of the same documents with the same 5-word shingles and 112 functions, as they
are usually called:

- datasketch: words by a regular expression on the lower-cased text, joined shingles as bytes, one
  ``update_batch`` per document; shingling and signature are stated apart.
- datatrove: ``MinhashDedupSignature.get_shingles`` and ``get_signature``; its spaCy segmentation is
  replaced by ``str.split``, which favours it, on Chinese beyond sense: without spaces there are few
  words.

Other figures: exact-Jaccard sets, exact dedup, n-gram overlap with an index of 13-grams made of
every fiftieth document. Writes ``benchmarks/results/dedup_signatures.json``.
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
import importlib.util  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import re  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from importlib import metadata  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import orjson  # noqa: E402
import pyarrow as pa  # noqa: E402
import zstandard  # noqa: E402

RESULT = Path(__file__).parent / "results" / "dedup_signatures.json"
PASS_BYTES = 200_000_000  # of text behind each of our figures
WORD = re.compile(r"\w+")


def main() -> None:
    arguments = parse()
    core = max(os.sched_getaffinity(0)) if arguments.core is None else arguments.core
    os.sched_setaffinity(0, {core})
    pa.set_cpu_count(1)
    result: dict[str, Any] = {
        "benchmark": "dedup_signatures",
        "machine": machine(core),
        "repeats": arguments.repeats,
    }
    result["start_up_seconds"] = start_up()
    for label, path in arguments.texts:
        texts = take(path, arguments.megabytes * 1_000_000)
        if len(texts) == 0:
            raise SystemExit(f"no documents under {path}: give .jsonl.zst files with a text field")
        result[label] = {
            **ours(texts, arguments.repeats),
            "peers": peers(texts, arguments.peer_megabytes * 1_000_000, arguments.repeats),
        }
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
    parser.add_argument("--megabytes", type=float, default=40)
    parser.add_argument("--peer-megabytes", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=5)
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
    versions = {
        name: metadata.version(name)
        for name in ("numba", "numpy", "pyarrow", "datasketch", "datatrove")
    }
    return {
        "processor": models[0] if models else platform.processor(),
        "core": core,
        "python": platform.python_version(),
        **versions,
    }


def start_up() -> dict[str, float]:
    """Seconds until the first key, by cause."""
    begun = time.perf_counter()
    from dedup import words
    from dedup.near import minhash

    imported = time.perf_counter()
    words.character_table()
    tabled = time.perf_counter()
    minhash.band_keys(
        pa.array(["one two three four five"], pa.large_string()), minhash.MinHashConfig()
    )
    return {
        "imports": round(imported - begun, 3),
        "character_table": round(tabled - imported, 3),
        "compile_or_load_kernels": round(time.perf_counter() - tabled, 3),
    }


def take(path: Path, limit: float) -> pa.LargeStringArray:
    """Texts of the files in turn, up to a number of bytes, each file giving an equal share."""
    files = sorted(path.rglob("*.jsonl.zst")) if path.is_dir() else [path]
    texts: list[str] = []
    for file in files:
        total = 0
        with file.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
            for line in stream.read().splitlines():
                text = orjson.loads(line).get("text") or ""
                texts.append(text)
                total += len(text.encode())
                if total > limit / len(files):
                    break
    return pa.array(texts, pa.large_string())


def rates(work: Callable[[], object], size: int, repeats: int) -> dict[str, float]:
    """MB per second of work on ``size`` bytes: median over runs, one warm-up before."""
    work()
    wall, processor = [], []
    for _ in range(repeats):
        begun, used = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - begun)
        processor.append(time.process_time() - used)
    return {
        "mb_per_second": round(size / statistics.median(wall) / 1e6, 3),
        "mb_per_processor_second": round(size / statistics.median(processor) / 1e6, 3),
    }


def text_bytes(texts: pa.LargeStringArray) -> int:
    offsets = np.frombuffer(texts.buffers()[1], np.int64, len(texts) + 1, texts.offset * 8)
    return int(offsets[-1] - offsets[0])


def ours(texts: pa.LargeStringArray, repeats: int) -> dict[str, Any]:
    """Megabytes of text per second of each step, and the documents that the whole chain removes."""
    from artifacts.ids import text_hashes
    from dedup.exact import keep_first
    from dedup.near.lsh import candidate_groups
    from dedup.near.minhash import MinHashConfig, band_keys, shingle_sets
    from dedup.near.verify import greedy_keep
    from dedup.ngrams import NgramIndex
    from dedup.words import word_hashes

    config, size = MinHashConfig(), text_bytes(texts)
    passes = max(1, -(-PASS_BYTES // size))
    priority = np.arange(len(texts))
    keys, has_signature = band_keys(texts, config)
    groups = candidate_groups(keys, has_signature)
    sets = shingle_sets(texts, config, groups.candidates(len(texts)))
    verdict = greedy_keep(priority, groups, sets, 0.7)
    index = NgramIndex.build(texts.take(pa.array(range(0, len(texts), 50))))

    def rate(work: Callable[[], object], times: int = 1) -> dict[str, float]:
        return rates(lambda: [work() for _ in range(times)], times * size, repeats)

    return {
        "documents": len(texts),
        "bytes": size,
        "passes": passes,
        "word_count": int(word_hashes(texts)[0][-1]),
        "band_keys": rate(lambda: band_keys(texts, config), passes),
        "words": rate(lambda: word_hashes(texts), passes),
        "shingle_sets_of_all": rate(lambda: shingle_sets(texts, config)),
        "groups": rate(lambda: candidate_groups(keys, has_signature)),
        "verify": rate(lambda: greedy_keep(priority, groups, sets, 0.7)),
        "exact": rate(lambda: keep_first(text_hashes(texts), priority)),
        "ngram_overlap": rate(lambda: index.overlap(texts)),
        "ngrams_in_index": len(index.hashes),
        "candidates": int(groups.candidates(len(texts)).sum()),
        "removed": int((~verdict.kept).sum()),
        "compared": verdict.compared,
        "skipped": verdict.skipped,
    }


def peers(texts: pa.LargeStringArray, limit: float, repeats: int) -> dict[str, Any]:
    """Megabytes of text per second of the peers on every k-th document."""
    step = max(1, round(text_bytes(texts) / limit))
    subset = texts.take(pa.array(range(0, len(texts), step)))
    return {
        "documents": len(subset),
        "bytes": text_bytes(subset),
        "datasketch": datasketch_rates(subset.to_pylist(), repeats),
        "datatrove": datatrove_rate(subset.to_pylist(), repeats),
    }


def datasketch_rates(texts: list[str], repeats: int) -> dict[str, dict[str, float]]:
    from datasketch import MinHash

    def shingled() -> list[list[bytes]]:
        found = []
        for text in texts:
            words = WORD.findall(text.lower())
            found.append([" ".join(words[k : k + 5]).encode() for k in range(len(words) - 4)])
        return found

    def sketched(ready: list[list[bytes]]) -> None:
        for shingles in ready:
            sketch = MinHash(num_perm=112, seed=1)
            sketch.update_batch(shingles)

    ready = shingled()
    size = sum(len(text.encode()) for text in texts)
    return {
        "shingling": rates(shingled, size, repeats),
        "update_batch": rates(lambda: sketched(ready), size, repeats),
        "both": rates(lambda: sketched(shingled()), size, repeats),
    }


def datatrove_rate(texts: list[str], repeats: int) -> dict[str, float | str]:
    """Its first stage without writing; the module is loaded by its file, for its package also
    imports tokenizers.
    """
    try:
        package = importlib.util.find_spec("datatrove")
        folder = Path(package.submodule_search_locations[0])  # type: ignore[union-attr, index]
        spec = importlib.util.spec_from_file_location(
            "datatrove_minhash", folder / "pipeline" / "dedup" / "minhash.py"
        )
        peer = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        spec.loader.exec_module(peer)  # type: ignore[union-attr]
        stage = peer.MinhashDedupSignature.__new__(peer.MinhashDedupSignature)
    except ImportError as error:
        return {"not_available": str(error)}
    stage.config, stage._parameters, stage.num_hashes = peer.MinhashConfig(), None, 112
    stage._hash_func = peer.create_hash_func(stage.config.hash_config)
    stage.word_tokenizer = type("Split", (), {"word_tokenize": staticmethod(str.split)})

    def sketched() -> None:
        for text in texts:
            shingles = stage.get_shingles(text)
            if shingles.size:
                stage.get_signature(shingles)

    return dict(rates(sketched, sum(len(text.encode()) for text in texts), repeats))


if __name__ == "__main__":
    main()
