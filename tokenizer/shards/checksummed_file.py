"""A file that knows the checksum of what was written to it, whole and block by block."""

from __future__ import annotations

from typing import IO, Any

import xxhash

BLOCK_BYTES = 1 << 20


class ChecksummedFile:
    """A binary file that hashes what passes through: whole (xxh3_128) and in blocks (xxh3_64)."""

    def __init__(self, file: IO[bytes], block_bytes: int = BLOCK_BYTES) -> None:
        self.file = file
        self.block_bytes = block_bytes
        self.bytes = 0
        self.closed = False
        self._whole = xxhash.xxh3_128()
        self._block = xxhash.xxh3_64()
        self._blocks: list[str] = []

    def write(self, data: Any) -> int:
        """Write and hash; returns the bytes written."""
        view = memoryview(data).cast("B")
        self.file.write(view)
        self._whole.update(view)
        done = 0
        while done < len(view):
            room = self.block_bytes - self.bytes % self.block_bytes
            piece = view[done : done + room]
            self._block.update(piece)
            self.bytes += len(piece)
            done += len(piece)
            if self.bytes % self.block_bytes == 0:
                self._end_block()
        return len(view)

    def flush(self) -> None:
        """Hand on what the file below holds back."""
        self.file.flush()

    def close(self) -> None:
        """Stop accepting data; the file below stays open and belongs to the caller."""
        self.closed = True

    def digests(self) -> tuple[str, tuple[str, ...]]:
        """Hex checksum of all bytes, and of each block, the last one partial."""
        if self.bytes % self.block_bytes:
            return self._whole.hexdigest(), (*self._blocks, self._block.hexdigest())
        return self._whole.hexdigest(), tuple(self._blocks)

    def _end_block(self) -> None:
        self._blocks.append(self._block.hexdigest())
        self._block.reset()
