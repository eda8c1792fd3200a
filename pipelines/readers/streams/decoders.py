"""Decoders of compressed input, piece by piece, each handing out bounded blocks.

gzip ends member by member, zstd frame by frame, bzip2 and xz stream by stream; each of these is a
*member* here. lz4 is decoded by FastWARC's own reader, in
:mod:`pipelines.readers.streams.decoding`.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import zstandard

from pipelines.readers.span import Limits

BLOCK_BYTES = 1 << 20

ERRORS = (zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError, EOFError)


class Decoder(Protocol):
    """Of one member."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def feed(self, piece: bytes) -> Iterator[bytes]: ...


def decoder_factory(compression: str, limits: Limits) -> Callable[[], Decoder]:
    """What makes the decoder of each member. Raises: ValueError for an unknown compression."""
    if compression == "gzip":
        return _GzipDecoder
    if compression == "zstd":
        context = zstandard.ZstdDecompressor(max_window_size=limits.window_bytes)
        return lambda: _ZstdDecoder(context)
    if compression == "bzip2":
        return lambda: _BoundedDecoder(bz2.BZ2Decompressor())
    if compression == "xz":
        return lambda: _BoundedDecoder(lzma.LZMADecompressor(memlimit=4 * limits.window_bytes))
    raise ValueError(f"unknown compression {compression!r}")


class _GzipDecoder:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def feed(self, piece: bytes) -> Iterator[bytes]:
        block = self._inner.decompress(piece, BLOCK_BYTES)
        yield block
        # after the end of a member zlib keeps what it did not want in unconsumed_tail too, for ever
        while not self._inner.eof and (self._inner.unconsumed_tail or len(block) == BLOCK_BYTES):
            block = self._inner.decompress(self._inner.unconsumed_tail, BLOCK_BYTES)
            yield block


class _ZstdDecoder:
    def __init__(self, context: zstandard.ZstdDecompressor) -> None:
        self._inner: Any = context.decompressobj()

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inner.unused_data)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        yield self._inner.decompress(piece)


class _BoundedDecoder:
    """bzip2 and xz decoders of the standard library, which hold back output beyond a bound."""

    def __init__(self, inner: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> None:
        self._inner = inner

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def feed(self, piece: bytes) -> Iterator[bytes]:
        yield self._inner.decompress(piece, BLOCK_BYTES)
        while not self._inner.needs_input and not self._inner.eof:
            yield self._inner.decompress(b"", BLOCK_BYTES)
