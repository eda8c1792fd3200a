"""HTTP responses against Python's own client, which shares no code with the reader: head, transfer
coding, content codings and body.
"""

from __future__ import annotations

import gzip
import http.client
import io
import zlib
from typing import Any

import brotli
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.readers.pages.http_message import response_body, response_head
from pipelines.readers.span import Limits

ENCODE = {
    "gzip": gzip.compress,
    "X-GZIP": gzip.compress,
    "Deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "identity": bytes,
}
DECODE = {
    "gzip": gzip.decompress,
    "x-gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "br": brotli.decompress,
    "zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
    "identity": bytes,
}
NAMES = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-", min_size=1, max_size=12)
VALUES = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=30)
CHARSETS = ["utf-8", "GBK", '"shift_jis"', "iso-8859-1"]


class Socket:
    """What the client reads from."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self.content)


def as_python_reads(payload: bytes) -> tuple[int, Any, bytes]:
    """Status, fields and decoded body."""
    response = http.client.HTTPResponse(Socket(payload))  # type: ignore[arg-type]
    response.begin()
    body = response.read()
    codings = [name.strip().lower() for name in response.headers.get_all("content-encoding", [])]
    for coding in reversed([one for name in codings for one in name.split(",")]):
        body = DECODE[coding.strip()](body)
    return response.status, response.headers, body


@st.composite
def responses(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """(payload, page): codings in any order, fields in any case, chunks of any size."""
    page = draw(st.binary(max_size=300)) + b"<p>a page</p>" * draw(st.integers(0, 30))
    codings = draw(st.lists(st.sampled_from(sorted(ENCODE)), max_size=2))
    body = page
    for coding in codings:
        body = ENCODE[coding](body)
    fields = [(f"X-{draw(NAMES)}", draw(VALUES).strip()) for _ in range(draw(st.integers(0, 3)))]
    fields.append(("Content-Type", f"text/HTML; charset={draw(st.sampled_from(CHARSETS))}"))
    if codings:
        fields.append(("Content-Encoding", ", ".join(codings)))
    if draw(st.booleans()):
        size = draw(st.integers(1, 400))
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        mark = draw(st.sampled_from(["%x", "%X", "0%x", "%x;a=b"]))
        body = b"".join(
            (mark % len(piece)).encode() + b"\r\n" + piece + b"\r\n" for piece in pieces
        )
        body += draw(st.sampled_from([b"0\r\n\r\n", b"0\r\nTrailer: x\r\n\r\n"]))
        fields.append(("Transfer-Encoding", "chunked"))
    case = draw(st.sampled_from([str, str.lower, str.upper]))
    lines = [f"{case(name)}:{draw(st.sampled_from(['', ' ']))}{value}" for name, value in fields]
    head = "\r\n".join([f"HTTP/1.1 {draw(st.integers(200, 599))} reason", *lines, "", ""])
    return head.encode("latin-1") + body, page


@settings(max_examples=300, deadline=None)
@given(responses())
def test_a_response_is_read_as_pythons_client_reads_it(response: tuple[bytes, bytes]) -> None:
    payload, page = response
    head = response_head(payload)
    assert head is not None
    if head.status in (204, 304):
        return  # the client reads no body of these
    status, fields, body = as_python_reads(payload)
    assert body == page  # the oracle sees what was written
    assert (head.status, head.media_type) == (status, fields.get_content_type())
    assert head.charset == fields.get_param("charset")
    found = response_body(head, payload, Limits())
    assert (found.content, found.damaged) == (page, None)
