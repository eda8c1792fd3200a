"""Lines that are no documents on their way into quarantine, in bounded memory.

Where more than :data:`MOST_LINES` of them start in one MiB of the stream, those of one reason are
one record of the quarantine, which says how many lines it stands for and where they lie. The MiB
are counted from the beginning of the stream, so that chunks of whole MiB find the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.readers.batch import Collector
from pipelines.readers.rows.records import RecordRejectedError

MOST_LINES = 1000
WINDOW_BYTES = 1 << 20


@dataclass
class _Kind:
    """Lines of one reason: where the first starts and the last ends, what they come to."""

    offset: int
    detail: str | None
    lines: int = 0
    length: int = 0
    end: int = 0
    raw: bytes = b""


class BadLines:
    """Collects the rejected lines of one span; :meth:`close` hands on what waits."""

    def __init__(self, collector: Collector, raw_bytes: int) -> None:
        self._collector = collector
        self._raw_bytes = raw_bytes
        self._window = -1
        self._clear()

    def _clear(self) -> None:
        self._lines: list[tuple[int, int, bytes, RecordRejectedError]] = []
        self._kinds: dict[str, _Kind] = {}
        self._count = 0

    def reject(self, offset: int, length: int, raw: bytes, rejection: RecordRejectedError) -> None:
        """A line of that length, whose beginning is ``raw``; offsets ascend."""
        if offset // WINDOW_BYTES != self._window:
            self.close()
            self._window = offset // WINDOW_BYTES
        self._count += 1
        if self._count <= MOST_LINES:
            self._lines.append((offset, length, raw[: self._raw_bytes], rejection))
        kind = self._kinds.get(rejection.reason)
        if kind is None:
            kind = self._kinds[rejection.reason] = _Kind(offset, rejection.detail)
        kind.lines += 1
        kind.length += length
        kind.end = offset + length
        if len(kind.raw) < self._raw_bytes:
            kind.raw += raw[: self._raw_bytes - len(kind.raw)] + b"\n"

    def close(self) -> None:
        """Hand the lines of the window on to the batch."""
        if self._count <= MOST_LINES:
            for line in self._lines:
                self._collector.reject(*line)
        else:
            for reason, kind in self._kinds.items():
                detail = f"{kind.lines} lines up to byte {kind.end}, the first: {kind.detail}"
                rejection = RecordRejectedError(reason, detail)
                self._collector.reject(kind.offset, kind.length, kind.raw, rejection)
        self._clear()
