"""Uncompressed bytes of an input, in bounded blocks, with an honest end where decoding fails.

Compressed input is decoded member by member (gzip), frame by frame (zstd) and stream by stream
(bzip2, xz). When decoding fails, everything that can be decoded before the damage is still handed
on: the stretch in which it failed is decoded once more, byte by byte. Memory stays bounded
however well the input is compressed.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import IO, Any, Protocol

import fsspec
import zstandard

from artifacts.errors import UserError
from pipelines.readers.span import Limits
from pipelines.readers.watched import WatchedFile
from pipelines.readers.zstd_pieces import BLIND_PIECE_BYTES, zstd_pieces

BLOCK_BYTES = 1 << 20
TRUNCATED_STREAM = "truncated_stream"
CORRUPT_STREAM = "corrupt_stream"

COMPRESSIONS = {
    ".gz": "gzip",
    ".zst": "zstd",
    ".zstd": "zstd",
    ".bz2": "bzip2",
    ".xz": "xz",
    ".lz4": "lz4",
}

_PIECE_BYTES = 16 * 1024
_ZERO_PADDED = ("gzip", "xz")


class StreamDamageError(Exception):
    """Decoding stopped: all decodable bytes were handed on before this is raised."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def feed(self, piece: bytes) -> Iterator[bytes]: ...


def compression_of(path: str) -> str | None:
    """Compression by the suffix of a path, ``None`` for plain."""
    return COMPRESSIONS.get(PurePosixPath(path).suffix.lower())


def filesystem_of(url: str) -> tuple[Any, str]:
    """The fsspec file system of a path or url, and the path inside it.

    Raises: UserError for an unknown protocol or one whose package is not installed.
    """
    try:
        return fsspec.core.url_to_fs(url)  # type: ignore[no-any-return]
    except ImportError as error:
        raise UserError(
            f"this store needs a package that is not installed: {error}",
            file=url,
            fix="install the extra `cloud`",
        ) from None
    except ValueError as error:
        raise UserError(
            f"this path cannot be opened: {error}",
            file=url,
            found=url.split("://")[0],
            allowed=["s3", "gs", "hf", "https", "file"],
            fix="correct the protocol of the path",
        ) from None


def open_input(url: str) -> IO[bytes]:
    """Open a local path or an object for reading bytes.

    Raises: UserError when there is no such file or it may not be read.
    """
    filesystem, path = filesystem_of(url)
    try:
        return filesystem.open(path, "rb")  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise UserError("no such file", file=url, fix="check the paths of the source") from None
    except PermissionError as error:
        raise UserError(
            f"may not be read: {error}", file=url, fix="give this user read access"
        ) from None


def blocks(file: IO[bytes], compression: str | None, limits: Limits) -> Iterator[bytes]:
    """Uncompressed bytes of an open file from its position on (a compressed file: from its start).

    Raises: StreamDamageError when a compressed file ends early (truncated_stream) or cannot be
    decoded further (corrupt_stream).
    """
    if compression is None:
        while block := file.read(BLOCK_BYTES):
            yield block
        return
    if compression == "lz4":
        yield from _lz4_blocks(file)
        return
    emitted = 0
    try:
        for block in _decoded(file, compression, limits):
            emitted += len(block)
            yield block
        return
    except _DecodeError as fault:
        first = fault
    file.seek(0)
    try:
        for block in _decoded(file, compression, limits, fine_from=first.position):
            skipped = min(emitted, len(block))
            emitted -= skipped
            if skipped < len(block):
                yield block[skipped:]
    except _DecodeError as fault:
        raise StreamDamageError(
            CORRUPT_STREAM,
            f"{compression} cannot be decoded at byte {fault.position} of the compressed file: "
            f"{fault.complaint}",
        ) from None
    raise StreamDamageError(CORRUPT_STREAM, f"{compression}: {first.complaint}")


def _lz4_blocks(file: IO[bytes]) -> Iterator[bytes]:
    from fastwarc.stream_io import Lz4Reader

    watched = WatchedFile(file)
    emitted, complaint = 0, ""
    try:
        reader = Lz4Reader(watched)
        while block := reader.read(_PIECE_BYTES):
            emitted += len(block)
            yield block
    except OSError as error:
        complaint = str(error)
    watched.raise_failure()
    if emitted == 0 and not complaint:
        raise StreamDamageError(TRUNCATED_STREAM, "the lz4 file is empty")
    if not complaint:
        return
    file.seek(0)
    try:
        reader = Lz4Reader(file)
        reader.read(emitted)
        while block := reader.read(1):
            yield block
    except OSError:
        pass
    reason = TRUNCATED_STREAM if "fill whole buffer" in complaint else CORRUPT_STREAM
    raise StreamDamageError(reason, f"lz4 cannot be decoded to its end: {complaint}")


class _DecodeError(Exception):
    """A decoder refused the piece that starts at this byte of the compressed file."""

    def __init__(self, position: int, complaint: str) -> None:
        super().__init__(complaint)
        self.position = position
        self.complaint = complaint


def _decoded(
    file: IO[bytes], compression: str, limits: Limits, fine_from: int | None = None
) -> Iterator[bytes]:
    new_decoder = _decoder_factory(compression, limits)
    decoder: _Decoder | None = None
    pieces: Iterator[tuple[int, bytes]]
    if compression == "zstd" and fine_from is None:
        pieces = zstd_pieces(file)
    else:
        pieces = _pieces(
            file, BLIND_PIECE_BYTES if compression == "zstd" else _PIECE_BYTES, fine_from
        )
    position, seen = 0, False
    for position, piece in pieces:
        while piece:
            if decoder is None:
                piece = piece.lstrip(b"\0") if seen and compression in _ZERO_PADDED else piece
                if not piece:
                    break
                decoder, seen = new_decoder(), True
            try:
                yield from decoder.feed(piece)
            except (zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError, EOFError) as error:
                raise _DecodeError(position, str(error)) from None
            if not decoder.eof:
                break
            piece, decoder = decoder.unused_data, None
    if decoder is not None or not seen:
        raise StreamDamageError(
            TRUNCATED_STREAM,
            f"the {compression} file ends early, after {file.tell()} compressed bytes",
        )


def _pieces(
    file: IO[bytes], piece_bytes: int, fine_from: int | None
) -> Iterator[tuple[int, bytes]]:
    """(position, bytes) of a file; from ``fine_from`` on byte by byte."""
    position = 0
    while block := file.read(BLOCK_BYTES):
        start = 0
        while start < len(block):
            fine = fine_from is not None and position + start >= fine_from
            end = start + (1 if fine else piece_bytes)
            yield position + start, block[start:end]
            start = end
        position += len(block)


def _decoder_factory(compression: str, limits: Limits) -> Callable[[], _Decoder]:
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
