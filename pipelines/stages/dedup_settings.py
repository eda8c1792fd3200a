"""Settings that every stage has that removes copies."""

from __future__ import annotations

from pydantic import Field

from pipelines.stages.base import StageSettings


class DedupSettings(StageSettings):
    """What bounds a comparison; none of it decides which document is a copy."""

    max_removed_share: float = Field(
        default=0.9, gt=0, le=1, description="share of a source's documents; a comparison that removes more of a source stops the run"
    )
