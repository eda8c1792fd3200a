"""Names of sources and branches as a table has room for them."""

from __future__ import annotations

LONGEST = 32
_END = 10


def shortened(name: str) -> str:
    """A name in at most :data:`LONGEST` columns: its beginning and its end, which tell the names of
    a recipe apart.
    """
    return name if len(name) <= LONGEST else f"{name[: LONGEST - _END - 1]}…{name[-_END:]}"
