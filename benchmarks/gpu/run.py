"""Everything, in one command, in less than nine minutes on an H200.

    python -m benchmarks.gpu.run                        # on a GPU: results/, then README.md
                                                        # here and docs/performance.md
    python -m benchmarks.gpu.run --device cpu --tiny    # that it runs; results go to
                                                        # runs/benchmarks/gpu

Each part is a process of its own with a limit in seconds. What a part has measured stays when it
fails or is stopped, marked as partial; the others run all the same. Exit code 1 when one failed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

from benchmarks.gpu.session import Record, Session, begin

ROOT = __file__.rpartition("/benchmarks/")[0]


@dataclass(frozen=True)
class Part:
    """A script here with arguments of its own, and how long it may take."""

    name: str
    limit: int
    arguments: tuple[str, ...] = ()


PARTS = (
    Part("check", 120),
    Part("train", 85, ("--model", "2.4B")),
    Part("train", 75, ("--model", "1.2B")),
    Part("kernels", 125),
    Part("parity", 60),
    Part("questions", 55),
)
"""In the order of what to know first; their limits come to 520 seconds."""


def main(arguments: list[str] | None = None) -> int:
    session = begin(__doc__, arguments=arguments)
    record = Record(session, "run")
    told = {}
    for part in PARTS:
        if session.tiny and part.arguments == ("--model", "1.2B"):
            continue  # toy sizes know one model
        name = " ".join((part.name, *part.arguments))
        print(f"== {name}, at most {part.limit} s", flush=True)
        told[name] = run(session, part)
        record["parts"] = told
        print(f"== {name}: {told[name]}", flush=True)
    record.done()
    if not session.tiny and session.options.output is None:
        for page in ("benchmarks.gpu.make_readme", "benchmarks.make_performance_page"):
            subprocess.run([sys.executable, "-m", page], cwd=ROOT, check=True)
    return 0 if all(one["ended"] == "done" for one in told.values()) else 1


def run(session: Session, part: Part) -> dict[str, object]:
    """How a part ended and how long it took."""
    options = [
        "--device",
        session.device.type,
        "--output",
        str(session.output.resolve()),
        *(["--tiny"] if session.tiny else []),
    ]
    command = [
        sys.executable,
        "-m",
        f"benchmarks.gpu.{part.name}",
        *options,
        *([] if session.tiny else part.arguments),
    ]
    began = time.monotonic()
    # also where Python keeps the working folder off its path
    environment = {**os.environ, "PYTHONPATH": ROOT}
    # nearly full memory must not fragment
    environment["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        code = process.wait(part.limit)
        ended = "done" if code == 0 else f"exit code {code}"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        ended = f"stopped after {part.limit} s"
    return {"ended": ended, "seconds": round(time.monotonic() - began, 1)}


if __name__ == "__main__":
    raise SystemExit(main())
