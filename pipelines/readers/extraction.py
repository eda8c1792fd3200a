"""Text of an HTML page: decoded, parsed and stripped of navigation, with Resiliparse.

The result depends on the page alone; nothing is remembered from one page to the next.
"""

from __future__ import annotations

import codecs
import re

import numpy as np
from numpy.typing import NDArray
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding, map_encoding_to_html5
from resiliparse.parse.html import HTMLTree

from pipelines.readers.records import LONE_SURROGATE, RecordRejectedError

EMPTY_EXTRACTION = "empty_extraction"
EXTRACTION_FAILED = "extraction_failed"
NESTED_TOO_DEEPLY = "nested_too_deeply"

DEEPEST = 2048  # elements; the extractor's time grows with the square of the depth

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]*)")
_VOID = (
    "area",
    "base",
    "br",
    "col",
    "embed",
    "hr",
    "img",
    "input",
    "link",
    "meta",
    "param",
    "source",
    "track",
    "wbr",
)
_OPTIONAL_END = (
    "p", "li", "dt", "dd", "option", "optgroup", "tr", "td", "th", "thead", "tbody", "tfoot", "rt",
    "rp", "colgroup", "html", "head", "body",
)  # fmt: skip
_CLOSED_BY_ITSELF = frozenset(_VOID + _OPTIONAL_END)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def page_text(page: bytes, charset: str | None = None) -> tuple[str, str]:
    """(main text, title) of an HTML page; ``charset`` is what the HTTP header declared.

    The text keeps paragraphs, headings and list items on lines of their own; alternative texts,
    links and forms are left out. It is empty for a page without running text.

    Raises: RecordRejectedError with extraction_failed, nested_too_deeply or lone_surrogate.
    """
    markup = decode_page(page, charset)
    if nesting(markup) > DEEPEST:
        raise RecordRejectedError(
            NESTED_TOO_DEEPLY, f"elements lie more than {DEEPEST} deep in each other"
        )
    try:
        tree = HTMLTree.parse(markup)
        text = extract_plain_text(
            tree,
            preserve_formatting=True,
            main_content=True,
            alt_texts=False,
            links=False,
            form_fields=False,
            noscript=False,
        )
        title = " ".join((tree.title or "").split())
        # here, in the thread that made it: the parser's trees must not be dropped in another one
        del tree
    # the parser raises types of its own; a page it cannot read goes into quarantine
    except Exception as error:
        raise RecordRejectedError(EXTRACTION_FAILED, f"{type(error).__name__}: {error}") from None
    try:
        text.encode()
        title.encode()
    except UnicodeEncodeError as error:
        raise RecordRejectedError(
            LONE_SURROGATE, f"U+{ord(error.object[error.start]):04X} stands alone in the text"
        ) from None
    return text.strip(), title


def nesting(markup: str) -> int:
    """How deep elements lie in each other, at most; exact beyond :data:`DEEPEST`, an upper bound
    below.

    Elements that HTML closes by itself (void ones, paragraphs, list items, cells) do not count.
    """
    raw = np.frombuffer(markup.encode("utf-8", "replace") + b" ", np.uint8)
    following = raw[np.flatnonzero(raw[:-1] == ord("<")) + 1]
    letters = ((following | 0x20) >= ord("a")) & ((following | 0x20) <= ord("z"))
    rough = _rise(letters.astype(np.int64) - (following == ord("/")))
    if rough <= DEEPEST:
        return rough
    steps = [
        -1 if slash else 1
        for slash, name in _TAG.findall(markup)
        if name.lower() not in _CLOSED_BY_ITSELF
    ]
    return _rise(np.array(steps, np.int64))


def _rise(steps: NDArray[np.int64]) -> int:
    """The largest climb of the running sum above any earlier level."""
    levels = np.concatenate([np.zeros(1, np.int64), np.cumsum(steps)])
    return int((levels - np.minimum.accumulate(levels)).max())


def decode_page(page: bytes, charset: str | None = None) -> str:
    """Unicode text of a page: by byte order mark, else UTF-8 if valid, else as declared or
    detected.

    Pages are declared wrongly more often than other encodings happen to be valid UTF-8, so UTF-8
    goes before the HTTP header, and the header before the page's own meta element and detection.
    """
    for mark, encoding in _MARKS:
        if page.startswith(mark):
            return page[len(mark) :].decode(encoding, "replace")
    try:
        return page.decode("utf-8")
    except UnicodeDecodeError:
        pass
    declared = map_encoding_to_html5(charset, fallback_utf8=False) if charset else None
    if declared is not None:
        try:
            return page.decode(declared)
        except (UnicodeDecodeError, LookupError):
            pass
    return bytes_to_str(
        page, detect_encoding(page, from_html_meta=True) or "utf-8", errors="replace"
    )
