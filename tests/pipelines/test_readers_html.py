"""HTML pages: encodings, main content, bounds, and no memory of earlier pages."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from pipelines.readers import Batch, Fields, Limits, Span, read
from pipelines.readers.charsets import decode_page
from pipelines.readers.extraction import page_text
from pipelines.readers.page_shape import DEEPEST, nesting
from pipelines.readers.records import RecordRejectedError

NO_FIELDS = Fields()
LIMITS = Limits()
CHINESE = "今天天气很好，我们一起去公园散步，看花开得正盛。" * 4
PAGE = '<html><head>{}<title>标题</title></head><body><nav><a href="/">home</a></nav><article><p>{}</p></article></body></html>'


def read_page(
    folder: Path, page: bytes, limits: Limits = LIMITS, fields: Fields = NO_FIELDS
) -> Batch:
    path = folder / "a.html"
    path.write_bytes(page)
    (batch,) = read(Span(str(path), "sub/a.html"), "auto", "src", fields, limits)
    return batch


def test_a_page_is_one_document_at_offset_0(tmp_path: Path) -> None:
    page = PAGE.format("", CHINESE).encode()
    batch = read_page(tmp_path, page, fields=Fields(lang="zh", license="CC0"))
    (row,) = batch.documents.to_pylist()
    kept = ("text", "path", "offset", "lang", "license", "meta")
    assert [row[name] for name in kept] == [
        CHINESE,
        "sub/a.html",
        0,
        "zh",
        "CC0",
        '{"title":"标题"}',
    ]
    assert (batch.records, batch.bytes) == (1, len(page))


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [
        ("gb18030", '<meta charset="gb2312">'),
        ("gbk", ""),
        ("utf-8", '<meta charset="iso-8859-1">'),
        ("utf-16", ""),
        ("big5", '<meta charset="big5">'),
    ],
)
def test_encodings_are_recognised(tmp_path: Path, encoding: str, declared: str) -> None:
    text = CHINESE if encoding != "big5" else "今天天氣很好" * 8
    batch = read_page(tmp_path, PAGE.format(declared, text).encode(encoding, "replace"))
    assert batch.documents["text"].to_pylist() == [text]


def test_the_http_charset_decides_where_utf8_does_not_fit() -> None:
    assert decode_page("naïve café".encode("latin-1"), "iso-8859-1") == "naïve café"
    assert decode_page("naïve café".encode(), "iso-8859-1") == "naïve café"
    assert decode_page(codecs.BOM_UTF8 + b"x", "gbk") == "x"
    assert decode_page("дом".encode("cp1251"), "windows-1251") == "дом"


def test_a_page_without_text_is_dropped_with_its_bytes(tmp_path: Path) -> None:
    batch = read_page(tmp_path, b"<html><body><img src=x></body></html>")
    assert (batch.records, batch.dropped) == (1, {"empty_extraction": (1, 37)})


def test_a_page_longer_than_the_limit_is_quarantined_with_its_true_length(tmp_path: Path) -> None:
    batch = read_page(tmp_path, b"x" * 5000, Limits(record_bytes=1000, quarantine_bytes=10))
    (row,) = batch.quarantine.to_pylist()
    assert (row["reason"], row["length"], row["raw"], batch.bytes) == (
        "record_too_long",
        5000,
        b"x" * 10,
        5000,
    )


def test_a_page_nested_without_end_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    (row,) = read_page(tmp_path, b"<div>" * 200_000 + b"x").quarantine.to_pylist()
    assert (row["reason"], row["length"]) == ("nested_too_deeply", 1_000_001)


def test_many_elements_that_html_closes_by_itself_are_not_deep() -> None:
    text, *_ = page_text(b"<html><body><main>" + b"<p>some words<br>" * 5000)
    assert text.count("some words") == 5000


@settings(max_examples=50, deadline=None)
@given(depth=st.integers(0, 60), siblings=st.integers(1, 200))
def test_nesting_is_an_upper_bound_and_exact_when_it_matters(depth: int, siblings: int) -> None:
    balanced = ("<div>" * depth + "x" + "</div>" * depth) * siblings
    assert nesting(balanced) == depth
    deep = "<b><section>" * (DEEPEST + depth) + "<br>" * siblings
    assert nesting(deep) == 2 * (DEEPEST + depth)


def test_the_same_page_twice_gives_the_same_text() -> None:
    page = PAGE.format("", CHINESE * 3).encode()
    first = page_text(page)
    for _ in range(5):
        page_text(PAGE.format("", "other text " * 50).encode())
    assert page_text(page) == first


@settings(max_examples=100, deadline=None)
@given(page=st.binary(max_size=300))
def test_any_bytes_give_text_or_a_reason(page: bytes) -> None:
    reasons = []
    try:
        text, *_ = page_text(b"<html><body><p>" + page)
        text.encode()
    except RecordRejectedError as rejection:
        reasons.append(rejection.reason)
    assert set(reasons) <= {"extraction_failed", "lone_surrogate"}


def test_an_id_field_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="id_field"):
        read_page(tmp_path, b"<p>x", fields=Fields(id_field="id"))
