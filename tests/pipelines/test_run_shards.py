"""Shards hold exactly the selected text, and tools that know nothing of this house read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.keyed_hash import held_out
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.texts import ChunkTexts
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import RunOutcome, run_recipe
from tokenizer.chat import render
from tokenizer.encode import Tokenizer
from tokenizer.shards.verify import verify


def selected(outcome: RunOutcome, source: str) -> dict[bytes, str]:
    """Id -> text of every kept document: its current text, or the rendered conversation."""
    table = pq.read_table(outcome.store.full(outcome.record["selection"][source]["name"]))
    kept = set(table.filter(table["kept"])["id"].to_pylist())
    texts = {}
    for entry in outcome.record["chunks"]:
        chunk = Chunk.from_json(entry)
        for batch in ChunkTexts(outcome.store, chunk).batches() if chunk.source == source else []:
            for row in batch.select(
                ["id", "text", *(["messages"] if "messages" in batch.schema.names else [])]
            ).to_pylist():
                if row["id"] in kept:
                    texts[row["id"]] = render(row["messages"]) if "messages" in row else row["text"]
    return texts


@pytest.fixture(scope="module")
def sample_corpus(root: Path, tmp_path_factory: pytest.TempPathFactory) -> RunOutcome:
    """The whole sample corpus as recipes/quickstart.yaml makes it."""
    return run_recipe(
        load_recipe(root / "recipes" / "quickstart.yaml"),
        str(tmp_path_factory.mktemp("quickstart")),
        until="shards",
    )


def test_decoded_tokens_equal_the_selected_text_of_every_document(
    sample_corpus: RunOutcome,
) -> None:
    tokenizer = Tokenizer.load(
        sample_corpus.store.read(sample_corpus.record["tokenizer"]["file"]["name"])
    )
    shards = sample_corpus.record["shards"]
    for source in sample_corpus.record["selection"]:
        expected = selected(sample_corpus, source)
        seen: dict[bytes, str] = {}
        for name in (source, f"{source}-validation"):
            for path in parts_of(sample_corpus, name):
                table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
                assert all(tokens[-1] == tokenizer.eos_id for tokens in table["tokens"].to_pylist())
                conversations = table["trainable"].null_count == 0
                for batch in table.to_batches():
                    texts = tokenizer.decode(batch["tokens"], controls=conversations)
                    assert not seen.keys() & set(batch["id"].to_pylist()), (
                        "a document is in one split only"
                    )
                    seen |= dict(zip(batch["id"].to_pylist(), texts.to_pylist(), strict=True))
        assert seen == expected, source
        assert (
            len(seen) == shards[source]["documents"] + shards[f"{source}-validation"]["documents"]
        )


def parts_of(outcome: RunOutcome, name: str) -> list[Path]:
    return sorted(
        Path(outcome.store.full(outcome.record["shards"][name]["folder"])).glob("part-*.arrow")
    )


def test_the_held_out_share_is_that_of_the_recipe_and_does_not_depend_on_other_documents(
    sample_corpus: RunOutcome,
) -> None:
    shards = sample_corpus.record["shards"]
    held = sum(entry["documents"] for name, entry in shards.items() if name.endswith("-validation"))
    total = sum(entry["documents"] for entry in shards.values())
    assert abs(held - 0.02 * total) < 4 * (0.02 * 0.98 * total) ** 0.5
    ids = pa.concat_arrays(
        [
            pa.ipc.open_file(str(path)).read_all()["id"].combine_chunks()
            for path in parts_of(sample_corpus, "sft-validation")
        ]
    )
    assert held_out(ids, 1, 0.02).all()
    assert not held_out(ids, 2, 0.02).all()


def test_every_part_verifies_and_a_flipped_byte_is_named(
    sample_corpus: RunOutcome, tmp_path: Path
) -> None:
    import shutil

    tokenizer = Tokenizer.load(
        sample_corpus.store.read(sample_corpus.record["tokenizer"]["file"]["name"])
    )
    for entry in sample_corpus.record["shards"].values():
        assert verify(sample_corpus.store.full(entry["folder"]), tokenizer) == []
    folder = tmp_path / "math"
    shutil.copytree(
        sample_corpus.store.full(sample_corpus.record["shards"]["math"]["folder"]), folder
    )
    part = folder / "part-00000.arrow"
    raw = bytearray(part.read_bytes())
    place = len(raw) * 2 // 3
    raw[place] ^= 1
    part.write_bytes(raw)
    findings = [finding for finding in verify(folder, tokenizer) if finding.kind == "damaged"]
    assert [finding.part for finding in findings] == ["part-00000.arrow"]
    start, end = findings[0].byte_range
    assert start <= place <= end
    assert end - start <= 1 << 20


def test_polars_and_pyarrow_read_shards_without_this_package(sample_corpus: RunOutcome) -> None:
    for entry in sample_corpus.record["shards"].values():
        for path in Path(sample_corpus.store.full(entry["folder"])).glob("part-*.arrow"):
            frame = pl.read_ipc(path)
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            assert frame.height == table.num_rows
            assert frame["tokens"].list.len().sum() == len(
                table["tokens"].combine_chunks().flatten()
            )


def test_documents_are_shuffled_over_the_whole_source(sample_corpus: RunOutcome) -> None:
    """Rank correlation between the order of reading and the order in the shards is that of
    chance.
    """
    from scipy.stats import spearmanr

    entry = sample_corpus.record["shards"]["sft"]
    path = Path(sample_corpus.store.full(entry["folder"])) / "part-00000.arrow"
    order = pa.ipc.open_file(str(path)).read_all()["id"].to_pylist()
    read = {identity: number for number, identity in enumerate(selected(sample_corpus, "sft"))}
    correlation = spearmanr(np.arange(len(order)), [read[identity] for identity in order]).statistic
    assert abs(correlation) < 4 / np.sqrt(len(order))


def test_only_the_answers_of_conversations_are_targets(sample_corpus: RunOutcome) -> None:
    tokenizer = Tokenizer.load(
        sample_corpus.store.read(sample_corpus.record["tokenizer"]["file"]["name"])
    )
    path = (
        Path(sample_corpus.store.full(sample_corpus.record["shards"]["sft"]["folder"]))
        / "part-00000.arrow"
    )
    rows = pa.ipc.open_file(str(path)).read_all().slice(0, 200).to_pylist()
    texts = selected(sample_corpus, "sft")
    for row in rows:
        targets = "".join(
            tokenizer.decode_tokens(row["tokens"][span["start"] : span["end"]])
            for span in row["trainable"]
        )
        assert 0 < len(targets) < len(texts[row["id"]])
        assert texts[row["id"]].startswith("<User>") or "<AI>" in texts[row["id"]]
        assert "<User>" not in targets
