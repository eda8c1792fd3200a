"""A near-duplicate comparison in many parts decides what one comparison of everything decides, in
bounded pieces.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.ids import as_words
from dedup.near.lsh import candidate_groups, cluster_roots, cluster_sizes
from dedup.near.minhash import MinHashConfig, band_keys, shingle_sets
from dedup.near.verify import greedy_keep
from pipelines.comparisons.near import compare as near
from pipelines.comparisons.near import in_rounds as near_rounds
from pipelines.comparisons.near import shard as near_shard
from pipelines.recipe.load import given_recipe
from pipelines.run.driver import RunOutcome, run_recipe

CONFIG = MinHashConfig()


def corpus(documents: int, seed: int) -> list[str]:
    """Texts of made-up words, every third an edited copy of an earlier one, so that chains and
    large clusters arise.
    """
    rng = random.Random(seed)
    words = [f"w{number}" for number in range(5000)]
    texts = [" ".join(rng.choices(words, k=rng.randint(20, 120)))]
    while len(texts) < documents:
        if rng.random() < 0.35:
            copy = rng.choice(texts).split()
            for _ in range(rng.randint(0, 4)):
                copy[rng.randrange(len(copy))] = rng.choice(words)
            texts.append(" ".join(copy))
        else:
            texts.append(" ".join(rng.choices(words, k=rng.randint(3, 120))))
    return texts


def write(folder: Path, texts: list[str], files: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        lines = [
            orjson.dumps({"id": f"{k}", "text": text})
            for k, text in enumerate(texts)
            if k % files == number
        ]
        (folder / f"part-{number}.jsonl").write_bytes(b"\n".join(lines) + b"\n")


def run(folder: Path, runs: Path, workers: int = 1, **near_settings: Any) -> RunOutcome:
    sources = [{"name": "web", "paths": [str(folder / "*.jsonl")], "id_field": "id"}]
    stages = [{"minhash_dedup": {"verify": 0.7, **near_settings}}]
    recipe = given_recipe(
        {"name": "near", "corpus": {"sources": sources, "chunk_mib": 1 / 64, "stages": stages}}
    )
    return run_recipe(recipe, str(runs), workers=workers, until="corpus")


def kept_and_evidence(outcome: RunOutcome) -> tuple[pa.Table, pa.Table]:
    record = outcome.record
    selection = pq.read_table(outcome.store.full(record["selection"]["web"]["name"]))
    return selection, pq.read_table(
        outcome.store.full(record["evidence"]["minhash_dedup"]["file"]["name"])
    )


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions of about 32 keys, shards of about 2 KiB, sets of more than 1 KiB in a scratch
    file.
    """
    monkeypatch.setattr(near, "PARTITION_KEYS", 32)
    monkeypatch.setattr(near, "SHARD_BYTES", 2048)
    monkeypatch.setattr(near_shard, "HELD_SETS", 1024)


@pytest.mark.slow
@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("seed", [1, 2])
def test_many_parts_decide_as_one_comparison_in_memory(tmp_path: Path, seed: int) -> None:
    texts = corpus(400, seed)
    write(tmp_path / "in", texts, 3)
    outcome = run(tmp_path / "in", tmp_path / "runs")
    facts = outcome.record["evidence"]["minhash_dedup"]
    assert len(list((tmp_path / "runs/near/work/minhash_dedup-groups").iterdir())) > 10
    assert len(list((tmp_path / "runs/near/work/minhash_dedup-removals").iterdir())) > 5
    selection, evidence = kept_and_evidence(outcome)

    documents = pa.concat_tables(
        pq.read_table(outcome.store.full(chunk["documents"]["name"]))
        for chunk in outcome.record["chunks"]
    ).combine_chunks()
    column = documents["text"].combine_chunks()
    words = as_words(documents["id"].combine_chunks())
    lengths = np.array([len(text) for text in column.to_pylist()])
    priority = np.empty(len(column), np.int64)
    priority[np.lexsort((words[:, 1], words[:, 0], -lengths))] = np.arange(len(column))
    keys, signed = band_keys(column, CONFIG)
    groups = candidate_groups(keys, signed)
    verdict = greedy_keep(
        priority, groups, shingle_sets(column, CONFIG, groups.candidates(len(column))), 0.7
    )
    ids = np.array(documents["id"].to_pylist(), object)
    assert not verdict.kept.all()
    assert dict(
        zip(selection["id"].to_pylist(), selection["kept"].to_pylist(), strict=True)
    ) == dict(zip(ids, verdict.kept, strict=True))

    roots, sizes = cluster_roots(groups, len(column)), cluster_sizes(groups, len(column))
    expected = {
        ids[row]: (ids[kept], similarity, hit, min(ids[roots == roots[row]]), sizes[row])
        for row, kept, similarity, hit in zip(
            verdict.document,
            verdict.kept_document,
            verdict.similarity,
            verdict.bands_hit,
            strict=True,
        )
    }
    found = {row["id"]: tuple(row.values())[1:] for row in evidence.to_pylist()}
    assert found == expected
    counted = {
        "comparisons": verdict.compared,
        "candidates": len(np.unique(groups.members)),
        "groups": len(groups),
    }
    counted |= {
        "comparisons_skipped": verdict.skipped,
        "documents_bounded": verdict.bounded,
        "largest_cluster": verdict.largest_cluster,
    }
    assert {name: facts[name] for name in counted} == counted


@pytest.mark.slow
def test_the_size_of_the_parts_decides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in", corpus(300, 5), 2)
    whole = kept_and_evidence(run(tmp_path / "in", tmp_path / "whole"))
    monkeypatch.setattr(near, "PARTITION_KEYS", 16)
    monkeypatch.setattr(near, "SHARD_BYTES", 1)  # a shard per cluster
    assert kept_and_evidence(run(tmp_path / "in", tmp_path / "parts")) == whole


@pytest.mark.slow
@pytest.mark.parametrize("similarity", ["jaccard", "containment"])
def test_large_clusters_are_decided_in_rounds_as_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, similarity: str
) -> None:
    settings = {
        "similarity": similarity,
        "max_comparisons": 2,
        "verify": 0.85,
        "keep": "characters, id",
    }
    rng = random.Random(8)
    frame = [f"f{number}" for number in range(80)]
    pages = [
        " ".join([*frame, *(f"own{rng.randrange(9000)}" for _ in range(rng.randint(4, 20)))])
        for _ in range(120)
    ]
    write(tmp_path / "in", corpus(300, 8) + pages, 3)
    at_once = run(tmp_path / "in", tmp_path / "at-once", **settings)
    assert not (tmp_path / "at-once/near/work/minhash_dedup-settled").exists()
    monkeypatch.setattr(near, "LARGE_CLUSTER", 5)
    monkeypatch.setattr(near, "SHARD_BYTES", 8192)
    monkeypatch.setattr(near_rounds, "FIRST_BLOCK", 4)
    monkeypatch.setattr(near_rounds, "PIECE", 3)
    in_rounds = run(tmp_path / "in", tmp_path / "in-rounds", workers=2, **settings)
    assert len(list((tmp_path / "in-rounds/near/work/minhash_dedup-settled").iterdir())) > 4
    assert len(list((tmp_path / "in-rounds/near/work/minhash_dedup-matches").iterdir())) > 10
    assert kept_and_evidence(in_rounds) == kept_and_evidence(at_once)
    assert in_rounds.record["evidence"]["minhash_dedup"]["documents_bounded"] > 0
    for record in (at_once.record, in_rounds.record):
        del record["evidence"]["minhash_dedup"]["file"]
    assert in_rounds.record["evidence"] == at_once.record["evidence"]


def test_another_threshold_reads_no_text_again(tmp_path: Path) -> None:
    write(tmp_path / "in", corpus(300, 6), 2)
    run(tmp_path / "in", tmp_path / "runs")
    work = tmp_path / "runs/near/work"
    before = {path.name: sorted(unit.name for unit in path.iterdir()) for path in work.iterdir()}
    again = run(tmp_path / "in", tmp_path / "runs", verify=0.9)
    after = {path.name: sorted(unit.name for unit in path.iterdir()) for path in work.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"minhash_dedup-removals"}
    fresh = run(tmp_path / "in", tmp_path / "fresh", verify=0.9)
    assert kept_and_evidence(again) == kept_and_evidence(fresh)


def test_documents_an_earlier_stage_dropped_are_no_candidates(tmp_path: Path) -> None:
    texts = corpus(100, 7)
    write(tmp_path / "in", texts + texts, 2)
    sources = [{"name": "web", "paths": [str(tmp_path / "in/*.jsonl")], "id_field": "id"}]
    recipe = given_recipe(
        {
            "name": "near",
            "corpus": {"sources": sources, "stages": [{"exact_dedup": {}}, {"minhash_dedup": {}}]},
        }
    )
    outcome = run_recipe(recipe, str(tmp_path / "runs"), until="corpus")
    _, evidence = kept_and_evidence(outcome)
    exact = pq.read_table(
        outcome.store.full(outcome.record["evidence"]["exact_dedup"]["file"]["name"])
    )
    gone = set(exact["id"].to_pylist())
    assert len(gone) >= 100
    assert gone.isdisjoint(evidence["id"].to_pylist())
    assert gone.isdisjoint(evidence["kept_id"].to_pylist())
    assert max(exact["similarity"].to_pylist()) == 1
    for row in exact.to_pylist():
        assert row["cluster"] <= min(row["id"], row["kept_id"])
