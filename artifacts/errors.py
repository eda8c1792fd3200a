"""Errors a user can act on: where it is, what was found, what is allowed, how to mend it.

Raise :class:`UserError` for anything the user can put right. The command line prints it without
a traceback; everything else that reaches the top is a defect of this software.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class UserError(Exception):
    """A mistake in the user's input.

    Parameters name what is known, all optional but the message: ``file`` and ``line`` (1-based),
    ``field`` (dotted), ``found`` (the offending value), ``allowed`` (the values accepted) and
    ``fix`` (one sentence). When ``allowed`` holds names, the nearest match is suggested.
    """

    def __init__(
        self,
        message: str,
        *,
        file: object = None,
        line: int | None = None,
        field: str | None = None,
        found: object = None,
        allowed: Iterable[object] | None = None,
        fix: str | None = None,
    ) -> None:
        self.message = message
        self.file = None if file is None else str(file)
        self.line = line
        self.field = field
        self.found = found
        self.allowed = None if allowed is None else [str(value) for value in allowed]
        self.fix = fix
        super().__init__(self.render())

    def changed(self, **facts: Any) -> UserError:
        """The same error with some facts replaced; names are those of the parameters."""
        own = {
            name: getattr(self, name)
            for name in ("message", "file", "line", "field", "found", "allowed", "fix")
        }
        return UserError(**{**own, **facts})

    @property
    def nearest(self) -> str | None:
        """The allowed value closest to what was found, if any is close."""
        if self.found is None or not self.allowed:
            return None
        close = difflib.get_close_matches(str(self.found), self.allowed, n=1, cutoff=0.5)
        return close[0] if close else None

    def render(self) -> str:
        """The error as the user reads it, a line per fact."""
        place = self.file or ""
        if self.line is not None:
            place = f"{place}:{self.line}"
        lines = [f"{place}: {self.message}" if place else self.message]
        if self.field:
            lines.append(f"  field:   {self.field}")
        if self.found is not None:
            lines.append(f"  found:   {_short(self.found)}")
        if self.allowed:
            lines.append(f"  allowed: {', '.join(self.allowed)}")
        if self.nearest:
            lines.append(f"  nearest: {self.nearest}")
        if self.fix:
            lines.append(f"  fix:     {self.fix}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        return (
            _rebuild,
            (
                {
                    "message": self.message,
                    "file": self.file,
                    "line": self.line,
                    "field": self.field,
                    "found": None if self.found is None else str(self.found),
                    "allowed": self.allowed,
                    "fix": self.fix,
                },
            ),
        )


def _rebuild(facts: dict[str, object]) -> UserError:
    return UserError(**facts)  # type: ignore[arg-type]


def _short(value: object, limit: int = 200) -> str:
    text = str(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
