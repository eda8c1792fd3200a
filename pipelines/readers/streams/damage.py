"""Damage of a stream: what a decoder could not hand on, or handed on under a failing checksum."""

from __future__ import annotations

from typing import NamedTuple

TRUNCATED_STREAM = "truncated_stream"
CORRUPT_STREAM = "corrupt_stream"


class Damage(NamedTuple):
    """It stands among the blocks of a stream, at the place where it was found.

    ``reason``: truncated_stream or corrupt_stream. ``detail``: for people, with positions in the
    compressed file. ``suspect``: uncompressed offsets (start, end) of what was handed on since the
    last checksum that held; its bytes may be altered. ``gap``: True where bytes are missing here.
    """

    reason: str
    detail: str
    suspect: tuple[int, int] | None = None
    gap: bool = True
