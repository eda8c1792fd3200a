"""One peer deduplicates one file, in a process of its own; the last line of standard output is a
JSON object.

    python measure.py --tool datatrove|datatrove-split|datasketch|rensa
        --input FILE.jsonl.zst --work FOLDER --language eng|zho --core 1 --repeats 3

Each reads compressed JSON Lines, removes near-duplicates with 5-word shingles and writes what it
keeps, compressed with zstd, into ``FOLDER/kept``. Start-up (imports, loading word tokenizers, a
first run on a few documents) is stated apart.

- datatrove: ``MinhashDedupSignature``, ``Buckets``, ``Cluster`` and ``Filter`` with their defaults
  (14 buckets of 8), reader and writer as in its ``examples/minhash_deduplication.py``, in a
  ``LocalPipelineExecutor`` of one worker; words by spaCy, Chinese by jieba
- datatrove-split: the same with words by ``str.split``, which favours it
- datasketch: ``MinHash(num_perm=128)`` and ``MinHashLSH(threshold=0.7)``, queried before each
  insertion, as its documentation shows
- rensa: ``RMinHashDeduplicator(threshold=0.7, num_perm=128, use_lsh=True)`` and ``add_pairs``, as
  its README shows

datasketch and rensa take words by ``str.split`` of the lower-cased text; of Chinese, characters.
"""

from __future__ import annotations

import os

for pool in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[pool] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import argparse  # noqa: E402
import json  # noqa: E402
import shutil  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from importlib import metadata  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import orjson  # noqa: E402
import zstandard  # noqa: E402

BEGUN = time.perf_counter()
NGRAMS, THRESHOLD, PERMUTATIONS = 5, 0.7, 128
WARM_UP_DOCUMENTS = 20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tool", choices=sorted(TOOLS), required=True)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--language", default="eng")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {arguments.core})
    tool = TOOLS[arguments.tool]
    few = warm_up(arguments.input, arguments.work)
    tool(few, fresh(arguments.work / "warm-up"), arguments.language)
    start_up = time.perf_counter() - BEGUN
    seconds, processor = [], []
    for _ in range(arguments.repeats):
        folder = fresh(arguments.work / "run")
        begun, used = time.perf_counter(), time.process_time()
        tool(arguments.input, folder, arguments.language)
        seconds.append(time.perf_counter() - begun)
        processor.append(time.process_time() - used)
    kept = arguments.work / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.move(arguments.work / "run" / "kept", kept)
    package = arguments.tool.split("-")[0]
    packages = {
        name: metadata.version(name)
        for name in (package, *(("spacy",) if arguments.tool == "datatrove" else ()))
    }
    print(
        json.dumps(
            {
                "seconds": seconds,
                "processor_seconds": processor,
                "start_up_seconds": start_up,
                "packages": packages,
            }
        )
    )


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def warm_up(source: Path, work: Path) -> Path:
    """A file with the first documents."""
    path = fresh(work / "few") / source.name
    lines = []
    for line in lines_of(source):
        lines.append(line)
        if len(lines) == WARM_UP_DOCUMENTS:
            break
    path.write_bytes(zstandard.compress(b"\n".join(lines) + b"\n"))
    return path


def lines_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
        rest = b""
        while block := stream.read(1 << 20):
            *lines, rest = (rest + block).split(b"\n")
            yield from lines
    if rest:
        yield rest


def shingles_of(text: str, language: str) -> list[str]:
    words = text.lower().split() if language == "eng" else list("".join(text.split()))
    return [
        " ".join(words[place : place + NGRAMS]) for place in range(max(1, len(words) - NGRAMS + 1))
    ]


def write_kept(folder: Path, lines: list[bytes]) -> None:
    (folder / "kept").mkdir()
    with (
        (folder / "kept" / "00000.jsonl.zst").open("wb") as raw,
        zstandard.ZstdCompressor().stream_writer(raw) as stream,
    ):
        for line in lines:
            stream.write(line + b"\n")


def datasketch(source: Path, folder: Path, language: str) -> None:
    from datasketch import MinHash, MinHashLSH

    lsh = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    kept = []
    for number, line in enumerate(lines_of(source)):
        sketch = MinHash(num_perm=PERMUTATIONS)
        sketch.update_batch(
            [
                shingle.encode("utf8")
                for shingle in shingles_of(orjson.loads(line)["text"], language)
            ]
        )
        if not lsh.query(sketch):
            lsh.insert(number, sketch)
            kept.append(line)
    write_kept(folder, kept)


def rensa(source: Path, folder: Path, language: str) -> None:
    from rensa import RMinHashDeduplicator

    dedup = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=PERMUTATIONS, use_lsh=True)
    lines: list[bytes] = []

    def pairs() -> Iterator[tuple[str, list[str]]]:
        for number, line in enumerate(lines_of(source)):
            lines.append(line)
            yield str(number), shingles_of(orjson.loads(line)["text"], language)

    keep = dedup.add_pairs(pairs())
    write_kept(folder, [line for line, stays in zip(lines, keep, strict=True) if stays])


def datatrove_split(source: Path, folder: Path, language: str) -> None:
    datatrove(source, folder, language, split=True)


def datatrove(source: Path, folder: Path, language: str, split: bool = False) -> None:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter
    from loguru import logger

    logger.remove()
    config = MinhashConfig(n_grams=NGRAMS)
    place = {
        name: str(folder / name) for name in ("signatures", "buckets", "remove", "kept", "logs")
    }
    reading = JsonlReader(str(source.parent), glob_pattern=source.name, compression="zstd")
    signature = MinhashDedupSignature(place["signatures"], config=config, language=language)
    if split:
        signature.word_tokenizer = type("Split", (), {"word_tokenize": staticmethod(str.split)})
    elif "tokenizer" in TOKENIZER:
        signature.word_tokenizer = TOKENIZER["tokenizer"]  # loaded by the run before: start-up
    else:
        TOKENIZER["tokenizer"] = signature.word_tokenizer
    writer = JsonlWriter(place["kept"], output_filename="${rank}.jsonl.zst", compression="zstd")
    stages: list[tuple[int, list[Any]]] = [
        (1, [reading, signature]),
        (
            config.num_buckets,
            [MinhashDedupBuckets(place["signatures"], place["buckets"], config=config)],
        ),
        (1, [MinhashDedupCluster(place["buckets"], place["remove"], config=config)]),
        (1, [reading, MinhashDedupFilter(place["remove"]), writer]),
    ]
    for number, (tasks, pipeline) in enumerate(stages):
        LocalPipelineExecutor(
            pipeline, tasks=tasks, workers=1, logging_dir=f"{place['logs']}/{number}"
        ).run()


TOKENIZER: dict[str, Any] = {}
TOOLS = {
    "datatrove": datatrove,
    "datatrove-split": datatrove_split,
    "datasketch": datasketch,
    "rensa": rensa,
}

if __name__ == "__main__":
    sys.exit(main())
