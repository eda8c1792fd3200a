"""Decays over seeds: means and differences paired by seed, against scipy."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from artifacts.books import sealed
from artifacts.fingerprints import canonical_json
from artifacts.paths import Store
from pipelines.commands.terminal.seeds import seeds_json, seeds_rows
from pipelines.report.decay_comparison import BETTER, OPEN, seed_comparisons
from pipelines.report.seed_table import NOISE, Estimate, SeedEnd, SeedTable, read_seed_tables

A, B = [3.10, 3.05, 3.21, 3.15], [3.01, 2.99, 3.10, 3.04]


def table(a: list[float], b: list[float]) -> SeedTable:
    ends = [
        SeedEnd(name, seed, f"{name}-{seed}", {"web": {"loss": loss, "tokens": 9.0}})
        for name, losses in (("a", a), ("b", b))
        for seed, loss in enumerate(losses, 1)
    ]
    start = {"web": {"loss": 3.5, "tokens": 9.0}}
    return SeedTable("c", 20, 3072, {"kind": "wsd"}, start, tuple(ends), ("web: so it is",))


def test_differences_are_paired_by_seed() -> None:
    first, second = table(A, B).rows()
    assert first.difference is None
    found = second.difference
    assert found is not None
    low, high = stats.ttest_rel(B, A).confidence_interval(0.95)
    assert found.value == pytest.approx(np.mean(np.array(B) - np.array(A)))
    assert found.half_width == pytest.approx((high - low) / 2)
    change = second.change
    assert change is not None
    low, high = stats.ttest_1samp(np.array(B) - 3.5, 0).confidence_interval(0.95)
    assert change.half_width == pytest.approx((high - low) / 2)
    assert change.value == pytest.approx(np.mean(B) - 3.5)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9))
def test_an_interval_is_students(values: list[float]) -> None:
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    found = Estimate.of(values)
    expected = 0.0 if np.isnan(low) else (high - low) / 2
    assert found.half_width == pytest.approx(expected, abs=1e-9)


def test_one_seed_has_no_interval_and_a_seed_without_its_pair_is_left_out() -> None:
    (_, second) = table(A[:1], B[:1]).rows()
    assert second.difference is not None
    assert second.difference.half_width is None
    assert NOISE not in table(A[:1], B[:1]).sentences()
    uneven = table(A, B[:3]).rows()[1].difference
    assert uneven is not None
    assert uneven.seeds == 3
    assert uneven == table(A[:3], B[:3]).rows()[1].difference
    without = SeedTable("c", 1, 1, {}, {}, (SeedEnd("a", 1, "a", {"web": {"loss": None}}),))
    assert without.rows() == []


def test_the_terminal_and_json_say_what_the_table_holds() -> None:
    made = table(A, B)
    header, rows = seeds_rows(made)
    assert header[-1] == "minus a"
    assert [row[:3] for row in rows] == [("a", "web", 4), ("b", "web", 4)]
    assert rows[1][-1].startswith("-0.09")
    facts = json.loads(json.dumps(seeds_json(made)))
    assert facts["rows"][1]["difference"]["mean"] == made.rows()[1].difference.value  # type: ignore[union-attr]
    assert facts["rows"][1]["losses"] == B
    assert facts["notes"] == ["web: so it is", NOISE]
    assert facts["seeds"] == 4


def test_the_report_reads_the_books_beside_the_branches(tmp_path: object) -> None:
    store = Store(str(tmp_path))
    for name, made in (("seeds-2", table(A, B)), ("seeds-1", table(A, A))):
        store.write(f"training/K/branches/{name}.json", canonical_json(sealed(made.to_json())))
    store.write("training/K/branches/seeds-3.json", b'{"checksum": "0"}')
    store.write("training/K/branches/a-1/seeds-4.json", b"{}")
    assert read_seed_tables(store, "training/K") == (table(A, A), table(A, B))
    assert read_seed_tables(store, "training/L") == ()


def test_the_report_says_of_a_mixture_whether_it_is_better_than_the_first() -> None:
    (better,) = seed_comparisons(table(A, B))
    assert [row.verdict for row in better.rows] == [BETTER]
    assert "b is better than a on 1 of 1 held-out source" in better.sentence
    assert f"Paired over 4 seeds. web: so it is. {NOISE}." in better.sentence
    (open_one,) = seed_comparisons(table(A, A[::-1]))
    assert [row.verdict for row in open_one.rows] == [OPEN]
    (alone,) = seed_comparisons(table(A[:1], B[:1]))
    assert [row.verdict for row in alone.rows] == [OPEN]
    assert "one seed, so without intervals" in alone.sentence
