"""An HTTP response as archives hold it: head, and body without its transfer and content codings.

Crawlers often store a body that is already decoded under the head of the encoded one, or one that
breaks off. So a coding that the body does not have is passed over, a coding that nobody knows means
no coding (RFC 9110, section 8.4.1, lists those there are), and of a body that breaks off what can
be decoded is handed on with a mark: chunk sizes and compressed bytes never count as text.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable
from typing import NamedTuple

import zstandard

from pipelines.readers.rows.records import RECORD_TOO_LONG, RecordRejectedError
from pipelines.readers.span import Limits

CORRUPT_PAYLOAD = "corrupt_payload"
CUT_BODY = "cut_body"
BAD_CHECKSUM = "checksum"

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+(\d{3})\b")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_CHARSET = re.compile(r"""(?i);\s*charset\s*=\s*["']?([^\s;"']+)""")
_CHUNK_LINE = re.compile(rb"([0-9a-fA-F]{1,16})[ \t]*(?:;[^\n]*)?\r?\n")
_LINE_END = re.compile(rb"[ \t]*\r?\n")
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = zstandard.FRAME_HEADER
_MOST_CODINGS = 4
_PIECE_BYTES = 16 * 1024
_SMALL_BYTES = 64
_ZSTD_PIECE_BYTES = 512  # of which each can become 32 KiB


class Head(NamedTuple):
    """Status and fields of a response. ``fields``: values by lower-case name, those that came more
    than once joined by commas. ``body_at``: where the body begins in the payload.
    """

    status: int
    fields: dict[str, str]
    body_at: int

    @property
    def media_type(self) -> str | None:
        """The declared media type without parameters, in lower case; None where there is none."""
        return bare_media_type(self.fields.get("content-type"))

    @property
    def charset(self) -> str | None:
        """The declared encoding."""
        return charset_of(self.fields.get("content-type"))


class Body(NamedTuple):
    """A decoded body; ``damaged``: None, cut_body where it breaks off, checksum where one fails."""

    content: bytes
    damaged: str | None


def bare_media_type(declared: str | None) -> str | None:
    """``text/html`` of ``Text/HTML; charset=…``; None for nothing and for what is no type."""
    if declared is None:
        return None
    kind = re.split(r"[;,]", declared, maxsplit=1)[0].strip(" \t\"'").lower()
    return kind if "/" in kind else None


def charset_of(declared: str | None) -> str | None:
    """The parameter charset of a media type."""
    found = _CHARSET.search(declared) if declared else None
    return found.group(1) if found else None


def fields_of(block: bytes) -> dict[str, str]:
    """Header fields by lower-case name; lines may end in LF alone and be folded."""
    fields: dict[str, str] = {}
    for line in _FOLD.sub(b" ", block).split(b"\n"):
        name, colon, value = line.partition(b":")
        if not colon:
            continue
        key = name.strip().decode("latin-1").lower()
        text = _text(value.strip())
        fields[key] = f"{fields[key]}, {text}" if key in fields else text
    return fields


def response_head(payload: bytes) -> Head | None:
    """The head of a response; None where the payload does not begin with one."""
    status = _STATUS_LINE.match(payload)
    end = _HEAD_END.search(payload)
    if status is None or end is None:
        return None
    return Head(int(status.group(1)), fields_of(payload[status.end() : end.start()]), end.end())


def response_body(head: Head, payload: bytes, limits: Limits) -> Body:
    """The body without its codings.

    Raises: RecordRejectedError with record_too_long, or corrupt_payload where nothing of the body
    can be decoded.
    """
    raw = payload[head.body_at :]
    body = _transferred(head, raw)
    for coding in reversed(_tokens(head.fields.get("content-encoding"))[:_MOST_CODINGS]):
        decode = _CODINGS.get(coding)
        if decode is not None:
            body = _then(body, decode(body.content, limits))
    body = _then(body, unpacked(body.content, limits))
    if len(body.content) > limits.record_bytes:
        raise RecordRejectedError(
            RECORD_TOO_LONG, f"the decoded body is longer than {limits.record_bytes} bytes"
        )
    if (raw and not body.content and body.damaged) or body.content.startswith(_GZIP_MAGIC):
        raise RecordRejectedError(
            CORRUPT_PAYLOAD, "the body cannot be decoded as its HTTP headers say"
        )
    return body


def unpacked(content: bytes, limits: Limits) -> Body:
    """Content that is compressed though nothing says so, or once more than is said."""
    body = Body(content, None)
    for _ in range(_MOST_CODINGS):
        if not body.content.startswith(_GZIP_MAGIC):
            break
        body = _then(body, _gunzipped(body.content, limits))
    return body


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _tokens(value: str | None) -> list[str]:
    return [token.strip().lower() for token in value.split(",")] if value else []


def _then(body: Body, decoded: Body | None) -> Body:
    """A body after one more decoding, which None says it does not have."""
    if decoded is None:
        return body
    return Body(decoded.content, body.damaged or decoded.damaged)


def _transferred(head: Head, raw: bytes) -> Body:
    declared = "chunked" in _tokens(head.fields.get("transfer-encoding"))
    return unchunked(raw, declared) or Body(raw, None)


def unchunked(raw: bytes, declared: bool = True) -> Body | None:
    """A body put together from its chunks (RFC 9112, section 7.1), as far as they go; None for one
    that has none. Where chunks are not declared, only a body that is chunks from beginning to end
    has them.
    """
    pieces: list[bytes] = []
    damaged = None
    blank = _LINE_END.match(raw)
    place = blank.end() if blank else 0
    while True:
        line = _CHUNK_LINE.match(raw, place)
        if line is None:
            damaged = CUT_BODY
            break
        size = int(line.group(1), 16)
        if size == 0:
            break
        start, place = line.end(), line.end() + size
        end = _LINE_END.match(raw, place)
        if not pieces and end is None and place < len(raw):
            return None  # the first line only looks like a chunk's size
        pieces.append(raw[start:place])
        if end is None:
            damaged = CUT_BODY
            break
        place = end.end()
    if (not pieces and (damaged or not declared)) or (damaged and not declared):
        return None
    return Body(b"".join(pieces), damaged)


def _looks_like_markup(body: bytes) -> bool:
    """True for what a compressed body does not begin with."""
    start = body[:512].lstrip(b"\xef\xbb\xbf \t\r\n")
    return start.startswith(b"<") and not any(byte < 9 for byte in start)


def _gunzipped(body: bytes, limits: Limits) -> Body | None:
    if not body.startswith(_GZIP_MAGIC):
        return None
    return _inflated(body, 31, limits)


def _undeflated(body: bytes, limits: Limits) -> Body | None:
    """``deflate`` is zlib's format (RFC 9110); some servers send it without zlib's header."""
    if _looks_like_markup(body):
        return None
    if len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0:
        wrapped = _inflated(body, 15, limits)
        if wrapped.content:
            return wrapped
    return _inflated(body, -15, limits)


def _inflated(body: bytes, window: int, limits: Limits) -> Body:
    content, fault = _inflate(body, window, limits.record_bytes, _PIECE_BYTES)
    if fault is not None and fault != CUT_BODY:
        # what the refused piece decoded to is lost with it: once more in single bytes
        content, fault = _inflate(body, window, limits.record_bytes, 1)
        fault = BAD_CHECKSUM if fault is not None and "data check" in fault else CUT_BODY
    return Body(content, fault)


def _inflate(body: bytes, window: int, most: int, piece_bytes: int) -> tuple[bytes, str | None]:
    """Up to ``most`` + 1 bytes of all members of a body, and what went wrong."""
    pieces: list[bytes] = []
    size = place = 0
    inner = zlib.decompressobj(window)
    while place < len(body) and size <= most:
        piece = inner.unconsumed_tail or body[place : place + piece_bytes]
        place += 0 if inner.unconsumed_tail else len(piece)
        try:
            block = inner.decompress(piece, most + 1 - size)
        except zlib.error as error:
            return b"".join(pieces), str(error)
        pieces.append(block)
        size += len(block)
        if inner.eof:
            place -= len(inner.unused_data)
            if window != 31 or not body.startswith(_GZIP_MAGIC, place):
                return b"".join(pieces), None
            inner = zlib.decompressobj(window)
    return b"".join(pieces), None if size > most else CUT_BODY


def _unzstd(body: bytes, limits: Limits) -> Body | None:
    if not body.startswith(_ZSTD_MAGIC):
        return None
    context = zstandard.ZstdDecompressor(max_window_size=limits.window_bytes)
    pieces: list[bytes] = []
    size, place, inner = 0, 0, context.decompressobj()
    try:
        while place < len(body) and size <= limits.record_bytes:
            piece = body[place : place + _ZSTD_PIECE_BYTES]
            pieces.append(inner.decompress(piece))
            size += len(pieces[-1])
            place += len(piece)
            if inner.eof:
                place -= len(inner.unused_data)
                if not body.startswith(_ZSTD_MAGIC, place):
                    return Body(b"".join(pieces), None)
                inner = context.decompressobj()
    except zstandard.ZstdError:
        pass  # what came before it is handed on, as what a body that ends early holds
    return Body(b"".join(pieces), None if size > limits.record_bytes else CUT_BODY)


def _unbrotli(body: bytes, limits: Limits) -> Body | None:
    if _looks_like_markup(body):
        return None
    content = _read_brotli(body, _PIECE_BYTES, limits)
    if content.damaged:
        # what was asked for at once is lost with the fault: once more in small pieces
        content = _read_brotli(body, _SMALL_BYTES, limits)
    return content


def _read_brotli(body: bytes, piece_bytes: int, limits: Limits) -> Body:
    from fastwarc.stream_io import BrotliReader

    pieces: list[bytes] = []
    size = 0
    reader = BrotliReader(io.BytesIO(body))
    try:
        while size <= limits.record_bytes and (piece := reader.read(piece_bytes)):
            pieces.append(piece)
            size += len(piece)
    except OSError:
        return Body(b"".join(pieces), CUT_BODY)
    return Body(b"".join(pieces), None)


_CODINGS: dict[str, Callable[[bytes, Limits], Body | None]] = {
    "gzip": _gunzipped,
    "x-gzip": _gunzipped,
    "deflate": _undeflated,
    "br": _unbrotli,
    "zstd": _unzstd,
}
