"""By which rule held-out text is cut: a number of bytes of whole documents, or of windows."""

from __future__ import annotations

from typing import Literal

Rule = Literal["documents", "windows"]

DOCUMENTS: Rule = "documents"

WINDOWS: Rule = "windows"
"""Of trainings that began before documents were measured: their figures stay comparable."""
