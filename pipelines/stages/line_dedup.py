"""The line_dedup stage: lines or paragraphs that stood before are cut out of texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from dedup.spans.lines import ALGORITHM, ends_with_line_feeds, lines
from dedup.spans.spans import Occurrences
from pipelines.corpus.keep_policy import KeepPolicy
from pipelines.stages.base import SpanStep, StageSettings, Step, Surroundings
from pipelines.stages.keep import keep_policy


class LineDedupStage(StageSettings):
    """Cut lines or paragraphs that stood before in keep order, byte for byte; the first ``times``
    copies stay.
    """

    kind: ClassVar[str] = "line_dedup"

    unit: Literal["line", "paragraph"] = Field(
        default="line", description="what is compared; paragraphs lie between empty lines"
    )
    least: int = Field(
        default=8,
        ge=1,
        description=(
            "words of a line or paragraph from which it is looked at (characters in Han, Kana, "
            "Hangul, Thai)"
        ),
    )
    times: int = Field(default=1, ge=1, le=1000, description="how often it may occur")
    keep: str = Field(
        default="source_rank, id",
        description="which document keeps it: columns in order of importance",
    )
    min_words: int = Field(
        default=1, ge=1, description="a document of which fewer words would be left is dropped"
    )

    def steps(self, around: Surroundings, name: str) -> list[Step]:
        policy = keep_policy(self.keep, around, (name, "keep"))
        return [
            SpanStep(
                name,
                LineSpans(self.unit, self.least, self.times, policy, self.min_words),
                self.sources,
            )
        ]


@dataclass(frozen=True)
class LineSpans:
    """Lines or paragraphs by a hash of their bytes."""

    kind: Literal["line", "paragraph"]
    least: int
    times: int
    policy: KeepPolicy
    min_words: int
    occurrences_per_hash: ClassVar[int] = 1
    version: ClassVar[int] = 2
    libraries: ClassVar[tuple[str, ...]] = ("numba",)

    @property
    def reason(self) -> str:
        return f"repeated_{self.kind}"

    @property
    def needs(self) -> tuple[str, ...]:
        return self.policy.needs()

    def settings(self) -> dict[str, Any]:
        own = {
            "unit": self.kind,
            "least": self.least,
            "times": self.times,
            "min_words": self.min_words,
        }
        return {**own, "keep": self.policy.text, "algorithm": ALGORITHM}

    def hashes(self, texts: pa.LargeStringArray, wanted: NDArray[np.bool_]) -> NDArray[np.uint64]:
        return lines(texts, self.kind, self.least, wanted).key

    def occurrences(
        self, texts: pa.LargeStringArray, flags: NDArray[np.bool_], wanted: NDArray[np.bool_]
    ) -> Occurrences:
        return lines(texts, self.kind, self.least, wanted).take(flags)

    def reach(
        self, texts: pa.LargeStringArray, row: NDArray[np.int64], end: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        return ends_with_line_feeds(texts, self.kind, row, end)
