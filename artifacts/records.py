"""Records: the one base of settings and of the JSON files that describe others."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Fields that stay as they were read. An unknown one is an error, never left out in silence."""

    model_config = ConfigDict(frozen=True, extra="forbid")
