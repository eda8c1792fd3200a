"""Text of an HTML page: decoded, parsed and stripped of navigation, with Resiliparse.

The result depends on the page alone; nothing is remembered from one page to the next.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from pipelines.readers.pages.charsets import decode_page
from pipelines.readers.pages.markup import as_html, guard_short_nodes, is_xhtml, move_lists_down
from pipelines.readers.pages.shape import check_shape, measured
from pipelines.readers.rows.records import LONE_SURROGATE, RecordRejectedError
from pipelines.readers.span import Limits

EMPTY_EXTRACTION = "empty_extraction"
EXTRACTION_FAILED = "extraction_failed"

WHOLE_PAGE = "whole_page"
HIDDEN_ELEMENTS = "hidden_elements"

_ENOUGH_WORDS = 200  # of running text outside links, for a page that cannot be empty
_READINGS = ("rt", "rp", "rtc")  # of ruby: how the characters beside them are read
_WIDE_SCRIPT = re.compile("[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0eff]")


_LIMITS = Limits()


class Page(NamedTuple):
    """Text and title of a page. ``extraction``: how the text was found where the main content alone
    gave none: ``hidden_elements``, or ``whole_page`` with its navigation.
    """

    text: str
    title: str
    extraction: str | None = None


def page_text(
    page: bytes, charset: str | None = None, xhtml: bool = False, limits: Limits = _LIMITS
) -> Page:
    """Main text and title of an HTML page; ``charset`` is what the HTTP header declared, ``xhtml``
    whether it was served as XHTML.

    The text keeps paragraphs, headings and list items on lines of their own; alternative texts,
    links, forms and the readings beside ruby characters are left out. It is empty for a page
    without running text.

    Raises: RecordRejectedError with extraction_failed, lone_surrogate, or the limit that the page
    is beyond (:func:`pipelines.readers.pages.shape.check_shape`).
    """
    markup, raw = decode_page(page, charset)
    if xhtml or is_xhtml(markup):
        markup, raw = as_html(markup), None
    found = measured(markup, limits.page_depth, raw)
    check_shape(found.shape, limits)
    markup, guard = guard_short_nodes(markup, found.raw, found.short)
    try:
        tree = HTMLTree.parse(markup)
        if found.lists:
            move_lists_down(tree)
        # each element to skip is looked for in the whole page
        text, extraction = _text(tree, _READINGS if found.readings else ())
        title = " ".join((tree.title or "").split())
        # here, in the thread that made it: the parser's trees must not be dropped in another one
        del tree
    # the parser raises types of its own; a page it cannot read goes into quarantine
    except Exception as error:
        raise RecordRejectedError(EXTRACTION_FAILED, f"{type(error).__name__}: {error}") from None
    if guard:
        text, title = text.replace(guard, ""), title.replace(guard, "")
    try:
        text.encode()
        title.encode()
    except UnicodeEncodeError as error:
        raise RecordRejectedError(
            LONE_SURROGATE, f"U+{ord(error.object[error.start]):04X} stands alone in the text"
        ) from None
    return Page(text.strip(), title, extraction)


def _text(tree: HTMLTree, skip: tuple[str, ...]) -> tuple[str, str | None]:
    """Main text; where there is none on a page with much text, more of it, and how it was
    found.
    """
    text = _extracted(tree, skip)
    if text.strip():
        return text, None
    if _words(_extracted(tree, (*skip, "a"), main_content=False)) < _ENOUGH_WORDS:
        return "", None
    text = _extracted(tree, skip, hidden_elements=True)
    if _words(text) >= _ENOUGH_WORDS:
        return text, HIDDEN_ELEMENTS
    return _extracted(tree, skip, main_content=False), WHOLE_PAGE


def _extracted(
    tree: HTMLTree,
    skip: tuple[str, ...],
    main_content: bool = True,
    hidden_elements: bool = False,
) -> str:
    text: str = extract_plain_text(
        tree,
        preserve_formatting=True,
        main_content=main_content,
        alt_texts=False,
        links=False,
        form_fields=False,
        noscript=False,
        hidden_elements=hidden_elements,
        skip_elements=skip,
    )
    return text


def _words(text: str) -> int:
    """Words between blanks; of scripts written without blanks, two characters count as one."""
    wide = len(_WIDE_SCRIPT.findall(text))
    return len(text.split()) + wide // 2
