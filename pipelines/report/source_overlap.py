"""Samples of the sources' shingles, gathered chunk by chunk: how much of one source is in another,
before and after the stages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dedup.near.overlap import ShingleSample, contained, merged, sample_limit, sample_of
from dedup.near.quality import Proportion
from pipelines.corpus.chunk_columns import ChunkColumns
from pipelines.report.recipe_stages import recorded_stages
from pipelines.stages.source_overlap import COLUMN, SourceOverlapStage


@dataclass
class SourceOverlap:
    """Samples by source: of all documents that were read, and of those kept."""

    limit: int
    read: dict[str, ShingleSample] = field(default_factory=dict)
    kept: dict[str, ShingleSample] = field(default_factory=dict)

    def add(self, columns: ChunkColumns) -> None:
        column = columns.column(COLUMN)
        if column is None:
            return
        rows = column.combine_chunks()
        for samples, chosen in ((self.read, rows), (self.kept, rows.filter(columns.kept))):
            hashes = chosen.flatten().to_numpy().astype(np.uint64, copy=False)
            sample = sample_of(hashes, self.limit)
            before = samples.get(columns.chunk.source)
            samples[columns.chunk.source] = sample if before is None else merged(before, sample)


def recorded_overlap(record: dict[str, Any]) -> SourceOverlap | None:
    """An empty collection for a run that measured shingles; None for others. Stages of several
    scales meet at the coarsest.
    """
    scales = [
        stage.settings["scale"]
        for stage in recorded_stages(record)
        if stage.kind == SourceOverlapStage.kind
    ]
    return SourceOverlap(sample_limit(max(scales))) if scales else None


@dataclass(frozen=True)
class OverlapRow:
    """Of one source's shingles, which share is in each source; ``distinct`` and its relative
    standard error.
    """

    source: str
    distinct: float
    error: float
    shares: tuple[Proportion | None, ...]  # None for itself


def overlap_rows(samples: dict[str, ShingleSample], sources: list[str]) -> list[OverlapRow]:
    """The matrix, rows and columns in the order of ``sources``."""
    there = [source for source in sources if source in samples]
    return [
        OverlapRow(
            source,
            samples[source].distinct,
            float(len(samples[source].hashes) or np.nan) ** -0.5,
            tuple(
                None if other == source else contained(samples[source], samples[other])
                for other in there
            ),
        )
        for source in there
    ]
