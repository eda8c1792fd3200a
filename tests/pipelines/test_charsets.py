"""Encodings of web pages: the order of evidence, labels as browsers read them."""

from __future__ import annotations

import codecs

import pytest
import webencodings
from hypothesis import given
from hypothesis import strategies as st
from webencodings.labels import LABELS

from pipelines.readers.pages.charsets import codec_of, declared_within, decode_page

CHINESE = "天气渐渐凉了，院子里的桂花开了，邻居们坐在树下喝茶，说起从前的日子。" * 4
JAPANESE = "秋になると庭の木が赤く染まり、近所の人たちは縁側でお茶を飲みます。" * 4
PAGE = "<html><head>{}</head><body><p>{}</p></body></html>"
# where Python knows more than its namesake of the standard, or browsers refuse what archives hold
RICHER = {"gbk": "gb18030", "iso2022_jp": "iso2022_jp_ext"}
REFUSED = ("replacement", "x-user-defined")


@pytest.mark.parametrize("label", sorted(set(LABELS)))
def test_labels_mean_what_the_encoding_standard_says(label: str) -> None:
    if LABELS[label] in REFUSED:
        return
    codec = codec_of(label)
    assert codec is not None
    expected = webencodings.lookup(label).codec_info.name
    assert codecs.lookup(codec).name == codecs.lookup(RICHER.get(expected, expected)).name


@pytest.mark.parametrize(
    ("encoding", "label", "text"),
    [
        ("iso2022_jp", "ISO-2022-JP", JAPANESE),
        ("iso2022_kr", "iso-2022-kr", "가을이 되면 마당의 나무가 붉게 물든다"),
        ("hz", "hz-gb-2312", CHINESE),
        ("utf-16-le", "utf-16", CHINESE),
        ("utf-16-be", "utf-16be", CHINESE),
        ("cp932", "Shift_JIS", "①㈱髙島屋"),
        ("euc_jp", "x-euc-jp", JAPANESE),
        ("cp949", "ks_c_5601-1987", "똠방각하 가을"),
        ("big5hkscs", "Big5", "今天天氣很好"),
        ("gb18030", "gb2312", CHINESE + "㐀"),
        ("cp1252", "latin1", "naïve “café” €5"),
        ("koi8-r", "koi8-r", "дом и сад"),
    ],
)
def test_a_declared_encoding_is_believed_where_it_decodes(
    encoding: str, label: str, text: str
) -> None:
    page = PAGE.format("", text)
    assert decode_page(page.encode(encoding), label).text == page
    if not encoding.startswith("utf-16"):
        page = PAGE.format(f'<meta charset="{label}">', text)
        assert decode_page(page.encode(encoding)).text == page
        page = PAGE.format(
            f"<META http-equiv=Content-Type content='text/html; charset={label}'>", text
        )
        assert decode_page(page.encode(encoding), "utf-8").text == page


@pytest.mark.parametrize("label", ["iso-8859-1", "gb2312", "shift_jis", "utf-16", "iso-2022-jp"])
@pytest.mark.parametrize("place", ["header", "meta"])
def test_utf8_stays_utf8_whatever_is_declared(label: str, place: str) -> None:
    page = PAGE.format(f"<meta charset={label}>" if place == "meta" else "", CHINESE + "é")
    assert decode_page(page.encode(), label if place == "header" else None).text == page


def test_ascii_is_never_taken_for_utf_16() -> None:
    page = PAGE.format("<meta charset=utf-16>", "plain words" * 3)
    assert decode_page(page.encode(), "utf-16le").text == page


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_mark_or_declaration_is_seen_by_its_zero_bytes(encoding: str) -> None:
    page = PAGE.format("", CHINESE + "plain words")
    assert decode_page(page.encode(encoding)).text == page


def test_a_declaration_that_fails_leaves_the_rest_to_detection() -> None:
    page = PAGE.format("<meta charset=utf-8>", CHINESE)
    assert decode_page(page.encode("gbk")).text == page
    assert decode_page(page.encode("gbk"), "utf-8").text == page
    assert decode_page(page.encode("gbk"), "iso-2022-jp").text == page


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_a_byte_order_mark_goes_before_all(mark: bytes) -> None:
    encoding = {2: "utf-16-le", 3: "utf-8"}[len(mark)]
    encoding = "utf-16-be" if mark == codecs.BOM_UTF16_BE else encoding
    page = PAGE.format("<meta charset=koi8-r>", CHINESE)
    assert decode_page(mark + page.encode(encoding), "gbk").text == page


def test_what_a_page_declares_is_read_outside_comments() -> None:
    assert declared_within(b"<!-- <meta charset=gbk> --><meta charset='koi8-r'>") == "koi8-r"
    assert declared_within(b'<?xml version="1.0" encoding="Shift_JIS"?><html>') == "Shift_JIS"
    assert declared_within(b"<meta name=x content='no'>") is None


@given(page=st.binary(max_size=300), label=st.sampled_from([None, "", "gbk", "utf-16", "hz", "x"]))
def test_any_bytes_become_text(page: bytes, label: str | None) -> None:
    assert isinstance(decode_page(page, label).text, str)
