"""README.md of this folder, from the results that are there.

    python -m benchmarks.gpu.make_readme          # writes benchmarks/gpu/README.md
    python -m benchmarks.gpu.make_readme --check  # exit code 1 when the page is not that of the results

Each check stands with what it shows, its target and the day it was last measured. A result of a CPU
or of toy sizes is no measurement.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.catalogue import CHECKS, Result

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "results", HERE / "README.md"
NEVER = "not yet measured"

HEAD = """# On a GPU

Made by `make_readme.py` from `results/*.json`; do not edit.

One command on a machine with a GPU (an H200 is what targets speak of), in less than nine minutes; torch, Triton and numpy are all it needs:

```sh
python -m benchmarks.gpu.run
```

It runs the parts below one after another, each in a process of its own with a time limit, writes `results/`, this page and
[docs/performance.md](../../docs/performance.md). A part runs alone as `python -m benchmarks.gpu.check` and so on. On a machine without
a GPU the same code runs at toy sizes in half a minute, which shows that it runs and measures nothing:

```sh
python -m benchmarks.gpu.run --device cpu --tiny
```

| file | holds |
|---|---|
| `catalogue.py`, `make_readme.py` | the checks below, this page |
| `check.py`, `judging.py`, `hard_cases.py` | are numbers, gradients and bits right, does nothing wait for the device |
| `kernels.py`, `operations.py`, `in_place.py`, `peers.py` | times beside torch, Liger and QuACK where installed, as a share of the floor |
| `train.py`, `training.py` | whole steps of the 1.2B and the 2.4B |
| `parity.py` | learning in bf16 and in 8-bit floats against fp32 |
| `questions.py` | what was assumed and can be answered by a device |
| `session.py`, `timing.py`, `shapes.py` | what all share |

A kernel's floor is its bytes over the copy bandwidth, or its operations over the rate of products, both measured on the same device in the
same run. What a step could reach is told without a GPU by `windtunnel model describe 2.4B --roofline`.

## Checks
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare only")
    page = render(read_results(RESULTS))
    if parser.parse_args().check:
        return 0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page else 1
    PAGE.write_text(page, encoding="utf-8")
    print(PAGE)
    return 0


def read_results(folder: Path) -> dict[str, Result]:
    """Measurements by file name without suffix: those of a GPU at real sizes."""
    found = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
    }
    return {
        name: result
        for name, result in found.items()
        if not result["tiny"] and result["machine"]["device"] == "cuda"
    }


def render(results: dict[str, Result]) -> str:
    """The whole page."""
    return "\n".join([HEAD, *lines(results), ""])


def lines(results: dict[str, Result]) -> Iterator[str]:
    yield "| check | shows | target | last measured | result |"
    yield "|---|---|---|---|---|"
    for check in CHECKS:
        result = results.get(check.file)
        figure = None if result is None else check.figure(result)
        day = (
            NEVER
            if result is None or figure is None
            else f"{result['measured']}, {result['machine']['name']}{partly(result)}"
        )
        yield f"| {check.name} | {check.shows} | {check.target} | {day} | {figure or ''} |"


def partly(result: Result) -> str:
    return " (the part did not end)" if result["partial"] else ""


if __name__ == "__main__":
    raise SystemExit(main())
