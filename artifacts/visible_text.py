"""Text from outside as people may see it: nothing in it acts, hides, or turns other text.

A file name, a column, a document may hold escape sequences that a terminal obeys, marks that turn
the direction of text, and characters that have no look at all. They are shown by their number, as
Python writes them. What is shown is text for people; files and JSON keep what was there.

>>> from artifacts.visible_text import on_one_line, visible
>>> print(visible("a\\x1b[2Jb\\u202ec\\u200dd"))
a\\u001b[2Jb\\u202ec\\u200dd
>>> print(on_one_line("a\\nb"))
a\\u000ab
"""

from __future__ import annotations

import json
import re
from typing import Any

# general categories Cc (without tab and line feed), Cf, Cs, Zl, Zp, and what is by default ignored
# when text is drawn (Default_Ignorable_Code_Point): fillers, joiners, variation selectors, tags
RANGES = (
    (0x00, 0x08),
    (0x0B, 0x1F),
    (0x7F, 0x9F),
    (0xAD, 0xAD),
    (0x034F, 0x034F),
    (0x0600, 0x0605),
    (0x061C, 0x061C),
    (0x06DD, 0x06DD),
    (0x070F, 0x070F),
    (0x0890, 0x0891),
    (0x08E2, 0x08E2),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x2028, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xD800, 0xDFFF),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFB),
    (0x110BD, 0x110BD),
    (0x110CD, 0x110CD),
    (0x13430, 0x1343F),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)
_CLASS = "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in RANGES)
_HIDDEN = re.compile(f"[{_CLASS}]")
_HIDDEN_OR_BREAK = re.compile(f"[\t\n{_CLASS}]")


def visible(text: str) -> str:
    """The text with every character of :data:`RANGES` as its number; tabs and line feeds stay."""
    return _HIDDEN.sub(_numbered, text)


def on_one_line(text: str) -> str:
    """The text as :func:`visible` shows it, tabs and line feeds as their numbers too, so that it
    cannot pass for several lines.
    """
    return _HIDDEN_OR_BREAK.sub(_numbered, text)


def shown_json(value: Any) -> str:
    """A value as JSON, exact, that can go to a terminal: letters stand for themselves, characters
    of :data:`RANGES` as JSON's own escapes.
    """
    return exact_json(json.dumps(value, ensure_ascii=False))


def exact_json(text: str) -> str:
    """JSON text with characters of :data:`RANGES` as JSON's own escapes: the same value."""
    return _HIDDEN.sub(_json_escape, text)


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _numbered(found: re.Match[str]) -> str:
    point = ord(found[0])
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
