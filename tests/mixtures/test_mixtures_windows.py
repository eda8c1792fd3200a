"""The work it takes to find what a window is made of: it stays small where windows change often and
where much is open at a time.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import mixtures.loader.windows
from mixtures.freeze.freeze import freeze
from mixtures.loader.loader import open_streams
from mixtures.loader.windows import Part, Windows
from mixtures.sequences.packing import Packing, pack
from mixtures.spec.phase import PhaseSpec
from mixtures.spec.spec import MixtureSpec
from tests.mixtures.conftest import Writer
from tokenizer.shards.reader import open_source


class Counting(Windows):
    """Counts the windows that were made up."""

    made = 0

    def parts(self, context: int, source: int, number: int) -> list[Part]:
        self.made += 1
        return super().parts(context, source, number)


@pytest.mark.parametrize("open_tokens", [0, 1 << 26])
def test_what_was_left_of_what_was_left_is_made_up_once(shards: Any, open_tokens: int) -> None:
    """Each change from windows of 64 to windows of 4 and back would take sixteen times the work of
    the one before.
    """
    lengths = [(4, 64)[number % 2] for number in range(6)]
    phases = tuple(
        PhaseSpec(
            name=f"phase-{number}",
            tokens=128,
            weights={"web": 1.0},
            sequence_length=length,
            batch_tokens=64,
        )
        for number, length in enumerate([*lengths, 4])
    )
    last = phases[-1].model_copy(update={"tokens": 3000})
    plan = freeze(
        MixtureSpec(phases=(*phases[:-1], last)),
        shards.sources,
        sequence_length=4,
        batch_tokens=64,
        seed=1,
        open_tokens=open_tokens,
    )
    windows = Counting(plan, open_streams(plan, shards.folders))
    shown = 0
    for step in range(plan.steps):
        shown += len(windows.of_step(step)[0])
    assert windows.made > shown / 2  # most were left
    assert windows.made < len(plan.contexts) * shown


def test_the_blocks_that_are_open_together_are_packed_once(
    shard_writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine sources of documents with sixteen open blocks each are more than are kept of a few."""
    packed: Counter[bytes] = Counter()

    def counted(offsets: Any, window: int) -> Packing:
        packed[offsets.tobytes()] += 1
        return pack(offsets, window)

    names = [f"chat-{number}" for number in range(9)]
    folders = {
        name: shard_writer(name, [[5] * (number + 3) for number in range(60 + place)])
        for place, name in enumerate(names)
    }
    spec = MixtureSpec(
        phases=(
            PhaseSpec(name="one", tokens=40_000, weights=dict.fromkeys(names, 1 / len(names))),
        ),
        packing=dict.fromkeys(names, "documents"),
    )
    plan = freeze(
        spec,
        {name: open_source(folder) for name, folder in folders.items()},
        sequence_length=64,
        batch_tokens=1024,
        seed=1,
    )
    blocks = sum(len(own.packed) - 1 for own in plan.contexts[0].sources)
    assert blocks > 64
    windows = Windows(plan, open_streams(plan, folders))
    monkeypatch.setattr(mixtures.loader.windows, "pack", counted)
    for step in range(plan.steps):
        windows.of_step(step)
    assert sum(packed.values()) <= blocks
