"""HTML pages: encodings, main content, bounds, and no memory of earlier pages."""

from __future__ import annotations

import codecs
import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from pipelines.readers import Batch, Fields, Limits, Span, read
from pipelines.readers.pages.charsets import decode_page
from pipelines.readers.pages.extraction import page_text
from pipelines.readers.rows.records import RecordRejectedError
from tests.pipelines.packing import COMPRESS

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
    assert decode_page("naïve café".encode("latin-1"), "iso-8859-1").text == "naïve café"
    assert decode_page("naïve café".encode(), "iso-8859-1").text == "naïve café"
    assert decode_page(codecs.BOM_UTF8 + b"x", "gbk").text == "x"
    assert decode_page("дом".encode("cp1251"), "windows-1251").text == "дом"


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


PROSE = "A paragraph with enough words in it to look like prose on the web, once and again. " * 3


def text_of(body: str) -> str:
    return page_text(f"<html><body>{body}</body></html>".encode()).text


def test_text_nodes_of_one_short_character_are_kept() -> None:
    japanese = "<a href=x>東京</a>と<a href=y>大阪</a>の<a href=z>間</a>を走る。彼は<a>作家</a>、<a>詩人</a>。"
    english = (
        "She <i>left</i>—<i>quickly</i>; it cost <b>€</b>5 at <a href=h>Home</a>&rsquo;<b>s</b>."
    )
    french = "<i>Il va</i> <b>où</b> <i>il veut</i>, <b>l&agrave;</b> aussi."
    found = text_of("".join(f"<p>{text}</p>" for text in (PROSE, japanese, english, french)))
    assert found.split("\n\n")[1:] == [
        "東京と大阪の間を走る。彼は作家、詩人。",
        "She left—quickly; it cost €5 at Home’s.",
        "Il va où il veut, là aussi.",
    ]


@settings(max_examples=300, deadline=None)
@given(
    character=st.characters(
        min_codepoint=0x80, max_codepoint=0x2FFFF, exclude_categories=["Cs", "Cc"]
    )
)
def test_any_one_character_between_two_elements_is_kept(character: str) -> None:
    icon = "\ue000" <= character <= "\uf8ff" or character == "¶"  # of icon fonts, or an anchor
    for markup in (character, f"&#{ord(character)};", f" {character}<!-- -->"):
        found = text_of(f"<p>{PROSE}</p><p>before<b>{markup}</b>after</p>")
        kept = "".join(found.split("\n\n")[1].split())
        expected = "".join(character.split())
        assert kept == ("beforeafter" if icon else f"before{expected}after")


def test_icons_and_anchor_signs_are_still_left_out() -> None:
    assert text_of(f"<p>{PROSE}</p><p>word<i>\ue001</i> and<a>¶</a></p>").endswith("word and")


def test_a_list_close_to_the_body_is_kept_and_a_menu_is_not() -> None:
    items = "<ul><li>Beat the eggs until they are light and fluffy.</li></ul>"
    menu = "<ul>" + "<li><a href=x>Somewhere else</a></li>" * 5 + "</ul>"
    found = text_of(f"{menu}<article><p>{PROSE}</p>{items}</article>{items}")
    assert found.count("• Beat the eggs") == 2
    assert "Somewhere" not in found


def test_the_base_of_ruby_is_kept_and_its_reading_is_not() -> None:
    ruby = "<ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp>字<rt>じ</rt></ruby>を書く。"
    assert text_of(f"<p>{PROSE}</p><p>{ruby}</p>").endswith("漢字を書く。")


@pytest.mark.parametrize("empty", ["<title/>", "<script/>", '<style type="a/b" />', "<title />"])
@pytest.mark.parametrize("name", ["a.xhtml", "a.html"])
def test_xhtml_closes_elements_in_their_own_tag(tmp_path: Path, empty: str, name: str) -> None:
    prolog = '<?xml version="1.0"?>' if name == "a.html" else ""
    body = f"<p>{PROSE}</p><p>2 <![CDATA[<3>]]></p><hr/><p>last</p>"
    markup = f'{prolog}<html xmlns="http://www.w3.org/1999/xhtml"><head>{empty}</head><body>{body}</body></html>'
    path = tmp_path / name
    path.write_bytes(markup.encode())
    (batch,) = read(Span(str(path), name), "auto", "src", NO_FIELDS, LIMITS)
    (text,) = batch.documents["text"].to_pylist()
    assert text.split("\n\n") == [PROSE.strip(), "2 <3>", "last"]


@pytest.mark.parametrize("hidden", [True, False])
def test_a_page_of_hundreds_of_words_is_never_empty(hidden: bool) -> None:
    attributes = 'class="hidden"' if hidden else 'class="sidebar"'
    page = f"<html><body><div {attributes}><p>{PROSE * 6}</p></div></body></html>".encode()
    found = page_text(page)
    assert PROSE.strip() in found.text
    assert found.extraction == ("hidden_elements" if hidden else "whole_page")
    few = f"<html><body><div {attributes}><p>{PROSE}</p></div></body></html>".encode()
    assert page_text(few) == ("", "", None)


@pytest.mark.parametrize("suffix", ["gz", "zst", "bz2", "xz", "lz4"])
def test_a_compressed_page_is_the_page(tmp_path: Path, suffix: str) -> None:
    page = PAGE.format("", CHINESE).encode()
    path = tmp_path / f"a.html.{suffix}"
    path.write_bytes(COMPRESS[suffix](page))
    (batch,) = read(Span(str(path), "a.html"), "html", "src", NO_FIELDS, LIMITS)
    assert batch.documents["text"].to_pylist() == [CHINESE]
    assert batch.bytes == len(page)
    path.write_bytes(COMPRESS[suffix](page)[:-9])
    (batch,) = read(Span(str(path), "a.html"), "auto", "src", NO_FIELDS, LIMITS)
    rows = batch.documents.to_pylist()
    assert all("damaged" in row["meta"] for row in rows)
    assert len(rows) + batch.quarantine.num_rows == 1


@pytest.mark.parametrize("start", [b"%PDF-1.4\n", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", b"GIF89a"])
def test_a_binary_file_is_no_page_whatever_its_name(tmp_path: Path, start: bytes) -> None:
    batch = read_page(tmp_path, start + b"words in it " * 200)
    assert batch.dropped == {"not_html": (1, len(start) + 2400)}


def test_a_page_that_was_compressed_without_a_word_is_read(tmp_path: Path) -> None:
    batch = read_page(tmp_path, gzip.compress(PAGE.format("", CHINESE).encode()))
    assert batch.documents["text"].to_pylist() == [CHINESE]


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("<div></zzz>" * 3000, "nested_too_deeply"),
        ('<div title="</div>">' * 3000, "nested_too_deeply"),
        ("<div><!--</div>-->" * 3000, "nested_too_deeply"),
        ("<div><script>'</div>'</script>" * 3000, "nested_too_deeply"),
        ("<p><li><dt><td><tr><option>" * 3000, "nested_too_deeply"),
        ("<div " + " ".join(f"a{i}=1" for i in range(5000)) + ">x</div>", "too_many_attributes"),
        ("<p>x" * 600_000, "too_many_nodes"),
        ("<div>" * 2000 + "word " * 60_000, "too_much_work"),
        ("<p>" + "".join(f"<b a={i}>" for i in range(900)) + "</p><p>x" * 2000, "too_many_nodes"),
    ],
)
def test_what_would_take_a_parser_long_is_refused_before_it_is_parsed(
    tmp_path: Path, page: str, reason: str
) -> None:
    (row,) = read_page(tmp_path, page.encode()).quarantine.to_pylist()
    assert row["reason"] == reason
    assert "corpus.limits.page_" in row["detail"]
    loose = Limits(
        page_depth=1 << 16, page_nodes=1 << 40, page_work=1 << 50, page_attributes=1 << 20
    )
    (row,) = read_page(tmp_path, b"<p>x", loose).documents.to_pylist()
    assert row["text"] == "x"


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
