"""The exact_dedup stage: of documents with the same text, one stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from dedup.exact import keep_first
from pipelines.corpus_view import CorpusView
from pipelines.keep_policy import KeepPolicy, parse_keep_policy
from pipelines.stages.base import CompareStep, CorpusVerdict, Step, Surroundings
from pipelines.stages.dedup_settings import DedupSettings


class ExactDedupStage(DedupSettings):
    """Remove documents whose text is byte for byte that of another, across all sources."""

    kind: ClassVar[str] = "exact_dedup"

    keep: str = Field(default="source_rank, id", description="which copy stays: columns in order of importance")

    def steps(self, around: Surroundings, name: str) -> list[Step]:
        policy = parse_keep_policy(self.keep, around.columns, f"{name}.keep")
        return [CompareStep(name, ExactCompare(policy), self.sources)]


@dataclass(frozen=True)
class ExactCompare:
    """Groups rows by text hash; evidence has similarity 1 and no bands."""

    policy: KeepPolicy
    version: ClassVar[int] = 2
    libraries: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        return self.policy.needs()

    def settings(self) -> dict[str, Any]:
        return {"keep": self.policy.text}

    def compare(self, view: CorpusView) -> CorpusVerdict:
        kept, kept_row, cluster_size = keep_first(view.text_hashes, view.priority(self.policy))
        removed = np.flatnonzero(~kept)
        return CorpusVerdict(
            kept=kept,
            reason="exact_duplicate",
            document=removed,
            kept_row=kept_row[removed],
            similarity=np.ones(len(removed), np.float32),
            bands_hit=np.zeros(len(removed), np.int32),
            cluster_size=cluster_size[removed],
            facts={"clusters": len(np.unique(kept_row[removed]))},
        )
