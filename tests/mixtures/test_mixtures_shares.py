"""Weights are shares of tokens: documents ten times as long change how many documents are shown,
not how many tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixtures.freeze.freeze import Plan, freeze
from mixtures.inspect.trace import Tracer
from mixtures.loader.loader import Loader
from mixtures.spec.phase import PhaseSpec
from mixtures.spec.spec import MixtureSpec
from tokenizer.shards.reader import open_source

LENGTH, BATCH = 16, 20
WEIGHTS = [{"short": 0.613, "long": 0.387}, {"short": 0.25, "long": 0.55, "chat": 0.2}]


@pytest.fixture
def folders(shard_writer: Any) -> dict[str, Path]:
    """Documents of 20 tokens on average, of 200, and conversations of 20 that are packed whole."""
    draw = np.random.default_rng(2)

    def documents(mean: int, count: int) -> list[list[int]]:
        return [
            draw.integers(3, 1000, length).tolist()
            for length in draw.integers(mean // 2, 3 * mean // 2, count).tolist()
        ]

    chat = documents(20, 1500)
    return {
        "short": shard_writer("short", documents(20, 4000), part_tokens=40_000),
        "long": shard_writer("long", documents(200, 400), part_tokens=40_000),
        "chat": shard_writer(
            "chat", chat, [[(0, len(document))] for document in chat], part_tokens=40_000
        ),
    }


def plan_of(folders: dict[str, Path], windows: int) -> Plan:
    phases = tuple(
        PhaseSpec(name=f"phase-{number}", tokens=windows * LENGTH, weights=weights)
        for number, weights in enumerate(WEIGHTS)
    )
    sources = {name: open_source(folder) for name, folder in folders.items()}
    return freeze(
        MixtureSpec(phases=phases),
        sources,
        sequence_length=LENGTH,
        batch_tokens=BATCH * LENGTH,
        seed=9,
    )


@pytest.mark.slow
def test_in_phases_of_2000_windows_shares_of_tokens_are_the_weights_to_a_thousandth(
    folders: dict[str, Path],
) -> None:
    plan = plan_of(folders, 2000)
    loader, tracer = Loader(plan, folders), Tracer(plan, folders)
    for segment, weights in zip(plan.segments, WEIGHTS, strict=True):
        tokens = dict.fromkeys(plan.names, 0)
        documents: dict[str, set[str]] = {name: set() for name in plan.names}
        for step in range(segment.first_step, segment.last_step):
            for _, _, source, _, count in loader.batch(step).pieces.tolist():
                tokens[plan.names[source]] += count
            for span in tracer.step(step):
                documents[span.source].add(span.id)
        for name, weight in weights.items():
            assert tokens[name] / sum(tokens.values()) == pytest.approx(weight, abs=0.001), (
                segment.name,
                name,
            )
        shown = {name: len(ids) for name, ids in documents.items()}
        # by documents the shares are others
        assert shown["short"] / sum(shown.values()) > weights["short"] + 0.15
