"""Loss on held-out shards by source, the same windows every time: nats per target token and bits
per byte, or what another objective measures.

The windows of a source are those a plan of that source alone would show first, with a fixed seed:
they do not depend on the run's seed, mixture or length, so the figures of different runs at the
same window length compare.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch

from artifacts.errors import UserError
from mixtures.freeze.freeze import freeze
from mixtures.loader.loader import Batch, Loader
from mixtures.parts.open_parts import open_shards
from mixtures.spec.bands import shown_beside
from mixtures.spec.spec import MixtureSpec, Phase
from tokenizer.encode import Tokenizer
from trainer.model import Model
from trainer.objectives.contract import measure_of
from trainer.objectives.gradient import pending_loss
from trainer.objectives.losses import Loss, token_bytes
from trainer.objectives.next_token import NextToken
from trainer.objectives.objective import M, Objective, Place

SEED = 0


@dataclass(frozen=True)
class HeldOut:
    """The windows to measure on: batches by source name, ``rows`` in a micro-batch."""

    batches: Mapping[str, tuple[Batch, ...]]
    rows: int

    def measure(self, model: Model, objective: Objective[M]) -> dict[str, M]:
        """What the windows of each source come to."""
        with torch.inference_mode():
            return {name: reduce(add, self._each(model, objective, name)) for name in self.batches}

    def _each(self, model: Model, objective: Objective[M], name: str) -> Iterator[M]:
        """The measure of each batch of a source."""
        for number, batch in enumerate(self.batches[name]):
            place = Place(number, held_out=name)
            loss = pending_loss(objective, model, batch, place, self.rows, backward=False)
            yield measure_of(objective, batch, loss.read().kept, name)


def held_out(
    folders: Mapping[str, str | os.PathLike[str]],
    tokenizer: Tokenizer,
    *,
    sequence_length: int,
    windows: int | None = 64,
    rows: int = 8,
    together: int = 1,
) -> HeldOut:
    """Read the held-out windows of each source: at most ``windows`` of ``sequence_length`` tokens,
    ``together`` in a batch, ``rows`` at a time.

    Raises: UserError when a source is missing, of another tokenizer, or too short for one batch.
    """
    batches = {
        name: _batches(
            shown_beside(name), os.fspath(folder), tokenizer, sequence_length, windows, together
        )
        for name, folder in sorted(folders.items())
    }
    return HeldOut({shown_beside(name): found for name, found in batches.items()}, rows)


def validate(
    model: Model,
    folders: Mapping[str, str | os.PathLike[str]],
    tokenizer: Tokenizer,
    *,
    sequence_length: int,
    windows: int | None = 64,
    rows: int = 8,
) -> dict[str, Loss]:
    """The next-token loss of ``model`` on each held-out source; see :func:`held_out`. Names may end
    with ``-validation``.
    """
    return held_out(
        folders, tokenizer, sequence_length=sequence_length, windows=windows, rows=rows
    ).measure(model, NextToken(token_bytes(tokenizer)))


def _batches(
    name: str, folder: str, tokenizer: Tokenizer, length: int, most: int | None, together: int
) -> tuple[Batch, ...]:
    source = open_shards(folder, tokenizer.hash)
    available = source.manifest.tokens // length
    if available < together:
        filled = "one window" if together == 1 else f"{together} windows"
        raise UserError(
            f"the held-out documents do not fill {filled} of {length} tokens",
            file=folder,
            found=f"{source.manifest.tokens} tokens",
            fix="hold out more documents of this source, or train with shorter windows",
        )
    shown = available if most is None else min(max(most, together), available)
    shown -= shown % together
    spec = MixtureSpec(
        phases=(Phase(name="held-out", tokens=shown * length, weights={name: 1.0}),),
        packing={name: "stream"},
    )
    plan = freeze(
        spec,
        {name: source},
        sequence_length=length,
        batch_tokens=together * length,
        seed=SEED,
        bos_id=tokenizer.bos_id,
    )
    loader = Loader(plan, {name: folder})
    return tuple(loader.batch(step) for step in range(shown // together))
