"""Is every line of an extracted text made of whole text nodes of its page, as html5lib parses it?

It shares no code with the extractor: another parser, and no knowledge of what is main content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

import html5lib

_NO_TEXT = {"script", "style", "head", "template"}
_LINES_OF_THEIR_OWN = {"pre", "textarea", "listing", "plaintext", "xmp"}
_MARK = re.compile(r"^\s*(?:•|\d+\.) ")


def text_nodes(markup: str, xml: bool = False) -> list[str]:
    """Texts of a page in their order, without blanks."""
    root = (
        ElementTree.fromstring(markup)
        if xml
        else html5lib.parse(markup, treebuilder="etree", namespaceHTMLElements=False)
    )
    texts = ("".join(text.split()) for text in _texts(root))
    return [text for text in texts if text]


def _texts(root: Any) -> Iterator[str]:
    # by hand: pages are deeper than Python's stack
    waiting: list[tuple[Any, bool, bool]] = [(root, False, False)]
    while waiting:
        element, kept, is_tail = waiting.pop()
        text = element.tail if is_tail else element.text
        name = element.tag.rsplit("}", 1)[-1] if isinstance(element.tag, str) else None
        if not is_tail:
            if name is None or name in _NO_TEXT:
                continue
            kept = kept or name in _LINES_OF_THEIR_OWN
            for child in reversed(element):
                waiting += [(child, kept, True), (child, kept, False)]
        if text:
            yield from text.split("\n") if kept else [text]


def foreign_lines(text: str, texts: Sequence[str]) -> list[str]:
    """Lines of a text that are no sequence of whole texts of its page; some may be left out."""
    foreign, place = [], 0
    for line in text.split("\n"):
        for candidate in dict.fromkeys([_MARK.sub("", line), line]):
            wanted = "".join(candidate.split())
            end = _end(wanted, texts, place) or _end(wanted, texts, 0)
            if not wanted or end:
                place = end or place
                break
        else:
            foreign.append(line)
    return foreign


def _end(wanted: str, texts: Sequence[str], start: int) -> int | None:
    """Behind the texts from ``start`` on that make up a line."""
    reached = {0}
    for place in range(start, len(texts)):
        further = {at + len(texts[place]) for at in reached if wanted.startswith(texts[place], at)}
        if len(wanted) in further:
            return place + 1
        reached |= further
    return None
