"""What deduplication removed is supported pair by pair, by a plain computation that shares no code
with it.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from pipelines.corpus.chunk import Chunk
from pipelines.corpus.texts import ChunkTexts
from pipelines.run.driver import RunOutcome
from tests.dedup.dedup_model import words_of


def texts_of(outcome: RunOutcome) -> dict[bytes, str]:
    texts = {}
    for entry in outcome.record["chunks"]:
        for batch in ChunkTexts(outcome.store, Chunk.from_json(entry)).batches():
            texts |= dict(zip(batch["id"].to_pylist(), batch["text"].to_pylist(), strict=True))
    return texts


def shingles(text: str, ngrams: int = 5) -> set[tuple[object, ...]]:
    words = words_of(text)
    return {tuple(words[start : start + ngrams]) for start in range(len(words) - ngrams + 1)}


def test_every_removed_document_is_as_similar_to_a_kept_one_as_its_evidence_says(
    tiny: tuple[Path, RunOutcome],
) -> None:
    _, outcome = tiny
    texts = texts_of(outcome)
    evidence = pq.read_table(
        outcome.store.full(outcome.record["evidence"]["minhash_dedup"]["file"]["name"])
    ).to_pylist()
    assert len(evidence) > 20
    removed = {row["id"] for row in evidence}
    for row in evidence:
        one, other = shingles(texts[row["id"]]), shingles(texts[row["kept_id"]])
        exact = len(one & other) / len(one | other)
        assert abs(exact - row["similarity"]) < 1e-6
        assert exact >= 0.7
        assert row["kept_id"] not in removed
        assert row["bands_hit"] >= 1
        assert row["cluster_size"] >= 2


def test_exact_duplicates_are_equal_texts_and_one_of_each_stays(
    tiny: tuple[Path, RunOutcome],
) -> None:
    _, outcome = tiny
    texts = texts_of(outcome)
    evidence = pq.read_table(
        outcome.store.full(outcome.record["evidence"]["exact_dedup"]["file"]["name"])
    ).to_pylist()
    assert len(evidence) > 20
    assert all(texts[row["id"]] == texts[row["kept_id"]] for row in evidence)
    kept = set()
    for ref in outcome.record["selection"].values():
        table = pq.read_table(outcome.store.full(ref["name"]))
        kept |= {texts[identity] for identity in table.filter(table["kept"])["id"].to_pylist()}
    assert len(kept) == sum(
        pq.read_table(outcome.store.full(ref["name"]), columns=["kept"])["kept"].to_numpy().sum()
        for ref in outcome.record["selection"].values()
    )
