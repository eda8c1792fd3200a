"""Language identification and Gopher quality measures: ours and the peers, same documents, one
core.

    PYTHONPATH=. python benchmarks/signals.py --texts PATH... [--megabytes 20] [--repeats 5]

PATH is a ``.jsonl.zst`` file or a folder of them; documents are taken from all files in turn, up to
``--megabytes`` of text. The process is pinned to one core with every thread pool at 1. Each figure
is the median of ``--repeats`` runs; loading the model, building the character table and compiling
(or loading compiled kernels) are stated apart. Peers: py3langid on the same cut of each text
(``norm_probs=True``, the model that we read too), and datatrove's ``GopherQualityFilter`` with its
spaCy word segmentation replaced by ``str.split``, which is our definition of a word and far faster
than spaCy. Their answers are compared with ours in the same run. Writes
``benchmarks/results/signals.json``.
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
import io  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from importlib import metadata  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import orjson  # noqa: E402
import pyarrow as pa  # noqa: E402
import zstandard  # noqa: E402

MAX_BYTES = 2000  # of each document that language identification looks at
RESULT = Path(__file__).parent / "results" / "signals.json"


def main() -> None:
    arguments = parse()
    core = max(os.sched_getaffinity(0)) if arguments.core is None else arguments.core
    os.sched_setaffinity(0, {core})
    pa.set_cpu_count(1)
    texts = take(sources(arguments.texts), arguments.megabytes * 1_000_000, arguments.text_field)
    if not texts:
        raise SystemExit("no documents found: give --texts files of .jsonl.zst with a text field")
    cut = [text.encode()[:MAX_BYTES].decode(errors="ignore") for text in texts]
    result = {
        "benchmark": "signals",
        "machine": machine(core),
        "documents": len(texts),
        "bytes": sum(len(text.encode()) for text in texts),
        "looked_at_bytes": sum(len(text.encode()) for text in cut),
        "repeats": arguments.repeats,
        "start_up_seconds": {},
    }
    result["gopher_quality"] = gopher_quality(texts, result, arguments.repeats)
    result["language"] = language(texts, cut, result, arguments.repeats)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", nargs="+", type=Path, default=[Path("examples/corpus")])
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--text-field", default="text")
    parser.add_argument("--core", type=int, default=None)
    return parser.parse_args()


def gopher_quality(texts: list[str], result: dict[str, Any], repeats: int) -> dict[str, Any]:
    """Measures plus the ten rules, against the filter that does both."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import gopher_quality_filter as peer

    from pipelines.signals import gopher, rule_sets, rules
    from pipelines.signals.characters import character_table

    column = pa.array(texts, pa.large_string())
    result["start_up_seconds"]["character_table"] = seconds(character_table)
    result["start_up_seconds"]["gopher_kernel"] = seconds(
        lambda: gopher.measure(column.slice(0, 1))
    )
    chosen = rule_sets.rule_set("gopher_quality")
    ours, (_, reasons) = median(lambda: rules.evaluate(gopher.measure(column), chosen), repeats)
    measuring, _ = median(lambda: gopher.measure(column), repeats)
    peer.split_into_words = lambda text, language: text.split()
    block = peer.GopherQualityFilter()
    documents = [Document(text=text, id="") for text in texts]
    theirs, verdicts = median(lambda: [block.filter(document) for document in documents], repeats)
    expected = [None if verdict is True else verdict[1] for verdict in verdicts]
    same = sum(a == b for a, b in zip(reasons.to_pylist(), expected, strict=True))
    return {
        "ours_mb_per_s": rate(result["bytes"], ours),
        "ours_without_rules_mb_per_s": rate(result["bytes"], measuring),
        "datatrove_whitespace_words_mb_per_s": rate(result["bytes"], theirs),
        "times_faster": round(theirs / ours, 1),
        "same_verdict_and_reason": same,
    }


def language(
    texts: list[str], cut: list[str], result: dict[str, Any], repeats: int
) -> dict[str, Any]:
    """Labels and confidences, against py3langid on the same bytes."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    from pipelines.signals.language import UNDETERMINED, LanguageModel, detect

    column = pa.array(texts, pa.large_string())
    result["start_up_seconds"]["language_model"] = seconds(LanguageModel.load)
    model = LanguageModel.load()
    result["start_up_seconds"]["language_kernels"] = seconds(
        lambda: detect(column.slice(0, 1), model)
    )
    ours, (labels, scores) = median(lambda: detect(column, model, MAX_BYTES), repeats)
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    theirs, answers = median(lambda: [identifier.classify(text) for text in cut], repeats)
    pairs = list(zip(labels.to_pylist(), scores.to_pylist(), answers, strict=True))
    decided = [(label, score, answer) for label, score, answer in pairs if label != UNDETERMINED]
    return {
        "ours_mb_per_s_looked_at": rate(result["looked_at_bytes"], ours),
        "ours_mb_per_s_whole_documents": rate(result["bytes"], ours),
        "py3langid_mb_per_s_looked_at": rate(result["looked_at_bytes"], theirs),
        "times_faster": round(theirs / ours, 1),
        "same_label": sum(label == answer[0] for label, _, answer in decided),
        "undetermined": len(pairs) - len(decided),
        "largest_difference_of_confidence": max(
            (abs(score - answer[1]) for _, score, answer in decided), default=0.0
        ),
    }


def sources(paths: list[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        files += sorted(path.rglob("*.jsonl.zst")) if path.is_dir() else [path]
    return files


def take(files: list[Path], limit: float, field: str) -> list[str]:
    """Documents of all files in turn, up to ``limit`` bytes."""
    open_files = [lines(file) for file in files]
    texts: list[str] = []
    size = 0
    while open_files and size < limit:
        for stream in list(open_files):
            line = next(stream, None)
            if line is None:
                open_files.remove(stream)
                continue
            text = orjson.loads(line).get(field)
            if isinstance(text, str) and size < limit:
                texts.append(text)
                size += len(text.encode())
    return texts


def lines(file: Path) -> Iterator[bytes]:
    with file.open("rb") as raw:
        yield from io.BufferedReader(
            zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True), 1 << 20
        )


def median(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Median seconds of ``repeats`` runs, and what the last one returned."""
    taken = []
    for _ in range(repeats):
        begin = time.perf_counter()
        outcome = work()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken), outcome


def seconds(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return round(time.perf_counter() - begin, 3)


def rate(size: int, taken: float) -> float:
    return round(size / 1e6 / taken, 2)


def machine(core: int) -> dict[str, Any]:
    processor = next(
        (line.split(":", 1)[1].strip() for line in cpuinfo() if line.startswith("model name")),
        platform.processor(),
    )
    packages = ("numba", "numpy", "pyarrow", "datatrove", "py3langid")
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "pinned_to_core": core,
        "load_average": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages},
    }


def cpuinfo() -> list[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text().splitlines() if file.exists() else []


if __name__ == "__main__":
    main()
