"""Cutting repeated passages, lines and paragraphs on one core: how fast, whether every planted
passage is found, and a suffix array.

    PYTHONPATH=. python benchmarks/dedup_substring.py --texts NAME=PATH...
        [--megabytes 200] [--repeats 5]

PATH is a ``.jsonl.zst`` file or a folder of them and NAME a label for the result, such as
``english=...`` and ``chinese=...``. Documents are read into memory first (``--megabytes`` of text
of each), and reading is not part of any figure. The process is pinned to one core with every thread
pool at 1. Figures are MB of text per second, the median of ``--repeats`` runs after a warm-up, by
the wall and by the processor time of this process. Loading compiled kernels is stated apart.

**Speed.** Passages of at least ``--length`` words (characters in scripts without spaces), in keep
order by a random rank: ``whole`` is everything from texts to texts without the spans, ``spans``
finds and compares them, and each step by itself. Lines and paragraphs likewise.

**Planted.** ``--planted`` passages of ``--length`` to 500 words that occur nowhere else are put
into the same documents, each at two to four random places and between words of their own, and as
many of 10 words up to one below the length. ``found`` counts the copies, all but the first in keep
order, of which every word is gone; ``kept`` the first copies of which every word stays;
``short_kept`` the copies below the length of which every word stays.

**Suffix array.** On ``--peer-megabytes`` of the same documents libdivsufsort (through pydivsufsort,
where it is installed) sorts all suffixes of the bytes, and Kasai's algorithm gives their common
prefixes: what google's deduplicate-text-datasets (Lee et al. 2021) and all that call it do first.
Time is of these two alone; what is cut, and joining the parts of a sharded array, would come on
top. From the same array follows which windows of ``--length`` words occur twice: ``missed`` counts
those that neighbours in it prove and that were not found here. deduplicate-text-datasets itself,
and datatrove's and text-dedup's calls of it, need its Rust programs to be compiled; they are not
run. Writes ``benchmarks/results/dedup_substring.json``, or ``--output``.
"""

from __future__ import annotations

import one_core  # isort: skip  (sets the thread pools)

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import zstandard
from numpy.typing import NDArray

LONGEST = 500
SHORTEST = 10


def main() -> None:
    arguments = parse()
    core = one_core.pin(arguments.core)
    pa.set_cpu_count(1)
    result: dict[str, Any] = {
        "machine": one_core.machine(("numba", "numpy", "pyarrow"), core),
        "repeats": arguments.repeats,
    }
    result |= {"length": arguments.length, "start_up_seconds": start_up()}
    for label, path in arguments.texts:
        texts = take(path, arguments.megabytes * 1e6)
        if len(texts) == 0:
            raise SystemExit(f"no documents under {path}: give .jsonl.zst files with a text field")
        result[label] = {
            **speed(texts, arguments.length, arguments.repeats),
            "planted": planted(texts, arguments.length, arguments.planted),
            "suffix_array": suffix_array(texts, arguments.length, arguments.peer_megabytes * 1e6),
        }
    if arguments.output is None:
        one_core.publish("dedup_substring", result)
    else:
        arguments.output.write_text(
            json.dumps({"benchmark": "dedup_substring", **result}, indent=2) + "\n",
            encoding="utf-8",
        )


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
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--peer-megabytes", type=float, default=10)
    parser.add_argument("--length", type=int, default=50)
    parser.add_argument("--planted", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--core", type=int, default=None)
    parser.add_argument("--output", type=Path, default=None)
    return parser.parse_args()


def labelled(argument: str) -> tuple[str, Path]:
    name, separator, path = argument.rpartition("=")
    return (name if separator else Path(path).name), Path(path)


def start_up() -> dict[str, float]:
    """Seconds until the first span, by cause."""
    begun = time.perf_counter()
    from dedup import words
    from dedup.spans import lines as line_spans
    from dedup.spans import passages as repeated_spans
    from dedup.spans import spans

    imported = time.perf_counter()
    words.character_table()
    tabled = time.perf_counter()
    texts = pa.array(["one two three four five six seven eight nine ten"] * 2, pa.large_string())
    found = repeated_spans.repeated_spans(texts, np.arange(2), 8)
    spans.cut(texts, found.row, found.start, found.end)
    line_spans.repeated_lines(texts, np.arange(2))
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


def text_bytes(texts: pa.LargeStringArray) -> int:
    offsets = np.frombuffer(texts.buffers()[1], np.int64, len(texts) + 1, texts.offset * 8)
    return int(offsets[-1] - offsets[0])


# -- speed ----------------------------------------------------------------------------------------


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


def speed(texts: pa.LargeStringArray, length: int, repeats: int) -> dict[str, Any]:
    """Megabytes of text per second of each step, and how much of the text goes."""
    from dedup.spans.lines import repeated_lines
    from dedup.spans.passages import (
        anchors,
        ends_with_separators,
        repeated,
        repeated_spans,
        windows,
    )
    from dedup.spans.spans import cut, join_runs, repeating, verified

    size, priority = (
        text_bytes(texts),
        np.random.default_rng(1).permutation(len(texts)).astype(np.int64),
    )
    hashes, _ = anchors(texts, length)
    flags = repeated(hashes)
    found = windows(texts, length, flags)
    proposed = repeating(found, priority[found.row])
    joined = join_runs(proposed)
    spans = repeated_spans(texts, priority, length)

    def whole() -> None:
        own = repeated_spans(texts, priority, length)
        cut(texts, own.row, own.start, own.end)

    def share(spans: Any) -> float:
        return round(float(cut(texts, spans.row, spans.start, spans.end)[1].sum()) / size, 4)

    def rate(work: Callable[[], object]) -> dict[str, float]:
        return rates(work, size, repeats)

    result = {
        "documents": len(texts),
        "bytes": size,
        "whole": rate(whole),
        "spans": rate(lambda: repeated_spans(texts, priority, length)),
        "anchors": rate(lambda: anchors(texts, length)),
        "anchors_that_occur_twice": rate(lambda: repeated(hashes)),
        "windows": rate(lambda: windows(texts, length, flags)),
        "windows_that_stood_before": rate(lambda: repeating(found, priority[found.row])),
        "joined": rate(lambda: join_runs(proposed)),
        "compared": rate(
            lambda: verified(texts, joined, ends_with_separators(texts, joined.row, joined.end))
        ),
        "cut": rate(lambda: cut(texts, spans.row, spans.start, spans.end)),
        "anchor_count": len(hashes),
        "window_count": len(found),
        "span_count": len(spans),
        "share_of_bytes": share(spans),
    }
    for unit in ("line", "paragraph"):
        own = repeated_lines(texts, priority, unit)  # type: ignore[arg-type]
        result[unit] = {
            **rate(lambda unit=unit: repeated_lines(texts, priority, unit)),
            "span_count": len(own),
            "share_of_bytes": share(own),
        }
    return result


# -- planted passages -----------------------------------------------------------------------------


def planted(texts: pa.LargeStringArray, length: int, count: int) -> dict[str, int]:
    """Copies of passages of known lengths put into the texts, and what became of them."""
    from dedup.spans.passages import repeated_spans
    from dedup.spans.spans import cut

    random = np.random.default_rng(2)
    rank = random.permutation(len(texts)).astype(np.int64)
    long = np.rint(np.linspace(length, max(length, LONGEST), count)).astype(int)
    short = random.integers(min(SHORTEST, length - 1), length, count)
    documents, copies = [text.split(" ") for text in texts.to_pylist()], []
    for number, words in enumerate([*long, *short]):
        rows = random.choice(len(texts), min(len(texts), int(random.integers(2, 5))), replace=False)
        copies += [(number, int(row), int(words)) for row in rows]
    for copy, (number, row, words) in enumerate(copies):
        inside = [
            f"begin{copy}x",
            *(f"planted{number}w{word}" for word in range(words)),
            f"end{copy}x",
        ]
        documents[row].insert(int(random.integers(len(documents[row]) + 1)), " ".join(inside))
    changed = pa.array([" ".join(words) for words in documents], pa.large_string())
    spans = repeated_spans(changed, rank, length)
    left = cut(changed, spans.row, spans.start, spans.end)[0].to_pylist()
    first = {
        number: min(int(rank[row]) for other, row, _ in copies if other == number)
        for number, _, _ in copies
    }
    outcome = {
        "passages": 2 * count,
        "copies_after_the_first": 0,
        "found": 0,
        "first_copies": 0,
        "kept": 0,
        "short_copies": 0,
        "short_kept": 0,
    }
    for number, row, words in copies:
        there = sum(f"planted{number}w{word} " in left[row] for word in range(words))
        if number >= count:
            outcome["short_copies"] += 1
            outcome["short_kept"] += there == words
        elif rank[row] == first[number]:
            outcome["first_copies"] += 1
            outcome["kept"] += there == words
        else:
            outcome["copies_after_the_first"] += 1
            outcome["found"] += there == 0
    return outcome


# -- a suffix array of the same texts --------------------------------------------------------------


def suffix_array(texts: pa.LargeStringArray, length: int, limit: float) -> dict[str, Any]:
    """A suffix array over the bytes of some of the documents, and whether windows that it proves to
    occur twice were found.
    """
    if importlib.util.find_spec("pydivsufsort") is None:
        return {"not_available": "pydivsufsort is not installed"}
    import pydivsufsort

    subset = texts.take(pa.array(range(0, len(texts), max(1, round(text_bytes(texts) / limit)))))
    # no byte of UTF-8 is 0xff
    raw = np.frombuffer(
        b"\xff".join(text.encode() for text in subset.to_pylist()) + b"\xff", np.uint8
    ).copy()
    begun, used = time.perf_counter(), time.process_time()
    array = pydivsufsort.divsufsort(raw)
    common = pydivsufsort.kasai(raw, array)
    wall, processor = time.perf_counter() - begun, time.process_time() - used
    first, size, end = word_windows(subset, length)
    twice = found_twice(subset, length, first)
    return {
        "documents": len(subset),
        "bytes": len(raw),
        "mb_per_second": round(len(raw) / wall / 1e6, 3),
        "mb_per_processor_second": round(len(raw) / processor / 1e6, 3),
        **agreement(array, common, first, size, end, twice),
    }


def word_windows(
    texts: pa.LargeStringArray, length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Where each window begins in the joined bytes (with one byte behind each text), its bytes, and
    which bytes end a word.
    """
    from artifacts.text_buffers import text_buffers
    from dedup.spans.exact_words import scan_exact
    from dedup.words import character_table

    values, offsets = text_buffers(texts)
    ending = np.zeros(int(offsets[-1]) + len(texts) + 1, np.bool_)
    first, size = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for row, (start, stop) in enumerate(zip(offsets.tolist(), offsets[1:].tolist(), strict=False)):
        room = max(1, stop - start)
        starts, ends = np.empty(room, np.int64), np.empty(room, np.int64)
        found = scan_exact(
            values,
            start,
            stop,
            character_table(),
            starts,
            ends,
            np.empty(room, np.uint64),
            np.empty(room, np.uint64),
        )
        ending[ends[:found] + row] = True
        if found >= length:
            first.append(starts[: found - length + 1] + row)
            size.append(ends[length - 1 : found] - starts[: found - length + 1])
    return np.concatenate(first), np.concatenate(size), ending


def found_twice(
    texts: pa.LargeStringArray, length: int, first: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which of the windows occur twice by our own account."""
    from artifacts.text_buffers import text_buffers
    from dedup.spans.passages import anchors, repeated, windows

    found = windows(texts, length, repeated(anchors(texts, length)[0]))
    offsets = text_buffers(texts)[1]
    places = offsets[found.row] + found.start + found.row
    return np.isin(first, places[repeated(found.key)])


def agreement(
    array: Any, common: Any, first: Any, size: Any, ending: Any, twice: Any
) -> dict[str, int]:
    """Windows whose bytes a neighbour in the array has too, ending a word there: all of them have
    to be among ``twice``.
    """
    rank = np.empty(len(array), np.int64)
    rank[array] = np.arange(len(array))
    place = rank[first]
    prefix = np.asarray(common, np.int64)  # of suffix k and suffix k + 1
    proved = np.zeros(len(first), np.bool_)
    for step in (-1, 1):
        other = np.clip(place + step, 0, len(array) - 1)
        shared = np.where(other == place, 0, prefix[np.minimum(place, other)])
        there = np.minimum(array[other] + size, len(ending) - 1)
        word_begins = np.isin(array[other], first)
        proved |= (shared >= size) & ending[there] & word_begins
    return {
        "windows": len(first),
        "windows_found_twice": int(twice.sum()),
        "windows_proved_by_neighbours": int(proved.sum()),
        "missed": int((proved & ~twice).sum()),
    }


if __name__ == "__main__":
    main()
