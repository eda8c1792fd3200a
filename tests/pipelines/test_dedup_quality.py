"""Recall and precision that a run reports, against all pairs compared in plain Python."""

from __future__ import annotations

import random
from itertools import combinations
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from pipelines.deduplicate.files import DedupOutcome, dedup_files
from pipelines.report.quality_words import quality_line
from tests.pipelines.test_dedup_files import lines_of
from tests.pipelines.test_run_dedup import shingles

WEAK = {"bands": 2, "rows": 5, "verify": 0.5}  # finds 6 % at 0.5, half at 0.8


def edited(words: list[str], changes: int, draw: random.Random) -> list[str]:
    copy = list(words)
    for place in draw.sample(range(len(copy)), changes):
        copy[place] = f"new{draw.randrange(10**9)}"
    return copy


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 families of texts of which each has five copies with more and more words changed."""
    draw = random.Random(5)
    folder = tmp_path_factory.mktemp("quality")
    texts = []
    for family in range(30):
        words = [f"f{family}w{draw.randrange(400)}" for _ in range(120)]
        texts += [" ".join(words)] + [
            " ".join(edited(words, changes, draw)) for changes in (1, 2, 4, 6, 9)
        ]
    texts += ["too short", "too short as well"]
    rows = [{"id": f"d{number}", "text": text} for number, text in enumerate(texts)]
    (folder / "in.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return folder


def deduplicated(source: Path, name: str, **settings: object) -> DedupOutcome:
    return dedup_files(
        [f"{source}/in.jsonl"],
        str(source / name),
        id_field="id",
        **{**WEAK, **settings},  # type: ignore[arg-type]
    )


def missed(source: Path, name: str) -> set[str]:
    """Kept documents that a longer kept one (or one of the same length and a lower id) resembles,
    all pairs compared.
    """
    kept = {line["id"]: line["text"] for line in lines_of((source / name / "kept").glob("*.zst"))}
    run_ids = {}
    for path in (source / name / "run" / "documents").rglob("documents.parquet"):
        table = pq.read_table(path, columns=["id", "native_id"])
        run_ids |= dict(zip(table["native_id"].to_pylist(), table["id"].to_pylist(), strict=True))
    sets = {native: shingles(text) for native, text in kept.items()}
    found = set()
    for one, other in combinations(
        sorted(kept, key=lambda native: (-len(kept[native]), run_ids[native])), 2
    ):
        union = sets[one] | sets[other]
        if union and len(sets[one] & sets[other]) / len(union) >= 0.5:
            found.add(other)
    return found


def test_a_sample_of_everything_gives_the_recall_that_comparing_all_pairs_gives(
    source: Path,
) -> None:
    done = deduplicated(source, "whole", quality=1000)
    quality, truth = done.facts["quality"], missed(source, "whole")
    removed = done.removed["near_duplicate"].documents
    assert len(truth) > 10
    # two have no shingle
    assert quality["kept"] == quality["kept_sampled"] == done.kept.documents - 2
    assert quality["missed_in_sample"] == len(truth)
    assert (
        quality["recall"]
        == quality["recall_low"]
        == quality["recall_high"]
        == removed / (removed + len(truth))
    )
    assert quality["removed_sampled"] == quality["confirmed_in_sample"] == removed
    assert quality["precision"] == 1.0


def test_a_smaller_sample_has_an_interval_around_the_truth_and_is_the_same_again(
    source: Path,
) -> None:
    done = deduplicated(source, "part", quality=30)
    quality = done.facts["quality"]
    removed = done.removed["near_duplicate"].documents
    truth = removed / (removed + len(missed(source, "part")))
    assert quality["kept_sampled"] == 30
    assert quality["recall_low"] < truth < quality["recall_high"]
    assert quality["recall_low"] < quality["recall"] < quality["recall_high"]
    assert quality["precision_low"] < quality["precision"] == 1.0
    assert deduplicated(source, "again", quality=30).facts["quality"] == quality


def test_quality_stands_in_the_record_and_the_ledger_and_costs_no_comparison_when_asked_for_later(
    source: Path,
) -> None:
    before = deduplicated(source, "later")
    assert set(before.facts["quality"]) == {"expected_recall"}
    after = deduplicated(source, "later", quality=40)
    assert after.computed == 1
    ledgers = {
        ledger["step"]: ledger
        for ledger in orjson.loads((source / "later" / "ledger.json").read_bytes())
    }
    assert ledgers["minhash_dedup"]["facts"]["quality"] == after.facts["quality"]
    assert after.run.record["evidence"]["minhash_dedup"]["quality"] == after.facts["quality"]
    assert deduplicated(source, "later", quality=40).computed == 0


def test_a_lower_bound_on_comparisons_shows_as_recall(source: Path) -> None:
    many = deduplicated(source, "many", quality=1000, bands=40, rows=3).facts["quality"]
    few = deduplicated(source, "whole", quality=1000).facts["quality"]
    assert few["recall"] < many["recall"]
    assert many["recall"] > 0.98


def test_the_line_says_interval_and_counts(source: Path) -> None:
    quality = deduplicated(source, "whole", quality=1000).facts["quality"]
    line = quality_line(quality)
    assert f"recall {quality['recall']:.4f} [" in line
    assert (
        f"{quality['missed_in_sample']} of {quality['kept_sampled']} sampled kept documents missed"
        in line
    )
    assert quality_line({"expected_recall": None}) == "recall not known: nothing was removed"
