"""Names that a recipe gives: they become folders, columns and keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
LONGEST_NAME = 100

Name = Annotated[str, Field(pattern=NAME, max_length=LONGEST_NAME)]
