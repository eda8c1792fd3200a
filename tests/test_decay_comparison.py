"""The benchmark of two endings: its statistics against scipy's own, and its counts."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats


@pytest.fixture(scope="module")
def benchmark(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "decay_comparison", root / "benchmarks" / "decay_comparison.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=8, unique=True))
def test_the_interval_is_that_of_a_paired_t_test(
    benchmark: ModuleType, differences: list[float]
) -> None:
    found = benchmark.interval(differences)
    expected = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx(
        (expected.low, expected.high), rel=1e-9, abs=1e-9
    )


def run(before: float, after: float, other: float) -> dict[str, object]:
    held = {
        part: {"web": {"nats": loss}}
        for part, loss in (("before", before), ("with", after), ("without", other))
    }
    return {
        "held_out": held,
        "training": {
            "stable": {"web": 5.0},
            "with": {"web": 4.0, "sft": 6.0},
            "without": {"web": 5.0},
        },
    }


def test_losses_are_counted_below_the_stable_phase_where_both_were_measured(
    benchmark: ModuleType,
) -> None:
    found = benchmark.below([run(6.0, 5.0, 6.5), run(6.0, 5.9, 5.0)])
    assert found["held_out"] == {"web": {"with": 2, "without": 1}}
    assert found["training"] == {
        "web": {"with": 2, "without": 0},
        "sft": {"with": None, "without": None},
    }
