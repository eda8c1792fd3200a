"""Files of which a part is gone: what breaks off in a file costs all that follows, not one record.

A reader quarantines the place where a file ends early or cannot be decoded further as one record.
Here it is measured how much of the stored file that is.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from pipelines.readers import Batch, Limits, Span
from pipelines.readers.streams.opened import compression_of, open_input

ENDS_A_FILE = (
    "truncated_stream",
    "corrupt_stream",
    "truncated_record",
    "corrupt_file",
    "corrupt_row_group",
)
"""Reasons of quarantine after which the rest of a file, or of a row group, is missing."""

CUT_OFF = ("truncated_stream", "truncated_record")
"""Those of a file that was stored in part."""

_STEPS = 256  # in which a file is decoded again, at the least
_LARGEST_STEP = 4096  # bytes
_DECODED_AT_ONCE = 1 << 16
_DECODE_ERRORS = (zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError, EOFError)


@dataclass
class SpanDamage:
    """What the batches of one span say of damage: its first reason, the bytes quarantined for it,
    the bytes that were decoded.
    """

    reason: str | None = None
    lengths: dict[str, int] = field(default_factory=dict)
    decoded: int = 0

    def add(self, batch: Batch) -> None:
        self.decoded += batch.bytes
        rows = batch.quarantine
        if not rows.num_rows:
            return
        ending = rows.filter(pc.is_in(rows["reason"], pa.array(ENDS_A_FILE)))
        pairs = zip(ending["reason"].to_pylist(), ending["length"].to_pylist(), strict=True)
        for reason, length in pairs:
            self.reason = self.reason or reason
            self.lengths[reason] = self.lengths.get(reason, 0) + length


def lost_file(span: Span, damage: SpanDamage, limits: Limits) -> dict[str, Any] | None:
    """What is gone of a span's file, as JSON values; None where it is whole.

    ``stored``: bytes of the file; ``gone``: those of them that gave nothing, null where that cannot
    be told. A file that was cut off lost nothing of what is stored.
    """
    if damage.reason is None:
        return None
    with open_input(span.url) as file:
        stored = file.seek(0, 2)
        file.seek(0)
        gone = _gone(file, span, damage, stored, limits)
    return {
        "path": span.path,
        "reason": damage.reason,
        "stored": stored,
        "gone": None if gone is None else min(max(gone, 0), stored),
    }


def _gone(
    file: IO[bytes], span: Span, damage: SpanDamage, stored: int, limits: Limits
) -> int | None:
    compression = compression_of(span.path)
    if "corrupt_file" in damage.lengths or damage.decoded == 0:
        return stored
    if "corrupt_row_group" in damage.lengths:
        return _of_row_groups(file, damage.lengths["corrupt_row_group"], stored)
    if compression is None:
        return 0
    read, decoded = _decodable(file, compression, stored, limits)
    if damage.decoded <= decoded:
        return stored - read
    return None if not decoded else stored - read * damage.decoded // decoded


def _of_row_groups(file: IO[bytes], length: int, stored: int) -> int | None:
    """The share of a Parquet file that ``length`` bytes of its row groups are, in stored bytes."""
    try:
        footer = pq.read_metadata(file)
    except (pa.ArrowException, OSError):
        return None
    sizes = [footer.row_group(group).total_byte_size for group in range(footer.num_row_groups)]
    whole = sum(size for size in sizes if size > 0)
    return stored * length // whole if whole else None


def _decodable(file: IO[bytes], compression: str, stored: int, limits: Limits) -> tuple[int, int]:
    """Up to which byte a compressed file can be decoded in one go, and how many bytes that gives;
    the place is known to a step.
    """
    sips: Any = _Sips(file, min(_LARGEST_STEP, max(1, stored // _STEPS)))
    decoded = 0
    try:
        reader = _reader(sips, compression, limits)
        while block := reader.read(_DECODED_AT_ONCE):
            decoded += len(block)
    except _DECODE_ERRORS:
        return max(0, sips.position - sips.step), decoded
    return stored, decoded


def _reader(sips: Any, compression: str, limits: Limits) -> Any:
    if compression == "gzip":
        return gzip.GzipFile(fileobj=sips)
    if compression == "bzip2":
        return bz2.BZ2File(sips)
    if compression == "xz":
        return lzma.LZMAFile(sips)
    if compression == "zstd":
        context = zstandard.ZstdDecompressor(max_window_size=limits.window_bytes)
        return context.stream_reader(sips, read_size=sips.step, read_across_frames=True)
    from fastwarc.stream_io import Lz4Reader  # late: few inputs are lz4

    return Lz4Reader(sips)


class _Sips:
    """A file that hands out a few bytes at a time, so that its position says how far a decoder
    came.
    """

    def __init__(self, inner: IO[bytes], step: int) -> None:
        self.step = step
        self.position = 0
        self._inner = inner

    def read(self, size: int = -1) -> bytes:
        block = self._inner.read(min(size, self.step) if size >= 0 else self.step)
        self.position += len(block)
        return block

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = self._inner.seek(offset, whence)
        return self.position

    def tell(self) -> int:
        return self.position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        return None


SHOWN = 20
"""Lost files that are named of each source; the others are counted."""


def lost_of_source(files: Sequence[dict[str, Any]], stored: int) -> dict[str, Any]:
    """The lost files of a source whose files have ``stored`` bytes together, as a fact of its
    ledger. Pieces of one file are one.
    """
    by_path: dict[str, dict[str, Any]] = {}
    for piece in files:
        before = by_path.get(piece["path"])
        gone = piece["gone"]
        if before is not None and gone is not None:
            known = before["gone"]
            gone = None if known is None else min(known + gone, before["stored"])
        by_path[piece["path"]] = {**(before or piece), "gone": gone}
    ordered = sorted(by_path.values(), key=lambda file: (-(file["gone"] or 0), file["path"]))
    return {
        "files": len(ordered),
        "stored": stored,
        "gone": sum(file["gone"] or 0 for file in ordered),
        "not_known": sum(file["gone"] is None for file in ordered),
        "cut": sum(file["reason"] in CUT_OFF for file in ordered),
        "named": ordered[:SHOWN],
    }


__all__ = ["ENDS_A_FILE", "SpanDamage", "lost_file", "lost_of_source"]
