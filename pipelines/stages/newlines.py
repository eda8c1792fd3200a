"""The newlines stage: one spelling of line ends, no byte-order mark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipelines.stages.base import StageSettings, Step, Surroundings
from pipelines.stages.chunk_steps import RewriteStep


class NewlinesStage(StageSettings):
    """Rewrite CR LF and CR as LF, remove a byte-order mark, and bound runs of empty lines."""

    kind: ClassVar[str] = "newlines"

    max_blank_lines: int | None = Field(
        default=None,
        ge=1,
        le=998,
        description="longer runs of empty lines are cut to this; default: left alone",
    )

    def steps(self, around: Surroundings, name: str) -> list[Step]:
        return [RewriteStep(name, NewlinesRewrite(self.max_blank_lines), self.sources)]


@dataclass(frozen=True)
class NewlinesRewrite:
    max_blank_lines: int | None
    version: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = ()

    def settings(self) -> dict[str, Any]:
        return {"max_blank_lines": self.max_blank_lines}

    def rewrite(self, texts: pa.LargeStringArray) -> pa.LargeStringArray:
        texts = pc.replace_substring(texts, "\r\n", "\n")
        texts = pc.replace_substring(texts, "\r", "\n")
        texts = pc.replace_substring_regex(texts, "^\ufeff", "")
        if self.max_blank_lines is not None:
            longest = self.max_blank_lines + 1
            texts = pc.replace_substring_regex(texts, f"\n{{{longest + 1},}}", "\n" * longest)
        return texts
