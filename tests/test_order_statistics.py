"""The interval that a claim of equal speed rests on."""

from __future__ import annotations

import importlib.util
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def statistics(root: Path) -> ModuleType:
    path = root / "benchmarks" / "order_statistics.py"
    spec = importlib.util.spec_from_file_location("order_statistics", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("count", [6, 9, 11])
def test_the_interval_covers_the_median_in_95_of_100_draws(
    statistics: ModuleType, count: int
) -> None:
    """Every pattern of values below (0) and above (1) the true median, each as likely as
    another.
    """
    covered = 0
    for pattern in product((0.0, 1.0), repeat=count):
        interval = statistics.median_interval(
            [value + number / 100 for number, value in enumerate(pattern)]
        )
        covered += interval["low"] < 0.5 < interval["high"]
    assert covered / 2**count >= 0.95


def test_with_fifteen_values_the_interval_goes_from_the_fourth_to_the_twelfth(
    statistics: ModuleType,
) -> None:
    interval = statistics.median_interval(list(range(1, 16)))
    assert interval == {"median": 8, "low": 4, "high": 12}
