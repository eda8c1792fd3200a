"""A file that remembers its own failures, to tell a broken input from a broken disk or network."""

from __future__ import annotations

import io
from typing import IO, Any


class WatchedFile(io.RawIOBase):
    """Reads of another file; ``failure`` is the exception the last of them ended with, if any.

    Decoders turn every error of the file they read into one of their own. A failure of storage must
    stop the run, broken content must go into quarantine: :meth:`raise_failure` tells them apart.
    """

    def __init__(self, inner: IO[bytes]) -> None:
        super().__init__()
        self._inner = inner
        self.failure: Exception | None = None

    def raise_failure(self) -> None:
        """Raise what a read failed with, if one did."""
        if self.failure is not None:
            raise self.failure

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._inner.seekable()

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            return self._inner.read(-1 if size is None else size)
        except Exception as error:
            self.failure = error
            raise

    def readinto(self, buffer: Any, /) -> int:
        block = self.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return self._inner.seek(offset, whence)
        except Exception as error:
            self.failure = error
            raise

    def tell(self) -> int:
        return self._inner.tell()
