"""What every instruction source gets first: conversations that cannot be trained on are dropped
with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.stages.base import RowVerdict, Step
from pipelines.stages.chunk_steps import ChooseStep, MeasureStep
from tokenizer.chat import REASONS, problems

NAME = "conversations"


def conversation_steps(sources: tuple[str, ...]) -> list[Step]:
    """Steps for the sources that declare a ``messages_field``."""
    return [
        MeasureStep(NAME, ConversationMeasure(), sources),
        ChooseStep(NAME, ConversationChoose(), sources),
    ]


@dataclass(frozen=True)
class ConversationMeasure:
    """Columns ``turns`` and ``conversation_problem`` (null when sound)."""

    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ()

    def settings(self) -> dict[str, Any]:
        return {}

    def fields(self) -> list[pa.Field]:
        return [pa.field("turns", pa.int32()), pa.field("conversation_problem", pa.string())]

    def measure(self, documents: pa.RecordBatch, resource: pa.Table | None) -> list[pa.Array]:
        messages = documents["messages"]
        return [pc.list_value_length(messages).cast(pa.int32()), problems(messages)]


@dataclass(frozen=True)
class ConversationChoose:
    """Drops conversations by their problem."""

    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        return (NAME,)

    def settings(self) -> dict[str, Any]:
        return {}

    def choose(self, signals: dict[str, pa.Table]) -> RowVerdict:
        found = signals[NAME]["conversation_problem"].combine_chunks()
        index = pc.fill_null(pc.index_in(found, pa.array(REASONS, pa.string())), -1).to_numpy(
            zero_copy_only=False
        )
        rules = np.where(
            index < 0, 0, np.left_shift(np.uint64(1), np.maximum(index, 0).astype(np.uint64))
        ).astype(np.uint64)
        return RowVerdict(REASONS, rules, found)
