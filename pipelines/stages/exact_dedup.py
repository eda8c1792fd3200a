"""The exact_dedup stage: of documents with the same text, the same words or the same address, one
stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from artifacts.ids import as_words, from_words
from dedup import same_words, urls
from dedup.exact import keep_first
from dedup.runs import least_rows
from dedup.same_words import same_words_hashes
from dedup.urls import url_hashes
from pipelines.corpus.keep_policy import KeepPolicy
from pipelines.corpus.view import CorpusView
from pipelines.stages.base import CompareStep, CorpusVerdict, Step, Surroundings
from pipelines.stages.chunk_steps import MeasureStep
from pipelines.stages.dedup_settings import DedupSettings
from pipelines.stages.keep import keep_policy

REASONS = {"text": "exact_duplicate", "normalized_text": "same_words", "url": "same_url"}
COLUMNS = {"normalized_text": "words_hash", "url": "url_hash"}


class ExactDedupStage(DedupSettings):
    """Remove documents that have the text, the words or the URL of another, across all sources.

    ``by``: ``text``, byte for byte; ``normalized_text``, the same words in the same order, whatever
    their case, accents, punctuation and spacing; ``url``, the same address in normal form. A
    document without words, or without a URL, is no copy by them.
    """

    kind: ClassVar[str] = "exact_dedup"

    by: Literal["text", "normalized_text", "url"] = Field(
        default="text", description="what has to be equal"
    )
    keep: str = Field(
        default="source_rank, id", description="which copy stays: columns in order of importance"
    )

    def steps(self, around: Surroundings, name: str) -> list[Step]:
        policy = keep_policy(self.keep, around, (name, "keep"), self.preferred(around, name))
        compare = CompareStep(
            name,
            ExactCompare(policy, self.by, name),
            self.sources,
            max_removed_share=self.max_removed_share,
        )
        return (
            [compare]
            if self.by == "text"
            else [MeasureStep(name, HashMeasure(self.by), self.sources), compare]
        )


@dataclass(frozen=True)
class HashMeasure:
    """One column, ``words_hash`` or ``url_hash``: 16 bytes, null where there is nothing to
    compare.
    """

    by: str
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("numba", "xxhash")

    def settings(self) -> dict[str, Any]:
        return {
            "by": self.by,
            "algorithm": same_words.ALGORITHM if self.by == "normalized_text" else urls.ALGORITHM,
        }

    def fields(self) -> list[pa.Field]:
        return [pa.field(COLUMNS[self.by], pa.binary(16))]

    def measure(self, documents: pa.RecordBatch, resource: pa.Table | None) -> list[pa.Array]:
        if self.by == "url":
            return [url_hashes(documents["url"])]
        hashes, has_words = same_words_hashes(documents["text"])
        bits = pa.array(has_words).buffers()[1]
        return [
            pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(16), len(hashes), [bits, from_words(hashes).buffers()[1]]
            )
        ]


@dataclass(frozen=True)
class ExactCompare:
    """Groups rows by a hash; evidence has similarity 1 and no bands."""

    policy: KeepPolicy
    by: str = "text"
    measure: str = ""  # that makes the hash, where it is not the text's
    version: ClassVar[int] = 2
    libraries: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        own = () if self.by == "text" else (self.measure,)
        return tuple(sorted({*own, *self.policy.needs()}))

    def settings(self) -> dict[str, Any]:
        return {"keep": self.policy.text, "by": self.by}

    def compare(self, view: CorpusView) -> CorpusVerdict:
        hashes = (
            view.text_hashes if self.by == "text" else view.column(self.measure, COLUMNS[self.by])
        )
        rows = np.flatnonzero(hashes.is_valid().to_numpy(zero_copy_only=False))
        kept, kept_row, cluster_size = keep_first(
            hashes.drop_null(), view.priority(self.policy)[rows]
        )
        removed = np.flatnonzero(~kept)
        stays = np.ones(len(view), np.bool_)
        stays[rows[removed]] = False
        return CorpusVerdict(
            kept=stays,
            reason=REASONS[self.by],
            document=rows[removed],
            kept_row=rows[kept_row[removed]],
            similarity=np.ones(len(removed), np.float32),
            bands_hit=np.zeros(len(removed), np.int32),
            cluster_row=_least_of_cluster(view, rows[kept_row[removed]], rows[removed]),
            cluster_size=cluster_size[removed],
            facts={"clusters": len(np.unique(kept_row[removed]))},
        )


def _least_of_cluster(
    view: CorpusView, kept: NDArray[np.int64], removed: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For each removed row, the row with the least id among those that the same kept row stands
    for, and that one.
    """
    keepers = np.unique(kept)
    rows, clusters = np.concatenate([removed, keepers]), np.concatenate([kept, keepers])
    least: NDArray[np.int64] = rows[least_rows(clusters, as_words(view.ids.take(pa.array(rows))))]
    return least[: len(removed)]
