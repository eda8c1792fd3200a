"""Markup of a page made ready for the parser and the extractor: what they would lose otherwise.

- XHTML closes elements in their own tag (``<title/>``); an HTML parser takes such a ``title``,
  ``script`` or ``style`` as opened, and the rest of the page as its content.
- Resiliparse's main-content extraction takes a text node of three bytes whose last is not ASCII
  for a character of an icon font and drops it: 「と」, a dash, ``où``. Such nodes get a character
  that no page has, and the text loses it again.
- It also drops every ``ul`` close to the body, whatever is in it; one that lies deeper is dropped
  where it is mostly links.
"""

from __future__ import annotations

import html
import re
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from resiliparse.parse.html import HTMLTree, Node

_SELF_CLOSED = re.compile(r"""<([a-zA-Z][^\s/<>]*)((?:"[^"<]*"|'[^'<]*'|[^'"<>])*)/>""")
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_VOID = frozenset(
    (
        *("area", "base", "br", "col", "embed", "hr", "img", "input"),
        *("link", "meta", "param", "source", "track", "wbr"),
    )
)
_BLANKS = b" \t\n\r\f\v"
_NONCHARACTERS = range(0xFDD0, 0xFDF0)
_REFERENCE = re.compile("&#(?:[xX]0*([fF][dD][0-9a-fA-F]{2})|0*(6[45][0-9]{3}))")
_DEEP_ENOUGH = 4  # levels below the body from which the extractor looks into a list
_CLOSE_LISTS = "body > ul, body > * > ul, body > * > * > ul"


def is_xhtml(markup: str) -> bool:
    """True for a page that begins as an XML document."""
    return markup.startswith("<?xml") or markup.lstrip().startswith("<?xml")


def as_html(markup: str) -> str:
    """XHTML as an HTML parser reads it: elements closed in their own tag get an end tag, CDATA
    becomes text.
    """
    if "<![CDATA[" in markup:
        markup = _CDATA.sub(lambda found: html.escape(found.group(1), quote=False), markup)
    return _SELF_CLOSED.sub(_with_end_tag, markup)


def _with_end_tag(found: re.Match[str]) -> str:
    name, rest = found.groups()
    return found.group() if name.lower() in _VOID else f"<{name}{rest}></{name}>"


def guard_short_nodes(markup: str, raw: bytes, short: NDArray[np.int64]) -> tuple[str, str]:
    """(markup, guard) of a page, given with its UTF-8: the guard stands behind every text node that
    the extractor takes for an icon though it is none; it is empty where there is no such node.

    ``short``: (n, 2), where in UTF-8 the nodes start and end that may be such ones.
    """
    taken = [end for start, end in short.tolist() if _is_short(raw[start:end])]
    guard = _unused(markup) if taken else ""
    if not guard:
        return markup, ""
    places = [0, *taken, len(raw)]
    guarded = guard.encode().join(raw[start:end] for start, end in pairwise(places))
    return guarded.decode("utf-8", "surrogatepass"), guard


def _is_short(node: bytes) -> bool:
    node = node.strip(_BLANKS)
    if node == b"&nbsp;":
        return False
    if b"&" in node:
        text = html.unescape(node.decode("utf-8", "surrogatepass")).strip(_BLANKS.decode())
        node = text.encode("utf-8", "surrogatepass")
    # private characters, which are three bytes with these first, are those of icon fonts
    return len(node) == 3 and node[2] >= 0x80 and not b"\xee\x80\x80" <= node <= b"\xef\xa3\xbf"


def _unused(markup: str) -> str:
    """A noncharacter that is not in a page, as itself or as a character reference."""
    referred = {
        int(sixteenth, 16) if sixteenth else int(tenth)
        for sixteenth, tenth in _REFERENCE.findall(markup)
    }
    free = (chr(code) for code in _NONCHARACTERS if code not in referred)
    return next((character for character in free if character not in markup), "")


def move_lists_down(tree: HTMLTree) -> None:
    """Put plain elements around the lists close to the body, for the extractor to look into
    them.
    """
    body = tree.body
    if body is None:
        return
    for one in list(body.query_selector_all(_CLOSE_LISTS)):
        depth, place = 1, one.parent
        while place is not None and place.tag != "body":
            depth, place = depth + 1, place.parent
        _wrap(tree, one, _DEEP_ENOUGH - depth)


def _wrap(tree: HTMLTree, element: Node, levels: int) -> None:
    """Put an element into that many new ones, one in the other, at the place where it was."""
    new = [one for _ in range(levels) if (one := tree.create_element("div")) is not None]
    if element.parent is None or not new:
        return
    element.parent.replace_child(new[0], element)
    for outer, inner in pairwise([*new, element]):
        outer.append_child(inner)
