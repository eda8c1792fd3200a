"""The substring_dedup stage: passages that stood before are cut out of texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from dedup.spans.passages import (
    ALGORITHM,
    LONGEST,
    SHORTEST,
    anchors,
    ends_with_separators,
    windows,
)
from dedup.spans.spans import Occurrences
from pipelines.corpus.keep_policy import KeepPolicy
from pipelines.stages.base import SpanStep, StageSettings, Step, Surroundings
from pipelines.stages.keep import keep_policy


class SubstringDedupStage(StageSettings):
    """Cut passages of at least ``length`` words that stood before in keep order, byte for byte; the
    first copy stays.
    """

    kind: ClassVar[str] = "substring_dedup"

    length: int = Field(
        default=50,
        ge=SHORTEST,
        le=LONGEST,
        description="words from which a passage is cut (characters in Han, Kana, Hangul, Thai)",
    )
    keep: str = Field(
        default="source_rank, id",
        description="which document keeps a passage: columns in order of importance",
    )
    min_words: int = Field(
        default=1, ge=1, description="a document of which fewer words would be left is dropped"
    )

    def steps(self, around: Surroundings, name: str) -> list[Step]:
        policy = keep_policy(self.keep, around, (name, "keep"))
        return [SpanStep(name, PassageSpans(self.length, policy, self.min_words), self.sources)]


@dataclass(frozen=True)
class PassageSpans:
    """Windows of ``length`` words whose anchor occurs twice, and of these the ones that do."""

    length: int
    policy: KeepPolicy
    min_words: int
    kind: ClassVar[str] = "passage"
    reason: ClassVar[str] = "repeated_passage"
    times: ClassVar[int] = 1
    version: ClassVar[int] = 2
    libraries: ClassVar[tuple[str, ...]] = ("numba",)

    @property
    def needs(self) -> tuple[str, ...]:
        return self.policy.needs()

    @property
    def occurrences_per_hash(self) -> int:
        return self.length - self.length // 2 + 1

    def settings(self) -> dict[str, Any]:
        return {
            "length": self.length,
            "keep": self.policy.text,
            "min_words": self.min_words,
            "algorithm": ALGORITHM,
        }

    def hashes(self, texts: pa.LargeStringArray, wanted: NDArray[np.bool_]) -> NDArray[np.uint64]:
        return anchors(texts, self.length, wanted)[0]

    def occurrences(
        self, texts: pa.LargeStringArray, flags: NDArray[np.bool_], wanted: NDArray[np.bool_]
    ) -> Occurrences:
        return windows(texts, self.length, flags, wanted)

    def reach(
        self, texts: pa.LargeStringArray, row: NDArray[np.int64], end: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        return ends_with_separators(texts, row, end)
