"""Whether what an archive or a folder holds is a web page: by what is declared, by what a crawler
found, and by its first bytes.
"""

from __future__ import annotations

import re

NOT_HTML = "not_html"
HTML_TYPES = ("text/html", "application/xhtml+xml")
XHTML_TYPE = "application/xhtml+xml"

_SAYS_NOTHING = ("application/unknown", "unknown/unknown", "*/*")
_NOT_IDENTIFIED = ("application/octet-stream", *_SAYS_NOTHING)
_TEXT_TYPES = ("application/xml", "application/xhtml+xml", "application/json")
_SNIFFED_BYTES = 4096

_MARKUP = re.compile(
    rb"(?i)<(?:!--|(?:!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body"
    rb"|br|p)(?=[ \t\r\n\f>/]))"
)
_XHTML = re.compile(rb"(?i)<\?xml\b[^>]*>.{0,2048}?<html\b", re.DOTALL)

# first bytes of what is declared as HTML and is something else (WHATWG MIME Sniffing, section 6)
_BINARY = (
    b"%PDF-", b"%!PS", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"\xff\xd8\xff", b"PK\x03\x04",
    b"PK\x05\x06", b"\x1f\x8b", b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c", b"BZh", b"\xfd7zXZ\0",
    b"\x28\xb5\x2f\xfd", b"OggS", b"ID3", b"fLaC", b"wOFF", b"wOF2", b"\x7fELF", b"CWS", b"FWS",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"\x1a\x45\xdf\xa3", b"II*\0", b"MM\0*", b"\0\0\1\0",
    b"\0asm", b"SQLite format 3\0", b"{\\rtf",
)  # fmt: skip
_CONTAINERS = ((b"RIFF", 8, (b"WAVE", b"WEBP", b"AVI ")), (b"", 4, (b"ftyp",)))


def is_binary(content: bytes) -> bool:
    """True for images, archives, documents of office programs and other files that are no text."""
    start = content.lstrip(b" \t\r\n")[:64] if content[:1] in b" \t\r\n" else content[:64]
    if start.startswith(_BINARY):
        return True
    return any(
        content.startswith(first) and content[place : place + 4] in kinds
        for first, place, kinds in _CONTAINERS
    )


def may_be_html(declared: str | None, identified: str | None) -> bool:
    """False where the media type that is declared, or that a crawler identified, is another one;
    both in lower case without parameters.
    """
    if identified is not None and identified not in _NOT_IDENTIFIED:
        textual = identified.startswith("text/") or identified in _TEXT_TYPES
        if not textual:
            return False
    if declared is None or declared in _SAYS_NOTHING:
        return True
    return declared in HTML_TYPES


def is_html(declared: str | None, identified: str | None, content: bytes) -> bool:
    """True for a web page, given its content too: where nothing is declared, its first bytes
    decide.
    """
    if not may_be_html(declared, identified) or is_binary(content):
        return False
    if declared in HTML_TYPES or (declared is None and identified in HTML_TYPES):
        return True
    return looks_like_html(content)


def looks_like_html(content: bytes) -> bool:
    """True where the first bytes are markup as browsers sniff it; those of UTF-16 too."""
    start = content[:_SNIFFED_BYTES].lstrip(b"\xef\xbb\xbf\xff\xfe").replace(b"\0", b"").lstrip()
    return bool(_MARKUP.match(start) or _XHTML.match(start))
