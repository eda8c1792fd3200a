"""The minhash_dedup stage: near-duplicates, verified pair by pair before anything goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from artifacts.errors import UserError
from dedup.near.minhash import MinHashConfig, band_keys
from dedup.near.settings import Similarity
from pipelines.corpus.keep_policy import KeepPolicy
from pipelines.stages.base import CompareStep, Step, Surroundings
from pipelines.stages.chunk_steps import MeasureStep
from pipelines.stages.dedup_settings import DedupSettings, near_field
from pipelines.stages.keep import keep_policy


class MinHashDedupStage(DedupSettings):
    """Remove near-duplicates: MinHash bands find candidates, exact Jaccard on shingles decides.

    Documents are taken in the order of ``keep``; one is removed only if an already kept candidate
    is at least ``verify`` similar. So nothing is removed by a chain of resemblances.
    """

    kind: ClassVar[str] = "minhash_dedup"

    ngrams: int = near_field("ngrams")
    bands: int = near_field("bands", described=False)
    rows: int = near_field("rows", described=False)
    seed: int = near_field("seed", described=False)
    verify: float = near_field("verify")
    similarity: Similarity = near_field("similarity")
    keep: str = near_field("keep")
    max_comparisons: int = near_field("max_comparisons")
    quality_sample: int = near_field("quality_sample")

    def steps(self, around: Surroundings, name: str) -> list[Step]:
        policy = keep_policy(self.keep, around, (name, "keep"), self.preferred(around, name))
        jaccard = self.similarity == "jaccard"
        if not jaccard and self.quality_sample:
            fix = "leave quality_sample out, or take similarity: jaccard"
            message = "quality is measured by Jaccard similarity only"
            raise UserError(message, field=(name, "quality_sample"), found=self.similarity, fix=fix)
        config = MinHashConfig(ngrams=self.ngrams, bands=self.bands, rows=self.rows, seed=self.seed)
        return [
            MeasureStep(name, BandKeysMeasure(config), self.sources),
            CompareStep(
                name,
                MinHashCompare(
                    name, config, self.verify, self.similarity, self.max_comparisons, policy
                ),
                self.sources,
                in_parts=True,
                max_removed_share=self.max_removed_share,
                strictness="verify",
                quality_sample=self.quality_sample if jaccard else None,
            ),
        ]


@dataclass(frozen=True)
class BandKeysMeasure:
    """Column ``bands``: one 64-bit key per band; null for documents shorter than a shingle."""

    config: MinHashConfig
    version: ClassVar[int] = 3
    libraries: ClassVar[tuple[str, ...]] = ("numba",)

    def settings(self) -> dict[str, Any]:
        return {
            "ngrams": self.config.ngrams,
            "bands": self.config.bands,
            "rows": self.config.rows,
            "seed": self.config.seed,
            "algorithm": self.config.algorithm,
        }

    def fields(self) -> list[pa.Field]:
        return [pa.field("bands", pa.list_(pa.uint64(), self.config.bands))]

    def measure(self, documents: pa.RecordBatch, resource: pa.Table | None) -> list[pa.Array]:
        keys, signed = band_keys(documents["text"], self.config)
        return [
            pa.FixedSizeListArray.from_arrays(
                pa.array(keys.reshape(-1)), self.config.bands, mask=pa.array(~signed)
            )
        ]


@dataclass(frozen=True)
class MinHashCompare:
    """Documents that share a band key are candidates; their texts are read again and compared
    exactly, in keep order.

    Carried out in parts, see :mod:`pipelines.comparisons.near`.
    """

    measure: str
    config: MinHashConfig
    threshold: float
    similarity: str
    max_comparisons: int
    policy: KeepPolicy
    version: ClassVar[int] = 3
    libraries: ClassVar[tuple[str, ...]] = ("numba",)

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(sorted({self.measure, *self.policy.needs()}))

    def settings(self) -> dict[str, Any]:
        return {
            "verify": self.threshold,
            "similarity": self.similarity,
            "keep": self.policy.text,
            "max_comparisons": self.max_comparisons,
            "ngrams": self.config.ngrams,
        }
