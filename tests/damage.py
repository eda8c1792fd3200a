"""What can happen to the bytes of a file."""

from __future__ import annotations

DAMAGES = ("empty", "list", "half", "type", "flipped", "text")


def broken(raw: bytes, how: str) -> bytes:
    """The bytes of a file after some damage, never the same."""
    middle = len(raw) // 2
    flipped = bytearray(raw)
    for place in range(middle, max(middle + 1, len(raw) * 3 // 4), 7):
        flipped[place : place + 1] = bytes([raw[place] ^ 0x15])
    return {
        "empty": b"",
        "list": b"[]",
        "half": raw[:middle],
        "type": b'{"format": 7, "units": 5, "files": "x", "checksum": []}',
        "flipped": bytes(flipped) if raw else b"\0",
        "text": b"\xff\xfe{" + b"[" * 5000,
    }[how]
