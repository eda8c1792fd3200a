"""HTTP responses as archives hold them: heads, transfer codings, content codings."""

from __future__ import annotations

import gzip
import random
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.readers.pages.http_message import (
    Body,
    bare_media_type,
    charset_of,
    fields_of,
    response_body,
    response_head,
    unchunked,
)
from pipelines.readers.rows.records import RecordRejectedError
from pipelines.readers.span import Limits

LIMITS = Limits()
PAGE = b"<html><body>" + b"".join(b"<p>Paragraph %d of a page.</p>" % n for n in range(400))


def deflate_raw(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(content) + packer.flush()


ENCODE = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


def chunks(content: bytes, size: int, extension: bytes = b"", end: bytes = b"0\r\n\r\n") -> bytes:
    cut = [content[place : place + size] for place in range(0, len(content), size)]
    return b"".join(b"%x%s\r\n%s\r\n" % (len(one), extension, one) for one in cut) + end


def body(raw: bytes, **fields: str) -> Body:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    payload = "\r\n".join(["HTTP/1.1 200 OK", *lines]).encode() + b"\r\n\r\n" + raw
    head = response_head(payload)
    assert head is not None
    return response_body(head, payload, LIMITS)


@pytest.mark.parametrize("coding", ENCODE)
def test_each_content_coding_is_decoded(coding: str) -> None:
    assert body(ENCODE[coding](PAGE), Content_Encoding=coding) == (PAGE, None)
    assert body(ENCODE[coding](PAGE), content_encoding=coding.upper()) == (PAGE, None)
    packed = chunks(ENCODE[coding](PAGE), 500)
    assert body(packed, Transfer_Encoding="chunked", Content_Encoding=coding) == (PAGE, None)


def test_deflate_comes_without_the_header_of_zlib_too() -> None:
    assert body(deflate_raw(PAGE), Content_Encoding="deflate") == (PAGE, None)


@pytest.mark.parametrize("coding", [*ENCODE, "none", "UTF-8", "binary", "identity", "sdch", ""])
def test_a_coding_that_the_body_does_not_have_is_passed_over(coding: str) -> None:
    assert body(PAGE, Content_Encoding=coding, Transfer_Encoding="chunked") == (PAGE, None)


def test_codings_are_undone_in_turn_and_a_silent_one_too() -> None:
    twice = brotli.compress(gzip.compress(PAGE))
    assert body(twice, Content_Encoding="gzip, br") == (PAGE, None)
    assert body(gzip.compress(gzip.compress(PAGE)), Content_Encoding="gzip") == (PAGE, None)
    assert body(gzip.compress(PAGE)) == (PAGE, None)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_of_a_coding_that_breaks_off_what_decodes_is_kept_with_a_mark(coding: str) -> None:
    page = PAGE + random.Random(1).randbytes(300_000).hex().encode()
    packed = ENCODE[coding](page)
    found = body(packed[: len(packed) * 2 // 3], Content_Encoding=coding)
    assert page.startswith(found.content)
    assert found.content
    assert found.damaged == "cut_body"


def test_a_checksum_that_fails_is_marked() -> None:
    packed = bytearray(gzip.compress(PAGE))
    packed[-8] ^= 1
    assert body(bytes(packed), Content_Encoding="gzip") == (PAGE, "checksum")


def test_a_body_of_which_nothing_decodes_is_refused() -> None:
    with pytest.raises(RecordRejectedError, match="corrupt_payload"):
        body(b"\x1f\x8b\x08\0nothing", Content_Encoding="gzip")


@pytest.mark.parametrize("extension", [b"", b";name=value", b" ; a", b"  "])
def test_chunks_are_joined_whatever_their_extensions(extension: bytes) -> None:
    assert unchunked(chunks(PAGE, 1000, extension)) == (PAGE, None)
    assert unchunked(chunks(PAGE, 1000, extension, b"0\r\nTrailer: x\r\n\r\n")) == (PAGE, None)
    assert unchunked(chunks(PAGE, 1000, extension, b"0")) == (PAGE, "cut_body")
    assert unchunked(chunks(PAGE, 1000, extension, b"0\r\n")) == (PAGE, None)
    assert unchunked(chunks(PAGE, 1000).replace(b"\r\n", b"\n")) == (PAGE, None)


@settings(max_examples=200, deadline=None)
@given(size=st.integers(1, 3000), cut=st.integers(0, 6000))
def test_cut_chunks_give_a_prefix_and_never_a_size(size: int, cut: int) -> None:
    raw = chunks(PAGE, size)
    found = unchunked(raw[: min(cut, len(raw) - 3)])
    if found is None:
        assert b"\r\n" not in raw[: min(cut, len(raw) - 3)]
        return
    assert PAGE.startswith(found.content)
    assert found.damaged == (None if found.content == PAGE and cut >= len(raw) - 2 else "cut_body")


def test_chunks_that_nobody_declared_are_seen_where_all_of_the_body_is_chunks() -> None:
    assert body(chunks(PAGE, 1000)) == (PAGE, None)
    plain = b"beef\r\nis a word as well as a number"
    assert body(plain) == (plain, None)
    assert body(plain, Transfer_Encoding="chunked").content == plain[6:]


def test_heads_are_read_in_any_case_folded_and_with_bare_line_ends() -> None:
    payload = b"HTTP/1.0 404\nCONTENT-type:text/HTML;\n\tCharset='UTF-8'\nA: 1\na: 2\n\nx"
    head = response_head(payload)
    assert head is not None
    assert (head.status, head.media_type, head.charset) == (404, "text/html", "UTF-8")
    assert head.fields["a"] == "1, 2"
    assert payload[head.body_at :] == b"x"
    assert response_head(b"no head at all\r\n\r\n") is None


def test_media_types_are_told_from_their_parameters() -> None:
    assert bare_media_type('Text/HTML ; charset="gbk"') == "text/html"
    assert bare_media_type("text/html,text/html;charset=x") == "text/html"
    assert bare_media_type("html") is None
    assert bare_media_type(None) is None
    assert charset_of('text/html; q=1; CHARSET = "gbk"') == "gbk"
    assert charset_of("text/html") is None


@given(block=st.binary(max_size=200))
def test_any_bytes_are_fields_or_none(block: bytes) -> None:
    assert all(name == name.lower() for name in fields_of(block))


@settings(max_examples=300, deadline=None)
@given(data=st.data(), coding=st.sampled_from(["gzip", "deflate", "br", "zstd"]))
def test_damaged_bodies_give_bytes_or_a_reason(data: st.DataObject, coding: str) -> None:
    raw = bytearray(chunks(ENCODE[coding](PAGE), 700))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    reason = None
    try:
        body(bytes(raw), Transfer_Encoding="chunked", Content_Encoding=coding)
    except RecordRejectedError as rejection:
        reason = rejection.reason
    assert reason in (None, "corrupt_payload", "record_too_long")
