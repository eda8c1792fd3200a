"""Documents that a window does not hold: counted, and said with how they are cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixtures.freeze.freeze import freeze
from mixtures.inspect.cut_documents import cut_documents
from mixtures.loader.loader import Loader
from mixtures.spec.spec import MixtureSpec
from tests.mixtures.conftest import Shards

Writer = Callable[..., Path]
LENGTHS = [3, 15, 16, 17, 40, 64, 9, 33]  # EOS is one token more


@pytest.fixture
def own(shard_writer: Writer) -> Shards:
    return Shards(
        {
            "chat": shard_writer("chat", [[5 + row] * n for row, n in enumerate(LENGTHS)]),
            "web": shard_writer("web", [[3 + row] * 200 for row in range(8)]),
        }
    )


def plan(own: Shards, *phases: dict[str, Any]) -> Any:
    spec = MixtureSpec.model_validate({"phases": phases, "packing": {"chat": "documents"}})
    return freeze(spec, own.sources, sequence_length=16, batch_tokens=64, seed=1)


@pytest.mark.parametrize("window", [16, 32, 128])
def test_longer_documents_and_what_follows_their_first_window_are_counted(
    own: Shards, window: int
) -> None:
    mixed = {"weights": {"chat": 0.5, "web": 0.5}, "tokens": 512}
    size = {"sequence_length": window, "batch_tokens": 4 * window}
    frozen = plan(own, {"name": "a", **mixed}, {"name": "b", **mixed, **size})
    tokens = np.array(LENGTHS) + 1
    found = {cut.window: cut for cut in cut_documents([frozen, frozen], own.folders)}
    assert set(found) == {16, window} - {128}  # a window of 128 holds them all
    assert all(cut.source == "chat" for cut in found.values())
    for length, cut in found.items():
        assert (cut.documents, cut.longer) == (len(tokens), int((tokens > length).sum()))
        assert (cut.tokens, cut.behind_cuts) == (
            int(tokens.sum()),
            int(np.maximum(tokens - length, 0).sum()),
        )
        said = f"chat: {cut.longer} of 8 documents ({100 * cut.longer / 8:.1f} %) are longer than"
        assert cut.sentence.startswith(said)


def test_what_follows_a_cut_begins_a_window_without_what_precedes_it(own: Shards) -> None:
    frozen = plan(own, {"name": "a", "weights": {"chat": 1.0}, "tokens": 1024})
    (cut,) = cut_documents([frozen], own.folders)
    loader = Loader(frozen, own.folders)
    seen: dict[int, int] = {}  # tokens of a document that its windows begin anew with, by place
    for step in range(frozen.steps):
        for row, place, _, first, n in loader.batch(step).pieces.tolist():
            borders = loader.streams[0].borders(0, frozen.sources[0].tokens)
            if first not in borders:
                assert place == 0 or n < 16
                assert loader.batch(step).positions[row, place] == 0
                seen[first] = n
    assert sum(seen.values()) == cut.behind_cuts


def test_a_source_that_no_phase_shows_or_that_is_a_stream_is_not_named(own: Shards) -> None:
    frozen = plan(own, {"name": "a", "weights": {"web": 1.0, "chat": 0.0}, "tokens": 512})
    assert cut_documents([frozen], own.folders) == []
