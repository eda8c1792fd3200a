"""Losses of a batch by source: nats per target token and bits per byte.

Nats per token depend on the tokenizer; bits per byte do not, so runs with different vocabularies
compare. The bytes of a target are those its piece decodes to (a control mark such as EOS has none,
its loss counts all the same: a document's end is information too), without a space that the
tokenizer put before the document.

Shapes: B windows of T targets, S sources.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenizer.encode import Tokenizer
from tokenizer.prefix import SPACE, Prefix
from tokenizer.vocabulary import CONTROL, UNKNOWN


@dataclass(frozen=True)
class Loss:
    """Sums over target tokens: ``nats``, ``tokens`` (sum of loss weights) and ``bytes``."""

    nats: float
    tokens: float
    bytes: float

    @property
    def per_token(self) -> float:
        """Nats per target token; not a number where there was no target."""
        return self.nats / self.tokens if self.tokens else math.nan

    @property
    def bits_per_byte(self) -> float:
        """Not a number where no target had a byte."""
        return self.nats / math.log(2) / self.bytes if self.bytes else math.nan

    def __add__(self, other: Loss) -> Loss:
        return Loss(self.nats + other.nats, self.tokens + other.tokens, self.bytes + other.bytes)

    def to_json(self) -> dict[str, Any]:
        """The tokens and both losses; null for one that there is not."""
        losses = {"loss": self.per_token, "bits_per_byte": self.bits_per_byte}
        known = {name: None if math.isnan(loss) else loss for name, loss in losses.items()}
        return {"tokens": self.tokens, **known}


NOTHING = Loss(0.0, 0.0, 0.0)


def token_bytes(tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Bytes each id decodes to, (V,); 0 for control marks."""
    vocabulary = tokenizer.vocabulary
    return np.where(
        np.isin(vocabulary.kinds, (CONTROL, UNKNOWN)), 0, np.diff(vocabulary.offsets)
    ).astype(np.int64)


@dataclass(frozen=True)
class Spaces:
    """The spaces before texts that are not the texts' own (:mod:`tokenizer.prefix`).

    ``begins`` (V,): which ids begin with a space. ``opening`` (V,): after which a text begins.
    """

    begins: NDArray[np.bool_]
    opening: NDArray[np.bool_]

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Spaces | None:
        """Those of a tokenizer, None where it puts no space before a text."""
        if tokenizer.prefix is Prefix.NONE:
            return None
        vocabulary = tokenizer.vocabulary
        first = [vocabulary.surface(token).startswith(SPACE) for token in range(vocabulary.size)]
        shown = ~np.isin(vocabulary.kinds, (CONTROL, UNKNOWN))
        opening = tokenizer.prefix.opening(vocabulary, tokenizer.bos_id, tokenizer.eos_id)
        return cls(np.array(first) & shown, opening)

    def among(self, tokens: NDArray[np.integer], targets: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which targets (B, T) hold such a space, each after its token (B, T)."""
        found: NDArray[np.bool_] = self.opening[tokens] & self.begins[targets]
        return found


def by_source(
    nats: NDArray[np.float32],
    targets: NDArray[np.integer],
    weights: NDArray[np.float32],
    source: NDArray[np.int32],
    sources: Sequence[str],
    sizes: NDArray[np.int64],
) -> dict[str, Loss]:
    """Losses of the sources that have windows in the batch.

    ``nats`` (B, T) of each target before weighting, ``targets`` (B, T), ``weights`` (B, T),
    ``source`` (B,) indices into ``sources`` (S names), ``sizes`` (V,) bytes per id. Sums run in
    float64 over rows in order, so they do not depend on micro-batches.
    """
    wide = weights.astype(np.float64)
    rows = np.stack(
        [
            np.where(weights > 0, nats * wide, 0.0).sum(1),
            wide.sum(1),
            (wide * sizes[targets]).sum(1),
        ]
    )
    sums = np.stack([np.bincount(source, weights=row, minlength=len(sources)) for row in rows])
    return {
        sources[index]: Loss(*(float(value) for value in sums[:, index]))
        for index in np.unique(source)
    }
