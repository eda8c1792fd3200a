"""The whole deduplication of files, from compressed JSON Lines to kept ones with evidence: ours and
the peers', one worker on one core.

    PYTHONPATH=. python benchmarks/dedup_job.py --texts english=PATH chinese=PATH
        [--peer-megabytes 8] [--repeats 5] [--peer-repeats 3]
    PYTHONPATH=. python benchmarks/dedup_job.py --megabytes 8 --peer-megabytes 1 --documents 600
        --repeats 2 --peer-repeats 1     # a look

PATH is a ``.jsonl.zst`` file or a folder of them, whose records have a text; NAME a label, and a
label that begins with ``chinese`` tells the peers to segment Chinese. For figures to publish give
at least 200 MB of JSON per label. The second call takes a minute.

**Speed.** Everything is read from the page cache and written to disk. *All* is every file
(``--megabytes`` bounds it), ours alone; *subset* is an equal share of every file,
``--peer-megabytes`` of JSON in one file, ours and each peer on the same file. MB are millions of
bytes of uncompressed JSON read; a job's fixed costs (plan, lock, some forty files flushed) weigh on
the subset, so each peer's rate is held against ours on both. Every tool is a process of its own,
pinned to the same core with every thread pool at 1, with a run on a few documents before; imports,
compiled kernels and word tokenizers are start-up and stated apart. Ours is ``dedup_files`` with one
worker into an empty folder: documents, signatures, verified comparison, ledgers, evidence, kept
files, all flushed to disk. The peers are told in ``peers/dedup/measure.py``; they verify nothing,
keep no evidence and flush nothing, which favours them.

**Quality.** ``--documents`` documents of each label, up to 20,000 bytes long: real ones,
near-duplicates among them as they come, and a quarter made from real ones by replacing words, some
in one stretch and some scattered, to a Jaccard similarity between 0.5 and 1. The truth is exact:
Jaccard of sets of 5-word shingles for every pair (words: runs of letters and digits of the
lower-cased text, Han characters one by one). *Recall* counts pairs of at least 0.8: found if at
least one of the two was removed. *Precision* counts removed documents: right if a document that was
kept resembles them by at least 0.7, the threshold all are given (datatrove has none).

The peers' environment is installed under ``--work`` from ``peers/dedup/requirements.txt`` (0.6 GB).
Writes ``benchmarks/results/dedup_job.json``.
"""

from __future__ import annotations

import one_core  # isort: skip  (sets the thread pools)

import argparse
import functools
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import xxhash
import zstandard
from dedup_truth import Truth, mixed_documents, quality

PEERS = ("datatrove", "datasketch", "rensa")
PEER_FOLDER = one_core.HERE / "peers" / "dedup"
RUN = one_core.HERE / "dedup_job_run.py"


def main() -> None:
    arguments = parse()
    core = one_core.pin(arguments.core)
    python = None if arguments.without_peers else environment(arguments.work)
    result: dict[str, Any] = {
        "machine": one_core.machine(("pyarrow", "numba", "orjson", "zstandard"), core),
        "page_cache": "warm",
        "repeats": arguments.repeats,
        "peer_repeats": arguments.peer_repeats,
        "texts": {},
    }
    for label, path in arguments.texts:
        files = sorted(path.rglob("*.jsonl.zst")) if path.is_dir() else [path]
        if not files:
            raise SystemExit(f"no .jsonl.zst files under {path}")
        result["texts"][label] = {
            "speed": speed(label, files, python, arguments, core),
            "quality": judged(label, files, python, arguments, core),
        }
    one_core.publish("dedup_job", result)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    corpus = one_core.ROOT / "examples" / "corpus"
    default = [("english", corpus / "web-en"), ("chinese", corpus / "web-zh")]
    parser.add_argument("--texts", nargs="+", type=labelled, default=default, metavar="NAME=PATH")
    parser.add_argument(
        "--megabytes",
        type=float,
        default=float("inf"),
        help="of JSON, ours on all (default: everything)",
    )
    parser.add_argument(
        "--peer-megabytes",
        type=float,
        default=8,
        help="of JSON, ours and the peers on the subset (default: 8)",
    )
    parser.add_argument(
        "--documents", type=int, default=5000, help="of the quality part (default: 5000)"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer-repeats", type=int, default=3)
    parser.add_argument("--core", type=int, default=None)
    parser.add_argument("--work", type=Path, default=one_core.WORK)
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument(
        "--peers", nargs="+", choices=(*PEERS, "datatrove-split"), default=list(PEERS)
    )
    return parser.parse_args()


def labelled(argument: str) -> tuple[str, Path]:
    name, separator, path = argument.rpartition("=")
    return (name if separator else Path(path).name), Path(path)


# -- speed --------------------------------------------------------------------------------------


def speed(
    label: str, files: list[Path], python: Path | None, arguments: argparse.Namespace, core: int
) -> dict[str, Any]:
    folder = arguments.work / "dedup-job" / label
    whole = (
        write(folder / "all", files, arguments.megabytes * 1e6)
        if arguments.megabytes < float("inf")
        else files
    )
    (part,) = write(folder / "subset", files, arguments.peer_megabytes * 1e6, together=True)
    entire = {"megabytes": sizes(whole), **ours(whole, folder, arguments.repeats, core)}
    subset: dict[str, Any] = {
        "megabytes": sizes([part]),
        "ours": ours([part], folder, arguments.repeats, core),
    }
    for name in arguments.peers if python else ():
        subset[name] = peer(name, part, folder, label, python, arguments.peer_repeats, core)
        subset[name] |= {
            "ours_over_this": over(subset["ours"], subset[name]),
            "ours_on_all_over_this": over(entire, subset[name]),
        }
    return {"all": entire, "subset": subset}


def over(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float]:
    """How many times faster, by the wall and by processor time."""
    return {
        "wall": round(ours["mb_per_second"]["median"] / theirs["mb_per_second"]["median"], 2),
        "processor": round(ours["mb_per_processor_second"] / theirs["mb_per_processor_second"], 2),
    }


def ours(files: list[Path], folder: Path, repeats: int, core: int) -> dict[str, Any]:
    measured = one_core.fresh(
        RUN, "--output", folder / "ours", "--core", core, "--repeats", repeats, "--files", *files
    )
    return {
        **figures(measured, sizes(files)),
        **{name: measured[name] for name in ("documents", "removed", "phases_processor_seconds")},
    }


def peer(
    name: str, file: Path, folder: Path, label: str, python: Path | None, repeats: int, core: int
) -> dict[str, Any]:
    language = "zho" if label.startswith("chinese") else "eng"
    place = ("--input", file.resolve(), "--work", (folder / name).resolve())
    command = (
        PEER_FOLDER / "measure.py",
        "--tool",
        name,
        *place,
        "--language",
        language,
        "--core",
        core,
        "--repeats",
        repeats,
    )
    measured = one_core.fresh(*command, python=python or sys.executable, ours=False)
    return {**figures(measured, sizes([file])), "packages": measured["packages"]}


def figures(measured: dict[str, Any], megabytes: float) -> dict[str, Any]:
    rates = one_core.spread([megabytes / seconds for seconds in measured["seconds"]])
    return {
        "mb_per_second": {name: round(value, 3) for name, value in rates.items()},
        "mb_per_processor_second": round(megabytes / median(measured["processor_seconds"]), 3),
        "runs": len(measured["seconds"]),
        "start_up_seconds": round(measured["start_up_seconds"], 3),
    }


@functools.cache
def size_of(file: Path) -> int:
    return sum(len(line) + 1 for line in lines_of(file))


def sizes(files: list[Path]) -> float:
    """Megabytes of uncompressed JSON."""
    return sum(map(size_of, files)) / 1e6


def lines_of(file: Path) -> Iterator[bytes]:
    with zstandard.open(file, "rb") as stream:
        for line in io.BufferedReader(stream, 1 << 20):
            if record := line.rstrip(b"\n"):
                yield record


def write(folder: Path, files: list[Path], limit: float, together: bool = False) -> list[Path]:
    """An equal share of every file, in as many files or in one."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.jsonl.zst"):
        old.unlink()
    taken: dict[str, list[bytes]] = {}
    for file in files:
        total = 0
        for line in lines_of(file):
            taken.setdefault("subset.jsonl.zst" if together else file.name, []).append(line)
            total += len(line) + 1
            if total > limit / len(files):
                break
    for name, lines in taken.items():
        (folder / name).write_bytes(zstandard.compress(b"\n".join(lines) + b"\n"))
    return [folder / name for name in taken]


# -- quality ------------------------------------------------------------------------------------


def judged(
    label: str, files: list[Path], python: Path | None, arguments: argparse.Namespace, core: int
) -> dict[str, Any]:
    folder = arguments.work / "dedup-job" / label / "quality"
    folder.mkdir(parents=True, exist_ok=True)
    texts = mixed_documents(
        (orjson.loads(line).get("text") or "" for line in shares(files, arguments.documents)),
        arguments.documents,
    )
    lines = [orjson.dumps({"id": str(number), "text": text}) for number, text in enumerate(texts)]
    path = folder / "documents.jsonl.zst"
    path.write_bytes(zstandard.compress(b"\n".join(lines) + b"\n"))
    truth = Truth.of(texts)
    one_core.fresh(
        RUN, "--output", folder / "ours", "--core", core, "--repeats", 1, "--files", path
    )
    found = {"ours": quality(truth, kept_ids(folder / "ours" / "kept"))}
    for name in arguments.peers if python else ():
        peer(name, path, folder, label, python, 1, core)
        found[name] = quality(truth, kept_ids(folder / name / "kept"))
    return {
        "documents": len(texts),
        "pairs_at_0.8": truth.pairs(0.8),
        "pairs_at_0.5": truth.pairs(0.5),
        **found,
    }


def shares(files: list[Path], documents: int) -> Iterator[bytes]:
    """More documents than wanted, the first ones of every file: neighbours stay together, and so do
    natural copies.
    """
    each = 2 * documents // len(files) + 1
    for file in files:
        for number, line in enumerate(lines_of(file)):
            if number == each:
                break
            yield line


def kept_ids(folder: Path) -> list[int]:
    return [
        int(orjson.loads(line)["id"])
        for file in sorted(folder.glob("*.jsonl.zst"))
        for line in lines_of(file)
    ]


def environment(work: Path) -> Path:
    """The peers' Python, installed when it is not there or its requirements changed."""
    wanted = PEER_FOLDER / "requirements.txt"
    digest = xxhash.xxh3_64_hexdigest(wanted.read_bytes() + sys.version.encode())
    folder = (work / f"peers-dedup-{digest}").resolve()
    if not (folder / "complete").exists():
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        run = functools.partial(subprocess.run, check=True, env=clean, stdout=sys.stderr)
        run([sys.executable, "-m", "venv", "--clear", str(folder)])
        run(
            [
                str(folder / "bin" / "pip"),
                "--quiet",
                "--disable-pip-version-check",
                "install",
                "--requirement",
                str(wanted),
            ]
        )
        (folder / "complete").touch()
    return folder / "bin" / "python"


if __name__ == "__main__":
    main()
