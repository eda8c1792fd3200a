"""The tokenizer does not see the documents that losses are measured on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artifacts.fingerprints import content_key, libraries
from artifacts.keyed_hash import held_out
from artifacts.settings import key_settings
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.view import CorpusView
from pipelines.recipe.load import load_recipe
from pipelines.report.findings import collect
from pipelines.report.page import render
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.shards.tokenizer import TOKENIZER_VERSION, in_id_order
from tokenizer.train import TrainConfig, train_model

SETTINGS = ["tokenizer={vocab_size: 1024}"]
WHOLE = (
    "mixture={phases: [{name: stable, tokens: 2048, weights: {web: 1}}], hold_out: [instructions]}"
)


def tokenizer_of(recipe: Path, runs: Path, settings: Sequence[str] = ()) -> RunOutcome:
    return run_recipe(load_recipe(recipe, [*SETTINGS, *settings]), str(runs), until="tokenizer")


def model_of(outcome: RunOutcome) -> bytes:
    return outcome.store.read(outcome.record["tokenizer"]["file"]["name"])


def trained_on(outcome: RunOutcome, sources: Sequence[str], hold_out: float) -> bytes:
    """The model of all kept documents of these sources but those set aside, which the sample's
    budget holds.
    """
    chunks = [Chunk.from_json(value) for value in outcome.record["chunks"]]
    texts = []
    for source in sources:
        view = CorpusView(outcome.store, chunks, (source,))
        rows = np.flatnonzero(~held_out(view.ids, outcome.record["recipe"]["seed"], hold_out))
        texts.append(in_id_order(view, rows))
    return train_model(texts, TrainConfig(vocab_size=1024))[0]


@pytest.mark.parametrize(
    ("settings", "sources", "share"),
    [
        (["shards.hold_out=0.3"], ["instructions", "web"], 0.3),
        ([WHOLE], ["web"], 0.0),
        (["shards.hold_out=0.3", WHOLE], ["web"], 0.3),
        ([WHOLE, "tokenizer.sample={web: 0.9, instructions: 0.1}"], ["instructions", "web"], 0.0),
    ],
)
def test_the_sample_has_no_document_that_is_held_out(
    starter: Path, tmp_path: Path, settings: list[str], sources: list[str], share: float
) -> None:
    outcome = tokenizer_of(starter, tmp_path / "runs", settings)
    recorded = outcome.record["tokenizer"]
    assert [part["source"] for part in recorded["sample"]] == sources
    # a recipe that names a source weighs it, so only by size the sample is everything
    if "sample" not in settings[-1]:
        assert model_of(outcome) == trained_on(outcome, sources, share)
        assert recorded["held_out"]["documents"] > 0 or not share
        html = render(outcome.record, collect(outcome.store, outcome.record))
        said = f"{recorded['held_out']['documents']:,} documents that are held out are not in"
        assert said in html


def test_what_is_held_out_is_in_the_key_only_where_something_is(
    starter: Path, tmp_path: Path
) -> None:
    def key_of(outcome: RunOutcome, extra: dict[str, Any]) -> str:
        recipe = load_recipe(starter, SETTINGS).recipe
        assert recipe.tokenizer is not None
        inputs = {
            "work": "tokenizer",
            "version": TOKENIZER_VERSION,
            "libraries": libraries("sentencepiece"),
            "selection": [ref["checksum"] for ref in outcome.record["selection"].values()],
            "config": key_settings(TrainConfig(vocab_size=1024)),
            "sample": key_settings(recipe.tokenizer),
            "seed": recipe.seed,
            **extra,
        }
        return f"tokenizer/bpe/{content_key(inputs)}/tokenizer.model"

    plain = tokenizer_of(starter, tmp_path / "runs")
    held = tokenizer_of(starter, tmp_path / "held", ["shards.hold_out=0.3"])
    assert plain.record["tokenizer"]["file"]["name"] == key_of(plain, {})
    assert held.record["tokenizer"]["file"]["name"] == key_of(held, {"hold_out": 0.3})
    assert model_of(plain) == trained_on(plain, ["instructions", "web"], 0.0)
    assert "held_out" not in plain.record["tokenizer"]


def test_the_report_says_how_the_tokenizer_fits_each_source(starter: Path, tmp_path: Path) -> None:
    outcome = run_recipe(load_recipe(starter, SETTINGS), str(tmp_path / "runs"), until="shards")
    found = collect(outcome.store, outcome.record)
    assert set(found.fits) == {"instructions", "web"}
    for source, fit in found.fits.items():
        recorded = outcome.record["encoded"][source]
        # the whole of a small source; EOS is not counted
        assert fit.documents == found.tokens.documents[source]  # type: ignore[union-attr]
        assert fit.tokens < recorded["tokens"] <= fit.tokens + recorded["tokens"] // 4
        assert fit.round_trip_failures == 0
        assert 0 < fit.unused_share < 1
        cells = [f"0 of {fit.documents:,}", f"{100 * fit.unused_share:.1f} %"]
        html = render(outcome.record, found)
        assert all(cell in html for cell in cells)
    assert found.fits["web"].bytes == outcome.record["encoded"]["web"]["bytes"]
