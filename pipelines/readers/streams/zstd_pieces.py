"""Compressed zstd cut into pieces that cannot decode to much: behind every fourth block header.

A decoder hands out everything a piece holds, and 4 bytes may hold 128 KiB; pieces of a few hundred
bytes bound that but cost a call each. Frames and blocks say their own lengths (RFC 8878, section
3.1), so the headers are found without decoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import zstandard

READ_BYTES = 1 << 20
BLOCKS_PER_PIECE = 4  # of at most 128 KiB decoded
BLIND_PIECE_BYTES = 512  # where no headers are found: 16 MiB decoded at the most

_FRAME_MAGIC = zstandard.FRAME_HEADER
_SKIPPABLE = frozenset(range(0x184D2A50, 0x184D2A60))
_LONGEST_HEADER = 18
_HAS_CHECKSUM = 4
_RLE, _RESERVED = 1, 3


def zstd_pieces(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """(position in the file, bytes) of a whole zstd file; what follows on a header that is none
    comes in small pieces.
    """
    walk = _Walk()
    buffer, position = b"", 0  # bytes read and not yet handed on, and where they lie in the file
    while block := file.read(READ_BYTES):
        buffer = buffer + block if buffer else block
        start = 0
        for cut in walk.cuts(buffer):
            yield position + start, buffer[start:cut]
            start = cut
        buffer, position = buffer[start:], position + start
        if walk.lost:
            break
    while buffer:
        for start in range(0, len(buffer), BLIND_PIECE_BYTES):
            yield position + start, buffer[start : start + BLIND_PIECE_BYTES]
        position += len(buffer)
        buffer = file.read(READ_BYTES)


class _Walk:
    """Steps from header to header; ``lost`` once one is none."""

    def __init__(self) -> None:
        self.lost = False
        self._in_frame = False
        self._trailer = 0  # bytes of checksum behind the frame's last block
        self._ahead = 0  # bytes from the beginning of the next buffer to the next header

    def cuts(self, buffer: bytes) -> Iterator[int]:
        """Where to cut a buffer; it is to come again from the last cut on, with more behind it."""
        place, start, headers = self._ahead, 0, 0
        while place < len(buffer):
            step = self._block(buffer, place) if self._in_frame else self._frame(buffer, place)
            if not step:
                break
            place += step
            headers += 1
            if headers == BLOCKS_PER_PIECE and place < len(buffer):
                yield place
                start, headers = place, 0
        end = min(place, len(buffer))
        if end > start:
            yield end
        self._ahead = place - end

    def _frame(self, buffer: bytes, place: int) -> int:
        """Length of the frame header there, of a skippable frame the whole; 0 where it does not lie
        in the buffer, or is none.
        """
        head = buffer[place : place + _LONGEST_HEADER]
        if len(head) < 8:
            return 0
        if int.from_bytes(head[:4], "little") in _SKIPPABLE:
            return 8 + int.from_bytes(head[4:8], "little")
        if not head.startswith(_FRAME_MAGIC):
            self.lost = True
            return 0
        length: int = zstandard.frame_header_size(head)
        if length > len(head):
            return 0
        self._trailer = 4 if head[4] & _HAS_CHECKSUM else 0
        self._in_frame = True
        return length

    def _block(self, buffer: bytes, place: int) -> int:
        """Length of the block there with its header, of the last block with the checksum too."""
        if place + 3 > len(buffer):
            return 0
        header = int.from_bytes(buffer[place : place + 3], "little")
        kind, size = header >> 1 & 3, header >> 3
        if kind == _RESERVED:
            self.lost = True
            return 0
        last = header & 1
        self._in_frame = not last
        return 3 + (1 if kind == _RLE else size) + (self._trailer if last else 0)
