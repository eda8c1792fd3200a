"""Kinds of values that settings of designs are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A learning rate."""
