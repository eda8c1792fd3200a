"""The datatrove stage: one of datatrove's own filters or formatters over each document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipelines.stages.base import RowVerdict, StageSettings, Step, Surroundings
from pipelines.stages.chunk_steps import ChooseStep, MeasureStep, RewriteStep
from pipelines.stages.datatrove_blocks import BLOCKS, BlockUse, Words

MOST_REASONS = 64  # bits of a verdict; further reasons share the last


class DatatroveStage(StageSettings):
    """Run a datatrove block. A filter drops with datatrove's reason; a formatter, and
    C4QualityFilter, rewrite.

    datatrove stops at the first rule a document breaks, so the verdict holds one reason per
    document. Blocks work on one Python string at a time: expect well under 1 MB/s per core where
    words are segmented.
    """

    kind: ClassVar[str] = "datatrove"

    block: str = Field(
        description="class name of the block", json_schema_extra={"enum": [*sorted(BLOCKS)]}
    )
    settings: dict[str, Any] = Field(
        default_factory=dict, description="arguments of the block, as datatrove documents them"
    )
    words: Words = Field(
        default="datatrove",
        description=(
            "whose words: datatrove's tokenizer of the language (extra words), or split at "
            "whitespace"
        ),
    )

    def steps(self, around: Surroundings, name: str) -> list[Step]:
        use = BlockUse(self.block, self.settings, self.words)
        use.check()
        steps: list[Step] = []
        if use.kind.drops:
            steps.append(MeasureStep(name, DatatroveMeasure(use), self.sources))
            steps.append(ChooseStep(name, DatatroveChoose(name), self.sources))
        if use.kind.rewrites:
            steps.append(
                RewriteStep(
                    f"{name}-rewrite" if steps else name, DatatroveRewrite(use), self.sources
                )
            )
        return steps


def _settings(use: BlockUse) -> dict[str, Any]:
    return {
        "block": use.block,
        "settings": use.settings,
        "words": use.words,
        "tokenizers": use.tokenizer_libraries(),
    }


@dataclass(frozen=True)
class DatatroveMeasure:
    """Column ``datatrove_reason``: why the block drops the document, null where it does not."""

    use: BlockUse
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("datatrove",)

    def settings(self) -> dict[str, Any]:
        return _settings(self.use)

    def fields(self) -> list[pa.Field]:
        return [pa.field("datatrove_reason", pa.string())]

    def measure(self, documents: pa.RecordBatch, resource: pa.Table | None) -> list[pa.Array]:
        return [
            pa.array([self.use.reason(text.as_py()) for text in documents["text"]], pa.string())
        ]


@dataclass(frozen=True)
class DatatroveRewrite:
    """The text as the block leaves it; a text that a filter drops keeps its old version."""

    use: BlockUse
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("datatrove",)

    def settings(self) -> dict[str, Any]:
        return _settings(self.use)

    def rewrite(self, texts: pa.LargeStringArray) -> pa.LargeStringArray:
        return pa.array([self.use.rewritten(text.as_py()) for text in texts], pa.large_string())


@dataclass(frozen=True)
class DatatroveChoose:
    """Drops where there is a reason; the reasons of a chunk in alphabetical order are its rules."""

    measure: str
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.measure,)

    def settings(self) -> dict[str, Any]:
        return {}

    def choose(self, signals: dict[str, pa.Table]) -> RowVerdict:
        reason = signals[self.measure]["datatrove_reason"].combine_chunks()
        names = sorted(pc.unique(reason.drop_null()).to_pylist())
        index = pc.index_in(reason, pa.array(names, pa.string()))
        bit = np.minimum(
            pc.fill_null(index, 0).to_numpy(zero_copy_only=False), MOST_REASONS - 1
        ).astype(np.uint64)
        rules = np.where(
            index.is_valid().to_numpy(zero_copy_only=False), np.left_shift(np.uint64(1), bit), 0
        ).astype(np.uint64)
        return RowVerdict(tuple(names), rules, reason)
