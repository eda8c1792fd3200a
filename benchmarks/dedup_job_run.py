"""Our whole deduplication of files, measured in a process of its own; the last line of standard
output is a JSON object.

    PYTHONPATH=. python benchmarks/dedup_job_run.py --files FILE... --output FOLDER
        --core 1 --repeats 5

With more than one FILE all are deduplicated together; the repeats come one after another.
"""

from __future__ import annotations

import time

BEGUN = time.perf_counter()

import one_core  # noqa: E402  isort: skip  (sets the thread pools)

import argparse  # noqa: E402
import json  # noqa: E402
import shutil  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from pipelines.deduplicate.files import DedupOutcome, dedup_files  # noqa: E402
from pipelines.executors.progress import Silent  # noqa: E402


class Phases(Silent):
    """When each phase of a run begins, in processor seconds."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, float]] = [("plan", time.process_time())]

    def phase(self, title: str, *rest: Any) -> None:
        self.begun.append((title, time.process_time()))

    def seconds(self) -> dict[str, float]:
        ends = [begun for _, begun in self.begun[1:]] + [time.process_time()]
        return {
            title: round(end - begun, 3)
            for (title, begun), end in zip(self.begun, ends, strict=True)
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", nargs="+", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--core", type=int, default=None)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    one_core.pin(arguments.core)
    warm_up(arguments.output)
    start_up = time.perf_counter() - BEGUN
    seconds, processor = [], []
    for _ in range(arguments.repeats):
        phases = Phases()
        begun, used = time.perf_counter(), time.process_time()
        done = deduplicated(arguments.files, arguments.output, phases)
        seconds.append(time.perf_counter() - begun)
        processor.append(time.process_time() - used)
        last = phases.seconds()
    print(
        json.dumps(
            {
                "seconds": seconds,
                "processor_seconds": processor,
                "start_up_seconds": start_up,
                "phases_processor_seconds": last,
                "documents": done.entered.documents,
                "removed": sum(count.documents for count in done.removed.values()),
            }
        )
    )


def warm_up(output: Path) -> None:
    """Load or make every kernel."""
    folder = output.with_name(output.name + "-warm-up")
    folder.mkdir(parents=True, exist_ok=True)
    few = folder / "few.jsonl"
    texts = [
        "one two three four five six",
        "one two three four five six",
        "one two three four five six seven",
    ]
    few.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    deduplicated([str(few)], folder / "out", Phases())


def deduplicated(files: list[str], output: Path, phases: Phases) -> DedupOutcome:
    shutil.rmtree(output, ignore_errors=True)
    return dedup_files(files, str(output), progress=phases)


if __name__ == "__main__":
    main()
