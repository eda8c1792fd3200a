"""The source_overlap stage: a sample of each document's shingles, from which the report tells how
much of one source is in another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field

from dedup.near.overlap import ALGORITHM, sampled_shingles
from pipelines.stages.base import StageSettings, Step, Surroundings
from pipelines.stages.chunk_steps import MeasureStep

COLUMN = "shingle_sample"


class SourceOverlapStage(StageSettings):
    """Measure which shingles documents hold, one in ``scale``, for the table of sources against
    sources in the report. Removes nothing.
    """

    kind: ClassVar[str] = "source_overlap"

    ngrams: int = Field(
        default=5,
        ge=1,
        le=64,
        description="words per shingle (characters in Han, Kana, Hangul, Thai)",
    )
    scale: int = Field(
        default=256,
        ge=1,
        le=1 << 32,
        description="one in so many shingles is looked at; lower: finer, larger tables",
    )

    def steps(self, around: Surroundings, name: str) -> list[Step]:
        return [MeasureStep(name, ShingleSampleMeasure(self.ngrams, self.scale), self.sources)]


@dataclass(frozen=True)
class ShingleSampleMeasure:
    """Column ``shingle_sample``: the document's distinct shingles whose hash is below the limit,
    sorted.
    """

    ngrams: int
    scale: int
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numba",)

    def settings(self) -> dict[str, Any]:
        return {"ngrams": self.ngrams, "scale": self.scale, "algorithm": ALGORITHM}

    def fields(self) -> list[pa.Field]:
        return [pa.field(COLUMN, pa.large_list(pa.uint64()))]

    def measure(self, documents: pa.RecordBatch, resource: pa.Table | None) -> list[pa.Array]:
        offsets, hashes = sampled_shingles(documents["text"], self.ngrams, self.scale)
        return [pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(hashes))]
