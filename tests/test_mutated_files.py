"""Damaged files of every format through whole runs, by one worker and by two."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.mutated_files import KINDS, compare, write_source


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_end_balance_and_are_read_alike(tmp_path: Path, kind: str) -> None:
    result = compare(tmp_path, kind, files=125, seed=7)
    assert result["alike"]
    entry = result["entry"]
    assert entry["kept"]["documents"] > 0
    assert sum(bad["documents"] for bad in entry["quarantined"].values()) > 0


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_source(tmp_path / name, "warc", 20, seed=3)
    one, two = (
        [(path.name, path.read_bytes()) for path in sorted((tmp_path / name).iterdir())]
        for name in ("one", "two")
    )
    assert one == two
