"""What intervals hold, by simulation: the label that each kind carries.

``coverage.json`` beside this file is written by ``benchmarks/experiments/coverage.py``: of 1,000
simulated experiments of several designs, the share whose nominal 95 % interval of ln(D/N) held the
truth: ``coverage`` of what the law says without noise, ``coverage_of_surface`` of where the loss
itself is least, another thing where the law does not fit. A fit's intervals are labelled with those
of the nearest design.

>>> sorted(label("jackknife", sizes=6, seeds=1, misfit=False))
['coverage', 'coverage_of_surface', 'design', 'error']
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

SIMULATED = Path(__file__).with_name("coverage.json")


@cache
def designs() -> list[dict[str, Any]]:
    """The designs that were simulated, with the coverage of every kind of interval."""
    found: list[dict[str, Any]] = json.loads(SIMULATED.read_text(encoding="utf-8"))
    return found


def label(kind: str, *, sizes: int, seeds: int, misfit: bool) -> dict[str, Any]:
    """Coverage of a kind of interval, its binomial error, and the design it was simulated in;
    coverage None where the kind was not made there.
    """
    nearest = min(
        designs(),
        key=lambda one: (
            (one["misfit"] != 0) != misfit,
            (one["seeds"] > 1) != (seeds > 1),
            abs(one["sizes"] - sizes),
        ),
    )
    own = nearest["methods"].get(kind, {})
    return {
        "design": nearest["name"],
        "coverage": own.get("coverage"),
        "coverage_of_surface": own.get("coverage_of_surface"),
        "error": own.get("error"),
    }
