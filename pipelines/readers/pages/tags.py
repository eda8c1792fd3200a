"""Elements of HTML by what a parser does at their tags, for :mod:`pipelines.readers.pages.shape`.

From the HTML standard, section 13.2 (parsing HTML documents), as of 2026.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# what an element is, as bits
VOID = 1 << 0  # has no content
RAW = 1 << 1  # holds text alone, up to its own end tag
CLOSES_P = 1 << 2  # its start tag ends an open paragraph
SPECIAL = 1 << 3  # an end tag of an ordinary element does not look beyond it
BARRIER = 1 << 4  # end tags do not look beyond it
FORMATTING = 1 << 5  # goes on in the next block where it is not closed
MARKER = 1 << 6  # formatting ends at it
HEADING = 1 << 7
TABLE_PART = 1 << 8
IGNORED = 1 << 9  # its tags change nothing
FOREIGN = 1 << 10  # begins SVG or MathML
BREAKS_OUT = 1 << 11  # its start tag ends SVG and MathML
POINT = 1 << 12  # of SVG or MathML, and HTML in it
ENDS_IN_SCOPE = 1 << 13  # its end tag closes it and all in it, up to a barrier
LIST_BARRIER = 1 << 14
BUTTON_BARRIER = 1 << 15
TRANSPARENT = 1 << 16  # a new list item looks beyond it
FRAMES = 1 << 17  # begins a page of frames
ITEM = 1 << 18  # li, dd, dt
CELL = 1 << 19
ROW = 1 << 20
ROW_GROUP = 1 << 21
TABLE = 1 << 22
PARAGRAPH = 1 << 23
OPTION = 1 << 24
FORM = 1 << 25
ANCHOR = 1 << 26  # a and nobr: one in another ends it
BUTTON = 1 << 27
DEFINITION = 1 << 28  # dd, dt
PLAINTEXT = 1 << 29
SCRIPT = 1 << 30
BREAK = 1 << 31
CAPTION = 1 << 32
TEMPLATE = 1 << 33
READING = 1 << 34  # of ruby: how the characters beside it are read
PLAIN_LIST = 1 << 35

_BLOCKS = (
    "address article aside blockquote center details dialog dir div dl fieldset figcaption figure "
    "footer header hgroup main menu nav ol search section summary ul pre listing"
)
_HEADINGS = "h1 h2 h3 h4 h5 h6"
_NAMES = {
    VOID: "area base basefont bgsound br col embed frame hr img image input keygen link meta param "
    "source track wbr",
    RAW: "title textarea style script xmp iframe noembed noframes plaintext",
    CLOSES_P: f"{_BLOCKS} {_HEADINGS} p form li dd dt hr xmp plaintext",
    SPECIAL: f"{_BLOCKS} {_HEADINGS} applet area base basefont bgsound body br button caption col "
    "colgroup dd dt embed form frame frameset head hr html iframe img input keygen li link marquee "
    "meta noembed noframes noscript object p param plaintext script select source style table "
    "tbody td template textarea tfoot th thead title tr track wbr xmp",
    BARRIER: "applet caption html table td th marquee object select template",
    FORMATTING: "a b big code em font i nobr s small strike strong tt u",
    MARKER: "applet marquee object",
    HEADING: _HEADINGS,
    TABLE_PART: "caption colgroup tbody tfoot thead tr td th col",
    IGNORED: "html head body frame",
    FOREIGN: "svg math",
    BREAKS_OUT: f"{_HEADINGS} b big blockquote body br center code dd div dl dt em embed head hr i "
    "img li listing menu meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul "
    "var font",
    POINT: "foreignobject desc title annotation-xml mi mo mn ms mtext",
    ENDS_IN_SCOPE: f"{_BLOCKS} button select applet marquee object",
    LIST_BARRIER: "ol ul",
    BUTTON_BARRIER: "button",
    TRANSPARENT: "address div p",
    FRAMES: "frameset",
    ITEM: "li dd dt",
    DEFINITION: "dd dt",
    CELL: "td th",
    CAPTION: "caption",
    TEMPLATE: "template",
    READING: "rt rp rtc",
    PLAIN_LIST: "ul",
    ROW: "tr",
    ROW_GROUP: "tbody tfoot thead",
    TABLE: "table",
    PARAGRAPH: "p",
    OPTION: "option optgroup",
    FORM: "form",
    ANCHOR: "a nobr",
    BUTTON: "button",
    PLAINTEXT: "plaintext",
    SCRIPT: "script",
    BREAK: "br",
}

HASH_START, HASH_PRIME = -0x340D631B7BDDDCDB, 0x100000001B3  # FNV-1a, 64 bits, signed


def name_hash(name: str) -> int:
    """What the kernel makes of a tag's name."""
    value = HASH_START
    for byte in name.encode():
        value = (value ^ byte) * HASH_PRIME
        value = (value + (1 << 63)) % (1 << 64) - (1 << 63)
    return value


_ROWS = 1024  # a power of two, several times the names: nearly all are found at once


def _table() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A hash table with open addressing: hashes of names, 0 where there is none, and bits."""
    bits: dict[str, int] = {}
    for bit, names in _NAMES.items():
        for name in names.split():
            bits[name] = bits.get(name, 0) | bit
    hashes, found = np.zeros(_ROWS, np.int64), np.zeros(_ROWS, np.int64)
    for name, value in bits.items():
        row = name_hash(name) % _ROWS
        while hashes[row]:
            row = (row + 1) % _ROWS
        hashes[row], found[row] = name_hash(name), value
    return hashes, found


HASHES, BITS = _table()
P, TR, TBODY, SVG = name_hash("p"), name_hash("tr"), name_hash("tbody"), name_hash("svg")
