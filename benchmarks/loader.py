"""Tokens per second of reading batches from a warm page cache on one core: ours, the floor, and
peers on the same tokens.

    PYTHONPATH=. python benchmarks/loader.py --texts PATH... [--tokens 400e6]
        [--seconds 20] [--repeats 5]
    PYTHONPATH=. python benchmarks/loader.py --tokens 20e6 --seconds 2
        --repeats 1 --without-peers     # a look

The tokens are real text in three sources (:mod:`token_data`), in windows of 4,096, read in shuffled
order in batches of 8 and of 64. Ours gives inputs, targets, loss weights, position ids, documents
and their borders; the floor copies the same windows in the same order from a bare memory-mapped
uint16 file into one int64 array. The peers give tokens alone, which favours them; those named
``+borders`` make from these what ours gives, in vectorised numpy: that is the comparison of like
with like.

Each measurement is a process of its own, pinned to the same core with every thread pool at 1; all
read their files once before, so that the page cache holds them (``major_faults`` counts pages that
were not there), and go through epoch after epoch for ``--seconds``. The measurements of a repeat
follow one another before the next repeat begins, so that a slow minute of a shared machine falls on
all. Start-up, with imports and compiled kernels loaded or made, is stated apart.

Peers are installed into an environment of their own under ``--work`` (some 1.5 GB, a minute or
more): see ``peers/loaders``. Disk: about 2 bytes per token for ours, the floor, and each of two
peers. Writes ``benchmarks/results/loader.json``.
"""

from __future__ import annotations

import one_core  # isort: skip  (sets the thread pools)

import argparse
import functools
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import xxhash
from token_data import TokenData, add_options, prepare

PEERS = (
    "streaming",
    "datasets-numpy",
    "datasets-torch",
    "dataloader",
    "streaming+borders",
    "datasets-numpy+borders",
    "dataloader+borders",
)
PEER_FOLDER = one_core.HERE / "peers" / "loaders"
TORCH = "torch==2.13.0"
RUN = one_core.HERE / "loader_run.py"


def main() -> None:
    arguments = parse()
    core = one_core.pin(arguments.core)
    data = prepare(arguments.work, arguments.texts, int(arguments.tokens))
    stream = data.stream(arguments.window)
    one_core.fresh(RUN, "order", "--folder", data.folder, "--window", arguments.window)
    python = None if arguments.without_peers else environment(arguments.work)
    work = data.folder / "peers"
    peers: dict[str, Any] = {}
    if python is not None:
        for name in arguments.peers:
            peers[name] = one_core.fresh(
                *peer(name, stream, work, arguments, core), "--prepare", python=python, ours=False
            )
    runs: dict[str, list[dict[str, Any]]] = {}
    for _ in range(arguments.repeats):
        for batch in arguments.batches:
            for what in ("loader", "memmap"):
                command = (RUN, what, "--folder", data.folder, *options(batch, arguments, core))
                runs.setdefault(f"{what}/{batch}", []).append(one_core.fresh(*command))
            for name in peers:
                command = (
                    *peer(name, stream, work, arguments, core),
                    *options(batch, arguments, core),
                )
                runs.setdefault(f"{name}/{batch}", []).append(
                    one_core.fresh(*command, python=python, ours=False)
                )
    result = {
        "machine": one_core.machine(("numpy", "pyarrow", "numba"), core),
        "peer_packages": {name: facts["packages"] for name, facts in peers.items()},
        "window": arguments.window,
        "repeats": arguments.repeats,
        "seconds_per_run": arguments.seconds,
        "page_cache": "warm: files were read once before each run",
        "data": described(data),
        "batches": {str(batch): figures(batch, runs) for batch in arguments.batches},
    }
    one_core.publish("loader", result)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, 400e6)
    parser.add_argument("--window", type=int, default=4096)
    parser.add_argument(
        "--batches",
        type=int,
        nargs="+",
        default=[8, 64],
        help="windows per batch (default: 8 and 64)",
    )
    parser.add_argument("--seconds", type=float, default=20, help="of each run (default: 20)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--core", type=int, default=None)
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    return parser.parse_args()


def options(batch: int, arguments: argparse.Namespace, core: int) -> tuple[object, ...]:
    return (
        "--window",
        arguments.window,
        "--batch",
        batch,
        "--seconds",
        arguments.seconds,
        "--core",
        core,
    )


def peer(
    name: str, stream: Path, work: Path, arguments: argparse.Namespace, core: int
) -> tuple[object, ...]:
    """Script and arguments of a peer."""
    place = ("--stream", stream.resolve(), "--work", (work / str(arguments.window)).resolve())
    loader, _, borders = name.partition("+")
    wanted = ("--borders",) if borders else ()
    return (
        PEER_FOLDER / "measure.py",
        "--loader",
        loader,
        *wanted,
        *place,
        "--window",
        arguments.window,
        "--core",
        core,
    )


def environment(work: Path) -> Path:
    """The peers' Python, installed when it is not there or its requirements changed."""
    lists = [PEER_FOLDER / "requirements.txt", PEER_FOLDER / "requirements-no-deps.txt"]
    digest = xxhash.xxh3_64_hexdigest(
        TORCH.encode() + b"".join(path.read_bytes() for path in lists) + sys.version.encode()
    )
    folder = (work / f"peers-loaders-{digest}").resolve()
    if not (folder / "complete").exists():
        pip = [str(folder / "bin" / "pip"), "--quiet", "--disable-pip-version-check", "install"]
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        run = functools.partial(subprocess.run, check=True, env=clean, stdout=sys.stderr)
        run([sys.executable, "-m", "venv", "--clear", str(folder)])
        (folder / "constraints.txt").write_text(TORCH + "\n")
        run([*pip, TORCH])
        run([*pip, "--constraint", str(folder / "constraints.txt"), "--requirement", str(lists[0])])
        run([*pip, "--no-deps", "--requirement", str(lists[1])])
        (folder / "complete").touch()
    return folder / "bin" / "python"


def figures(batch: int, runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Rates by loader, and how they relate: each repeat's quotient, then the median."""
    own = {key.split("/")[0]: found for key, found in runs.items() if key.endswith(f"/{batch}")}
    rates = {name: [run["tokens"] / run["seconds"] for run in found] for name, found in own.items()}
    ours = rates["loader"]
    out: dict[str, Any] = {}
    for name, found in own.items():
        out[name] = {
            "tokens_per_second": {
                key: round(value) for key, value in one_core.spread(rates[name]).items()
            },
            "tokens_per_processor_second": round(
                median(run["tokens"] / run["processor_seconds"] for run in found)
            ),
            "bytes_per_token": found[0]["bytes_per_token"],
            "major_faults": max(run["major_faults"] for run in found),
        }
        if "start_up_seconds" in found[0]:
            parts = found[0]["start_up_seconds"]
            out[name]["start_up_seconds"] = {
                part: round(median(run["start_up_seconds"][part] for run in found), 3)
                for part in parts
            }
        if name != "loader":
            out[name]["ours_over_this"] = round(
                median(one / other for one, other in zip(ours, rates[name], strict=True)), 3
            )
    return out


def described(data: TokenData) -> dict[str, Any]:
    """What the tokens are."""
    return {
        "tokens": sum(source["tokens"] for source in data.facts["sources"].values()),
        "sources": data.facts["sources"],
    }


if __name__ == "__main__":
    main()
