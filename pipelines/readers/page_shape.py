"""How deep a page is."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

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
