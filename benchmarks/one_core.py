"""What every figure needs: one core, one thread, the machine's name, and a median with its spread.

Import it before numpy: it sets every thread pool to 1.
"""

from __future__ import annotations

import os

POOLS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
for pool in POOLS:
    os.environ[pool] = "1"

import json  # noqa: E402
import platform  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from importlib import metadata  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results"
WORK = Path("runs") / "benchmarks"  # large files that are made once; not part of the repository


def pin(core: int | None) -> int:
    """Keep this process on one core, by default the last one usable; returns it."""
    core = max(os.sched_getaffinity(0)) if core is None else core
    os.sched_setaffinity(0, {core})
    return core


def machine(packages: Sequence[str], core: int | None = None) -> dict[str, Any]:
    """Which machine and versions a result is of."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    processor = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )
    pinned = {} if core is None else {"pinned_to_core": core}
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        **pinned,
        "load_average": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages},
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def fresh(
    script: Path | str, *arguments: object, python: Path | str = sys.executable, ours: bool = True
) -> dict[str, Any]:
    """Run a script in a process of its own; the last line of its standard output is a JSON object.

    ``ours``: whether the process may import this project.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if not ours:
        del environment["PYTHONPATH"]
    command = [str(python), str(script), *(str(argument) for argument in arguments)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with code {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def publish(name: str, result: dict[str, Any]) -> None:
    """Write a result and print it."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"benchmark": name, **result}, indent=2)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(text)
