"""The base of every part of a recipe."""

from __future__ import annotations

from pydantic import (
    BaseModel,
    ConfigDict,
)


class Part(BaseModel):
    """A part of a recipe: frozen, no unknown keys, finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
