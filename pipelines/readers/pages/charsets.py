"""Which encoding a web page is in, and its text.

In this order: a byte order mark; a declared 7-bit or UTF-16 encoding that decodes; UTF-8 where the
bytes are valid UTF-8; the encoding of the HTTP header; that of the page itself; detection. A
declaration that does not decode is not believed. Pages are declared wrongly more often than other
encodings happen to be valid UTF-8, so UTF-8 goes before the declarations, but for encodings whose
bytes are valid UTF-8 and mean something else.

Labels are those of the WHATWG Encoding Standard, as browsers read them: ``gb2312`` means GB 18030,
``shift_jis`` means Windows-31J, ``iso-8859-1`` means Windows-1252.
"""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

from resiliparse.parse.encoding import bytes_to_str, detect_encoding, map_encoding_to_html5

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE_STARTS = ((b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"))
_SEVEN_BIT = ("iso2022_jp_ext", "iso2022_kr", "hz")
_WIDE = ("utf-16-le", "utf-16-be")

# what Python calls the encodings of the standard, where its namesakes know fewer characters
_CODECS = {
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "iso2022_jp": "iso2022_jp_ext",
    "iso8859-11": "cp874",
}
# labels beyond Resiliparse's table; the last two, which browsers refuse, occur in old pages
_LABELS = {
    "x-mac-cyrillic": "mac_cyrillic",
    "x-mac-ukrainian": "mac_cyrillic",
    "iso-2022-kr": "iso2022_kr",
    "csiso2022kr": "iso2022_kr",
    "hz-gb-2312": "hz",
}
_DECLARED_WITHIN = 4096  # bytes
_META = re.compile(rb"<meta\b[^>]{0,1024}>", re.IGNORECASE)
_META_CHARSET = re.compile(rb"""charset\s*=\s*["']?\s*([^\s"'/>;]+)""", re.IGNORECASE)
_XML_ENCODING = re.compile(
    rb"""\s*<\?xml\b[^>]{0,256}?\bencoding\s*=\s*["']([^"'\s>]+)["']""", re.IGNORECASE
)
_COMMENT = re.compile(rb"<!--.*?(?:-->|$)", re.DOTALL)


class Decoded(NamedTuple):
    """A page as text. ``utf8``: the same in UTF-8 where that is how the page came, else None."""

    text: str
    utf8: bytes | None = None


def decode_page(page: bytes, declared: str | None = None) -> Decoded:
    """A page as text; ``declared`` is the encoding that its HTTP header says."""
    for mark, encoding in _MARKS:
        if page.startswith(mark):
            return Decoded(page[len(mark) :].decode(encoding, "replace"))
    labels = [codec_of(label) for label in (declared, declared_within(page))]
    encodings = [encoding for encoding in labels if encoding is not None]
    first = [encoding for encoding in encodings if encoding in _SEVEN_BIT + _WIDE]
    first += [encoding for start, encoding in _WIDE_STARTS if page.startswith(start)]
    for encoding in [*first, "utf-8", *encodings]:
        text = _decoded(page, encoding)
        if text is not None:
            return Decoded(text, page if encoding == "utf-8" else None)
    return Decoded(bytes_to_str(page, detect_encoding(page) or "utf-8", errors="replace"))


def codec_of(label: str | None) -> str | None:
    """Python's name of the encoding that a label means, None where it means none."""
    name = (label or "").strip(" \t\r\n\f\"'").lower()
    if not name:
        return None
    known = _LABELS.get(name) or map_encoding_to_html5(name, fallback_utf8=False)
    return _CODECS.get(known, known) if known else None


def declared_within(page: bytes) -> str | None:
    """The label that a page itself declares near its beginning, in an XML declaration or in a
    ``meta`` element.
    """
    start = page[:_DECLARED_WITHIN]
    if b"\0" in start:
        start = start.replace(b"\0", b"")  # each ASCII character is two bytes in UTF-16
    found = _XML_ENCODING.match(start)
    if found is None:
        for meta in _META.finditer(_COMMENT.sub(b"", start)):
            found = _META_CHARSET.search(meta.group())
            if found is not None:
                break
    return found.group(1).decode("ascii", "replace") if found else None


def _decoded(page: bytes, encoding: str) -> str | None:
    """The text, None where the page is not in this encoding."""
    if encoding in _WIDE and b"\0" not in page:
        return None  # nearly any bytes decode, but markup is ASCII and has zero bytes
    try:
        return page.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return None
