"""Tracing a plan tells what a real training consumed: step by step, and document by document."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixtures.inspect.trace import ShownSpan, Tracer
from mixtures.spec.phase import Phase
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import BATCH, LENGTH, plan, run, settings
from tokenizer.shards.reader import open_source
from trainer.loop.settings import ModelSettings

STEPS = 200
TINY = ModelSettings(width=16, layers=1, heads=1, kv_heads=1, head_dim=16, ff=16)
PHASES = (
    Phase(name="stable", tokens=120 * BATCH, weights={"web": 0.6, "code": 0.4}),
    Phase(
        name="long",
        tokens=40 * BATCH,
        weights={"web": 0.4, "code": 0.6},
        sequence_length=2 * LENGTH,
        batch_tokens=BATCH,
        ramp_tokens=2000,
    ),
    Phase(
        name="decay",
        decay=True,
        tokens=40 * BATCH,
        weights={"web": 0.3, "chat": 0.7},
        sequence_length=LENGTH,
        batch_tokens=BATCH,
    ),
)


def target_spans(corpus: Corpus) -> dict[tuple[str, str], list[tuple[int, int]] | None]:
    """The spans of target tokens of every document, None where all are."""
    found: dict[tuple[str, str], list[tuple[int, int]] | None] = {}
    for name, folder in corpus.folders.items():
        source = open_source(folder)
        for number in range(len(source.manifest.parts)):
            for row in source.table(number).select(["id", "trainable"]).to_pylist():
                spans = row["trainable"]
                found[name, row["id"].hex()] = (
                    None if spans is None else [(span["start"], span["end"]) for span in spans]
                )
    return found


def targets(span: ShownSpan, spans: list[tuple[int, int]] | None) -> int:
    """Tokens of a traced stretch that a loss is taken on."""
    inside = [(span.start, span.stop)] if spans is None else spans
    return sum(max(0, min(stop, span.stop) - max(start, span.start)) for start, stop in inside)


@pytest.mark.slow
def test_the_documents_traced_for_each_of_200_steps_have_the_targets_that_the_training_counted(
    corpus: Corpus, tmp_path: Path
) -> None:
    frozen = plan(corpus, *PHASES)
    assert frozen.steps == STEPS
    assert len(frozen.contexts) == 3
    run(
        corpus,
        tmp_path,
        plan=frozen,
        settings=settings(checkpoint_every=1000, validate_every=1000),
        model=TINY,
        validation=None,
    )
    counted = [
        json.loads(line) for line in (tmp_path / "metrics" / "train.jsonl").read_text().splitlines()
    ]
    assert len(counted) == STEPS
    tracer, spans = Tracer(frozen, corpus.folders), target_spans(corpus)
    shown: dict[str, list[Any]] = {}
    for line in counted:
        traced: Counter[str] = Counter()
        for span in tracer.step(line["step"] - 1):
            traced[span.source] += targets(span, spans[span.source, span.id])
            shown.setdefault(span.id, []).append(span)
        assert {name: loss["tokens"] for name, loss in line["sources"].items()} == dict(traced), (
            line["step"]
        )
    for document in np.random.default_rng(3).choice(sorted(shown), 60, replace=False).tolist():
        assert tracer.document(document) == shown[document]
