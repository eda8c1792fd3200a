"""Loss on held-out shards: nats per target token and bits per byte of each source, the same windows
every time.

The windows of a source are those a plan of that source alone would show first, with a fixed seed:
they do not depend on the run's seed, mixture or length, so the figures of different runs at the
same window length compare.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from artifacts.errors import UserError
from mixtures.freeze.freeze import freeze
from mixtures.loader.loader import Batch, Loader
from mixtures.spec.bands import shown_beside
from mixtures.spec.spec import MixtureSpec, Phase
from tokenizer.encode import Tokenizer
from tokenizer.shards.reader import open_source
from trainer.model import Model
from trainer.objectives.losses import NOTHING, Loss, by_source, token_bytes
from trainer.objectives.next_token import batch_loss

SEED = 0


@dataclass(frozen=True)
class HeldOut:
    """The windows to measure on: batches by source name, and the bytes of each id (V,)."""

    batches: Mapping[str, tuple[Batch, ...]]
    sizes: NDArray[np.int64]
    rows: int

    def line(self, model: Model) -> dict[str, Any]:
        """The losses as a line of ``metrics/validation.jsonl`` without its step."""
        losses = self.losses(model)
        return {"sources": {name: loss.to_json() for name, loss in losses.items()}}

    def losses(self, model: Model) -> dict[str, Loss]:
        """The loss of each source."""
        found = {}
        with torch.inference_mode():
            for name, batches in self.batches.items():
                loss = NOTHING
                for batch in batches:
                    nats = batch_loss(model, batch, self.rows, backward=False).nats
                    alone = np.zeros(len(nats), np.int32)
                    loss += by_source(
                        nats, batch.targets, batch.weights, alone, [name], self.sizes
                    )[name]
                found[name] = loss
        return found


def held_out(
    folders: Mapping[str, str | os.PathLike[str]],
    tokenizer: Tokenizer,
    *,
    sequence_length: int,
    windows: int | None = 64,
    rows: int = 8,
) -> HeldOut:
    """Read the held-out windows of each source: at most ``windows`` of ``sequence_length`` tokens,
    ``rows`` at a time.

    Raises: UserError when a source is missing, of another tokenizer, or too short for one window.
    """
    batches = {
        name: _windows(shown_beside(name), Path(folder), tokenizer, sequence_length, windows)
        for name, folder in sorted(folders.items())
    }
    return HeldOut(
        {shown_beside(name): found for name, found in batches.items()}, token_bytes(tokenizer), rows
    )


def validate(
    model: Model,
    folders: Mapping[str, str | os.PathLike[str]],
    tokenizer: Tokenizer,
    *,
    sequence_length: int,
    windows: int | None = 64,
    rows: int = 8,
) -> dict[str, Loss]:
    """The loss of ``model`` on each held-out source; see :func:`held_out`. Names may end with
    ``-validation``.
    """
    return held_out(
        folders, tokenizer, sequence_length=sequence_length, windows=windows, rows=rows
    ).losses(model)


def _windows(
    name: str, folder: Path, tokenizer: Tokenizer, length: int, most: int | None
) -> tuple[Batch, ...]:
    source = open_source(folder, tokenizer.hash)
    available = source.manifest.tokens // length
    if available == 0:
        raise UserError(
            f"the held-out documents do not fill one window of {length} tokens",
            file=folder,
            found=f"{source.manifest.tokens} tokens",
            fix="hold out more documents of this source, or train with shorter windows",
        )
    shown = available if most is None else min(most, available)
    spec = MixtureSpec(
        phases=(Phase(name="held-out", tokens=shown * length, weights={name: 1.0}),),
        packing={name: "stream"},
    )
    plan = freeze(
        spec,
        {name: source},
        sequence_length=length,
        batch_tokens=length,
        seed=SEED,
        bos_id=tokenizer.bos_id,
    )
    loader = Loader(plan, {name: folder})
    return tuple(loader.batch(window) for window in range(shown))
