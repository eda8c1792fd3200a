"""What becomes of weights that have seen a document which was taken down since."""

from __future__ import annotations

from typing import Literal

from artifacts.errors import UserError

Way = Literal["keep", "back", "restart"]
"""Go on with them, from the last checkpoint that has not seen it, or from the start."""


def chosen_way(keep: bool, back: bool, restart: bool) -> Way | None:
    """What the switches of a command say. Raises: UserError when they contradict each other."""
    ways: dict[Way, bool] = {"keep": keep, "back": back, "restart": restart}
    given = [way for way, said in ways.items() if said]
    if len(given) > 1:
        raise UserError(
            "what becomes of weights that have seen a document is said once",
            parameter=given[1],
            found=", ".join(given),
            fix="give one of them",
        )
    return given[0] if given else None
