"""The datatrove stage: one of datatrove's own filters or formatters over each document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from artifacts.errors import UserError
from artifacts.extras import require
from pipelines.executors.killable import OVER_LIMIT, SHARED, ProcessDiedError
from pipelines.signals.datatrove_blocks import BLOCKS, BlockUse, Words
from pipelines.stages.base import RowVerdict, StageSettings, Step, Surroundings
from pipelines.stages.bounded_steps import (
    BoundedMeasureStep,
    BoundedRewriteStep,
    CpuLimit,
    SetAsideStep,
)
from pipelines.stages.chunk_steps import ChooseStep

CPU_SECONDS = 5.0  # of the example corpus no document takes any block more than 0.13

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

    cpu_seconds: float = Field(
        default=CPU_SECONDS,
        ge=0.01,
        le=86_400,
        description=(
            "of the processor that the block may take for one document, as many again for each "
            "further MiB; one that it does not end on is quarantined"
        ),
    )

    def steps(self, around: Surroundings, name: str) -> list[Step]:
        require("datatrove")
        use = BlockUse(self.block, self.settings, self.words)
        use.check()
        _try_out(use)
        steps: list[Step] = []
        if use.kind.drops:
            measure = DatatroveMeasure(use, self.cpu_seconds)
            steps.append(BoundedMeasureStep(name, measure, self.sources))
            steps.append(self._set_aside(name, measure.limit, around))
            steps.append(ChooseStep(name, DatatroveChoose(name), self.sources))
        if use.kind.rewrites:
            rewrite = DatatroveRewrite(use, self.cpu_seconds)
            rewritten = f"{name}-rewrite" if steps else name
            steps.append(BoundedRewriteStep(rewritten, rewrite, self.sources))
            steps.append(self._set_aside(rewritten, rewrite.limit, around))
        return steps

    def _set_aside(self, of: str, limit: CpuLimit, around: Surroundings) -> Step:
        rule = DatatroveSetAside(of, limit, around.quarantine_bytes)
        return SetAsideStep(f"{of}-limit", rule, self.sources)


def _settings(use: BlockUse) -> dict[str, Any]:
    return {
        "block": use.block,
        "settings": use.settings,
        "words": use.words,
        "tokenizers": use.tokenizer_libraries(),
    }


def _try_out(use: BlockUse) -> None:
    """Let a block work on a short text, within a limit. Raises: UserError."""
    try:
        (found,) = SHARED.map(BlockUse.probe, [use], [CPU_SECONDS])
    except ProcessDiedError as error:
        found = f"its process died: {error.how}"
    if found is OVER_LIMIT:
        found = f"no end on a short text within {CPU_SECONDS:g} s of processor time"
    if found is not None:
        raise use.unusable(found)


def _limit(use: BlockUse, seconds: float) -> CpuLimit:
    return CpuLimit(f"datatrove's {use.block}", seconds)


def _within(
    use: BlockUse,
    function: Callable[[str], str | None],
    documents: pa.RecordBatch,
    limit: CpuLimit,
) -> tuple[list[str | None], NDArray[np.bool_]]:
    """What a block says of each text, None where it did not end within its limit, and where that
    is. Raises: UserError naming the document on which its process died.
    """
    texts = documents["text"].to_pylist()
    seconds = [limit.of(size) for size in pc.binary_length(documents["text"]).to_pylist()]
    try:
        answers = SHARED.map(function, texts, seconds, prepare=use.check)
    except ProcessDiedError as error:
        raise _died(limit.who, documents, error) from None
    undecided = np.array([answer is OVER_LIMIT for answer in answers], np.bool_)
    return [None if answer is OVER_LIMIT else answer for answer in answers], undecided


def _died(who: str, documents: pa.RecordBatch, error: ProcessDiedError) -> UserError:
    place = "before its first document"
    if error.index is not None:
        row = documents.slice(error.index, 1).to_pylist()[0]
        names = [row.get("native_id"), f"{row.get('path')} at {row.get('offset') or 0:,}"]
        place = f"source {row.get('source')}: {names[1]}" + (f" ({names[0]})" if names[0] else "")
    out_of_memory = ", most likely out of memory" if error.how == "SIGKILL" else ""
    return UserError(
        f"the process in which {who} works ended by {error.how}{out_of_memory}",
        found=place,
        fix=(
            "take this document out of its source, leave the block out, or restrict it to other "
            "sources (sources: […]); the same command goes on from here"
        ),
    )


@dataclass(frozen=True)
class DatatroveMeasure:
    """Column ``datatrove_reason``: why the block drops the document, null where it does not."""

    use: BlockUse
    cpu_seconds: float = CPU_SECONDS
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("datatrove",)

    def settings(self) -> dict[str, Any]:
        return _settings(self.use)

    def fields(self) -> list[pa.Field]:
        return [pa.field("datatrove_reason", pa.string())]

    @property
    def limit(self) -> CpuLimit:
        return _limit(self.use, self.cpu_seconds)

    def measure(self, documents: pa.RecordBatch, resource: pa.Table | None) -> list[pa.Array]:
        return self.measure_within(documents)[0]

    def measure_within(self, documents: pa.RecordBatch) -> tuple[list[pa.Array], NDArray[np.bool_]]:
        reasons, undecided = _within(self.use, self.use.reason, documents, self.limit)
        return [pa.array(reasons, pa.string())], undecided


@dataclass(frozen=True)
class DatatroveRewrite:
    """The text as the block leaves it; a text that a filter drops keeps its old version."""

    use: BlockUse
    cpu_seconds: float = CPU_SECONDS
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("datatrove",)

    def settings(self) -> dict[str, Any]:
        return _settings(self.use)

    @property
    def limit(self) -> CpuLimit:
        return _limit(self.use, self.cpu_seconds)

    def rewrite(self, texts: pa.LargeStringArray) -> pa.LargeStringArray:
        new, _ = self.rewrite_within(pa.record_batch([texts], ["text"]))
        return pc.coalesce(new, texts)

    def rewrite_within(
        self, documents: pa.RecordBatch
    ) -> tuple[pa.LargeStringArray, NDArray[np.bool_]]:
        texts, undecided = _within(self.use, self.use.changed, documents, self.limit)
        return pa.array(texts, pa.large_string()), undecided


@dataclass(frozen=True)
class DatatroveSetAside:
    """Quarantines the documents on which a block did not end, at most ``quarantine_bytes`` of
    each.
    """

    of: str  # the step that the block works in
    limit: CpuLimit
    quarantine_bytes: int
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ("orjson",)

    def settings(self) -> dict[str, Any]:
        return {
            "of": self.of,
            "who": self.limit.who,
            "cpu_seconds": self.limit.seconds,
            "quarantine_bytes": self.quarantine_bytes,
        }


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
