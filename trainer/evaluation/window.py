"""The window in which a model is measured."""

from __future__ import annotations

from artifacts.errors import UserError


def check_window(window: int) -> None:
    """Raises: UserError for a window of less than two tokens."""
    if window < 2:
        raise UserError(
            "a window has a token to predict and one before it",
            parameter="window",
            found=window,
            fix="give at least 2",
        )
