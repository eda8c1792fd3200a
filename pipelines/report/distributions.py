"""Distributions per source, before and after all steps: length, words, language and its score."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.corpus.chunk_columns import ChunkColumns

BINS = 64  # half octaves: up to 2**32
SCORE_BINS = 20
_ROOT_TWO = 2**0.5
Counts = NDArray[np.int64]


@dataclass
class BeforeAfter:
    """Two histograms over the same bins: of all documents read, and of those kept."""

    bins: int
    before: Counts = field(init=False)
    after: Counts = field(init=False)

    def __post_init__(self) -> None:
        self.before = np.zeros(self.bins, np.int64)
        self.after = np.zeros(self.bins, np.int64)

    def add(self, bins: NDArray[np.int64], kept: NDArray[np.bool_]) -> None:
        self.before += np.bincount(bins, minlength=self.bins)
        self.after += np.bincount(bins[kept], minlength=self.bins)


@dataclass
class SourceDistributions:
    """One source. ``languages`` maps a code to [documents read, documents kept]."""

    characters: BeforeAfter = field(default_factory=lambda: BeforeAfter(BINS))
    words: BeforeAfter = field(default_factory=lambda: BeforeAfter(BINS))
    scores: BeforeAfter = field(default_factory=lambda: BeforeAfter(SCORE_BINS))
    languages: dict[str, list[int]] = field(default_factory=dict)

    def add(self, columns: ChunkColumns) -> None:
        kept = columns.kept
        self.characters.add(half_octave(columns.characters), kept)
        if (words := columns.column("words")) is not None:
            self.words.add(half_octave(pc.fill_null(words, 0).to_numpy()), kept)
        if (score := columns.column("language_score")) is not None:
            share = np.nan_to_num(pc.cast(score, pa.float64()).to_numpy())
            self.scores.add(np.clip((share * SCORE_BINS).astype(np.int64), 0, SCORE_BINS - 1), kept)
        if (language := columns.column("language")) is not None:
            for place, mask in ((0, None), (1, pa.array(kept))):
                seen = language if mask is None else language.filter(mask)
                for entry in pc.value_counts(pc.fill_null(seen, "und")).to_pylist():
                    self.languages.setdefault(entry["values"], [0, 0])[place] += entry["counts"]


def half_octave(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bin of each value: 2k for [2**k, 2**(k + 1/2)), 2k + 1 up to 2**(k + 1); 0 and 1 share bin
    0.
    """
    mantissa, exponent = np.frexp(np.maximum(values, 1).astype(np.float64))
    bins = 2 * (exponent.astype(np.int64) - 1) + (2 * mantissa >= _ROOT_TWO)
    return np.minimum(bins, BINS - 1)
