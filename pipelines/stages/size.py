"""The measure every corpus has: how long each document's current text is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.stages.chunk_steps import MeasureStep

NAME = "size"


@dataclass(frozen=True)
class SizeMeasure:
    """Bytes (UTF-8) and characters (code points) of the text, and the columns a keep policy may
    want.
    """

    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ()

    def settings(self) -> dict[str, Any]:
        return {}

    def fields(self) -> list[pa.Field]:
        return [
            pa.field("bytes", pa.int64()),
            pa.field("characters", pa.int64()),
            pa.field("date", pa.string()),
        ]

    def measure(self, documents: pa.RecordBatch, resource: pa.Table | None) -> list[pa.Array]:
        text = documents["text"]
        return [
            pc.binary_length(text).cast(pa.int64()),
            pc.utf8_length(text).cast(pa.int64()),
            documents["date"],
        ]


def size_step() -> MeasureStep:
    return MeasureStep(NAME, SizeMeasure())
