"""The minhash_dedup stage: near-duplicates, verified pair by pair before anything goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from dedup.lsh import candidate_groups
from dedup.minhash import MinHashConfig, band_keys, shingle_sets
from dedup.shingles import ShingleSets
from dedup.verify import MAX_COMPARISONS, greedy_keep
from pipelines.corpus_view import CorpusView
from pipelines.keep_policy import KeepPolicy, parse_keep_policy
from pipelines.stages.base import CompareStep, CorpusVerdict, MeasureStep, Step, Surroundings
from pipelines.stages.dedup_settings import DedupSettings


class MinHashDedupStage(DedupSettings):
    """Remove near-duplicates: MinHash bands find candidates, exact Jaccard on shingles decides.

    Documents are taken in the order of ``keep``; one is removed only if an already kept candidate
    is at least ``verify`` similar. So nothing is removed by a chain of resemblances.
    """

    kind: ClassVar[str] = "minhash_dedup"

    ngrams: int = Field(default=5, ge=1, le=64, description="words per shingle (characters in Han, Kana, Hangul, Thai)")
    bands: int = Field(default=14, ge=1, le=256)
    rows: int = Field(default=8, ge=1, le=64)
    seed: int = Field(default=1, ge=0)
    verify: float = Field(default=0.7, gt=0, le=1, description="Jaccard similarity from which a document counts as a copy")
    keep: str = Field(default="characters desc, source_rank, id", description="which copy stays: columns in order of importance")
    max_comparisons: int = Field(
        default=MAX_COMPARISONS, ge=1, le=1 << 31, description="at most this many exact comparisons per document; reported when it binds"
    )
    quality_sample: int = Field(
        default=0, ge=0, le=1 << 24, description="documents to measure recall and precision on, exactly; 0: only what the S-curve expects"
    )

    def steps(self, around: Surroundings, name: str) -> list[Step]:
        policy = parse_keep_policy(self.keep, around.columns, f"{name}.keep", self.preferred(around, name))
        config = MinHashConfig(ngrams=self.ngrams, bands=self.bands, rows=self.rows, seed=self.seed)
        return [
            MeasureStep(name, BandKeysMeasure(config), self.sources),
            CompareStep(name, MinHashCompare(name, config, self.verify, self.max_comparisons, policy), self.sources),
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
        return [pa.FixedSizeListArray.from_arrays(pa.array(keys.reshape(-1)), self.config.bands, mask=pa.array(~signed))]


@dataclass(frozen=True)
class MinHashCompare:
    """Band groups give candidates; their texts are read again and compared exactly, in keep order."""

    measure: str
    config: MinHashConfig
    threshold: float
    max_comparisons: int
    policy: KeepPolicy
    version: ClassVar[int] = 3
    libraries: ClassVar[tuple[str, ...]] = ("numba",)

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(sorted({self.measure, *self.policy.needs()}))

    def settings(self) -> dict[str, Any]:
        return {"verify": self.threshold, "keep": self.policy.text, "max_comparisons": self.max_comparisons, "ngrams": self.config.ngrams}

    def compare(self, view: CorpusView) -> CorpusVerdict:
        column = view.column(self.measure, "bands")
        signed = column.is_valid().to_numpy(zero_copy_only=False)
        keys = np.zeros((len(view), self.config.bands), np.uint64)
        keys[signed] = column.drop_null().flatten().to_numpy().reshape(-1, self.config.bands)
        groups = candidate_groups(keys, signed)
        candidates = np.unique(groups.members).astype(np.int64)
        parts = [shingle_sets(texts, self.config) for texts in view.text_parts(candidates)]
        sets = _spread(parts, candidates, len(view))
        verdict = greedy_keep(view.priority(self.policy), groups, sets, self.threshold, self.max_comparisons)
        return CorpusVerdict(
            kept=verdict.kept,
            reason="near_duplicate",
            document=verdict.document,
            kept_row=verdict.kept_document,
            similarity=verdict.similarity,
            bands_hit=verdict.bands_hit,
            cluster_size=verdict.cluster_size,
            facts={
                "candidates": len(candidates),
                "groups": len(groups.offsets) - 1,
                "comparisons": verdict.compared,
                "comparisons_skipped": verdict.skipped,
                "documents_bounded": verdict.bounded,
                "largest_cluster": verdict.largest_cluster,
            },
        )


def _spread(parts: list[ShingleSets], rows: np.ndarray, count: int) -> ShingleSets:
    """Sets of the given rows (ascending), in parts, as sets of all rows, the others empty."""
    lengths = np.zeros(count, np.int64)
    if parts:
        lengths[rows] = np.concatenate([np.diff(part.offsets) for part in parts])
    hashes = np.concatenate([part.hashes for part in parts]) if parts else np.empty(0, np.uint64)
    return ShingleSets(np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]), hashes)
