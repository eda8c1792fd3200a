"""Whether one checkout is slower than another, in processor time: pairs, and a control against
itself.

    python benchmarks/same_speed.py --old COMMIT --new . [--figure signals…] [--pairs 15]

Four figures: ``dedup_signatures`` (band keys of texts), ``signals`` (Gopher measures), ``loader``
(batches from shards), ``training`` (steps of the preset ``tiny``). A round runs three processes
one after another on one core with every thread pool at 1: the old checkout, the new one, and the
old one again as a control; the next round runs them in another order. A process loads its kernels
and goes through its work once before the clock starts, so the figure holds neither imports nor
compilation. The ratio of a round is new over old, that of the control old over old; the interval of
their median is exact (order statistics, at least 95 %). What the work reads is made by the old
checkout once: the shards of ``recipes/quickstart.yaml``.

Four more read the files of ``--inputs`` by their suffixes, each repeated to 20 seconds:
``read_jsonl``, ``read_parquet``, ``read_warc``, ``read_html``.

Writes ``benchmarks/results/same_speed.json``. Exit status 1 where an interval reaches above
``--bound``.
"""

from __future__ import annotations

import one_core  # isort: skip  (sets the thread pools)

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from order_statistics import median_interval

FIGURES = ("dedup_signatures", "signals", "loader", "training")
READ_FIGURES = ("read_jsonl", "read_parquet", "read_warc", "read_html")
SIDES = ("old", "new", "control")
WORK = Path(__file__).with_name("same_speed_work.py")
COMMAND = "from pipelines.launch import main; main()"


def main() -> None:
    arguments = parse()
    core = one_core.pin(arguments.core)
    with checkout(arguments.old) as old, checkout(arguments.new) as new:
        places = {"old": old, "control": old, "new": new}
        commit = commit_of(old)
        asked = [name for name in arguments.figure if name in FIGURES]
        run = material(old, arguments.work) if asked else arguments.inputs
        figures = {
            name: rounds(
                name, places, run if name in FIGURES else arguments.inputs, arguments.pairs
            )
            for name in arguments.figure
        }
    one_core.publish(
        "same_speed",
        {
            "machine": one_core.machine(("numpy", "numba", "pyarrow", "torch"), core),
            "old": commit,
            "bound": arguments.bound,
            "figures": figures,
        },
    )
    slower = [name for name, figure in figures.items() if figure["new"]["high"] > arguments.bound]
    if slower:
        raise SystemExit(f"the interval reaches above {arguments.bound} for {', '.join(slower)}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--old", required=True, help="a checkout or a commit")
    parser.add_argument("--new", default=".", help="a checkout or a commit")
    parser.add_argument(
        "--figure", nargs="+", choices=FIGURES + READ_FIGURES, default=list(FIGURES)
    )
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--bound", type=float, default=1.03)
    parser.add_argument("--work", type=Path, default=one_core.WORK / "same_speed")
    parser.add_argument("--inputs", type=Path, default=one_core.ROOT / "examples" / "corpus")
    parser.add_argument("--core", type=int, default=None)
    return parser.parse_args()


@contextlib.contextmanager
def checkout(place: str) -> Iterator[Path]:
    """A folder as it is, or a commit checked out for as long as the block runs."""
    if (Path(place) / "pyproject.toml").is_file():
        yield Path(place).resolve()
        return
    git = ["git", "-C", str(one_core.ROOT), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*git, "add", "--quiet", "--detach", f"{folder}/tree", place], check=True)
        try:
            yield Path(folder) / "tree"
        finally:
            subprocess.run([*git, "remove", "--force", f"{folder}/tree"], check=True)


def commit_of(place: Path) -> str:
    """The commit that a checkout stands at."""
    command = ["git", "-C", str(place), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def material(old: Path, work: Path) -> Path:
    """A run folder with texts, tokenizer and shards, made by the old checkout; found if made."""
    work.mkdir(parents=True, exist_ok=True)
    recipe = one_core.ROOT / "recipes" / "quickstart.yaml"
    command = ["run", str(recipe), "--until", "shards", "--runs", str(work.resolve())]
    environment = {**os.environ, "PYTHONPATH": str(old)}
    subprocess.run(
        [sys.executable, "-c", COMMAND, *command], check=True, env=environment, stdout=sys.stderr
    )
    return work.resolve() / "quickstart"


def rounds(figure: str, places: dict[str, Path], run: Path, pairs: int) -> dict[str, Any]:
    """Processor seconds of each side in each round, and the ratios to the old checkout."""
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(pairs):
        first = number % len(SIDES)
        for side in (*SIDES[first:], *SIDES[:first]):
            seconds[side].append(measured(figure, places[side], run))
        line = ", ".join(f"{side} {seconds[side][-1]:.3f} s" for side in SIDES)
        print(f"{figure} {number + 1}/{pairs}: {line}", file=sys.stderr)
    ratios = {
        side: [value / old for value, old in zip(seconds[side], seconds["old"], strict=True)]
        for side in ("new", "control")
    }
    return {
        "pairs": pairs,
        "processor_seconds": {side: one_core.spread(values) for side, values in seconds.items()},
        **{side: median_interval(values) for side, values in ratios.items()},
    }


def measured(figure: str, place: Path, run: Path) -> float:
    """Processor seconds of a figure's work in a fresh process of one checkout."""
    done = subprocess.run(
        [sys.executable, str(WORK), figure, str(run)],
        env={**os.environ, "PYTHONPATH": str(place), "PYTHONSAFEPATH": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    if not Path(answer["house"]).is_relative_to(place):
        raise SystemExit(f"measured {answer['house']}, not {place}")
    return float(answer["processor_seconds"])


if __name__ == "__main__":
    main()
