"""The interval that a claim of equal speed rests on."""

from __future__ import annotations

import importlib.util
import sys
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def same_speed(root: Path) -> ModuleType:
    sys.path.insert(0, str(root / "benchmarks"))
    try:
        path = root / "benchmarks" / "same_speed.py"
        spec = importlib.util.spec_from_file_location("same_speed", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(root / "benchmarks"))
    return module


@pytest.mark.parametrize("count", [6, 9, 11])
def test_the_interval_covers_the_median_in_95_of_100_draws(
    same_speed: ModuleType, count: int
) -> None:
    """Every pattern of values below (0) and above (1) the true median, each as likely as another."""
    covered = 0
    for pattern in product((0.0, 1.0), repeat=count):
        interval = same_speed.median_interval(
            [value + number / 100 for number, value in enumerate(pattern)]
        )
        covered += interval["low"] < 0.5 < interval["high"]
    assert covered / 2**count >= 0.95


def test_with_fifteen_values_the_interval_goes_from_the_fourth_to_the_twelfth(
    same_speed: ModuleType,
) -> None:
    interval = same_speed.median_interval(list(range(1, 16)))
    assert interval == {"median": 8, "low": 4, "high": 12}
