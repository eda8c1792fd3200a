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

from resiliparse.parse.html import HTMLTree, Node

_SELF_CLOSED = re.compile(r"""<([a-zA-Z][^\s/<>]*)((?:"[^"<]*"|'[^'<]*'|[^'"<>])*)/>""")
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_VOID = frozenset(
    (
        *("area", "base", "br", "col", "embed", "hr", "img", "input"),
        *("link", "meta", "param", "source", "track", "wbr"),
    )
)
_BLANK = r"[ \t\n\r\f\v]*"
_REFERENCE = r"&[#\w]{1,31};?"
_SHORT_NODE = re.compile(
    rf">{_BLANK}((?:[!-%'-;=?-~]|{_REFERENCE})?(?:[\u0080-\uffff]|{_REFERENCE})){_BLANK}<"
)
_PRIVATE = re.compile("[\ue000-\uf8ff]")
_NONCHARACTERS = range(0xFDD0, 0xFDF0)
_DEEP_ENOUGH = 4  # levels below the body from which the extractor looks into a list


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


def guard_short_nodes(markup: str) -> tuple[str, str]:
    """(markup, guard): the guard stands behind every text node that the extractor takes for an icon
    though it is none; it is empty where there is no such node.
    """
    if not any(_is_short(found.group(1)) for found in _SHORT_NODE.finditer(markup)):
        return markup, ""
    guard = _unused(markup)

    def guarded(found: re.Match[str]) -> str:
        if not _is_short(found.group(1)):
            return found.group()
        end = found.end(1) - found.start()
        return f"{found.group()[:end]}{guard}{found.group()[end:]}"

    # each match holds the first byte of the next tag only, so none hides another
    return _SHORT_NODE.sub(guarded, markup), guard


def _is_short(node: str) -> bool:
    text = html.unescape(node)
    raw = text.encode("utf-8", "replace")
    return len(raw) == 3 and raw[2] >= 0x80 and not _PRIVATE.match(text)


def _unused(markup: str) -> str:
    """A noncharacter that is not in a page, as itself or as a character reference."""
    lower = markup.lower()
    return next(
        (
            chr(code)
            for code in _NONCHARACTERS
            if chr(code) not in markup and f"{code:x}" not in lower and str(code) not in markup
        ),
        "",
    )


def move_lists_down(tree: HTMLTree) -> None:
    """Put plain elements around the lists close to the body, for the extractor to look into
    them.
    """
    body = tree.body
    if body is None:
        return
    for one in list(body.get_elements_by_tag_name("ul")):
        levels = _levels_missing(one)
        if levels:
            _wrap(tree, one, levels)


def _levels_missing(element: Node) -> int:
    """How many levels deeper an element would have to lie."""
    depth, place = 0, element
    while depth < _DEEP_ENOUGH and place.tag != "body" and place.parent is not None:
        depth, place = depth + 1, place.parent
    return _DEEP_ENOUGH - depth


def _wrap(tree: HTMLTree, element: Node, levels: int) -> None:
    """Put an element into that many new ones, one in the other, at the place where it was."""
    new = [one for _ in range(levels) if (one := tree.create_element("div")) is not None]
    if element.parent is None or not new:
        return
    element.parent.replace_child(new[0], element)
    for outer, inner in pairwise([*new, element]):
        outer.append_child(inner)
