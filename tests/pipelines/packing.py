"""Compression as tests write it, by suffix."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable

import zstandard
from fastwarc.stream_io import Lz4Writer


def lz4(content: bytes) -> bytes:
    """One LZ4 frame."""
    target = io.BytesIO()
    writer = Lz4Writer(target)
    writer.write(content)
    writer.finish()
    writer.flush()
    return target.getvalue()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lz4": lz4,
}
