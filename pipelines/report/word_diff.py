"""Differences between two texts, word by word, for showing side by side."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

SHOWN = 600  # characters of each text
_BEFORE = 120  # characters shown before the first difference
_LOOKED_AT = 200_000  # characters searched for the first difference
_LONGEST_WORD = 60  # characters
_TOKEN = re.compile(r"\s+|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+|[^\w\s]")

Piece = tuple[str, bool]  # text, and whether the other side lacks it


@dataclass(frozen=True)
class WordDiff:
    """Pieces of both sides; ``start`` is the character both begin at, ``identical`` whether nothing
    differs in the whole texts.
    """

    left: list[Piece]
    right: list[Piece]
    start: int
    identical: bool


def word_diff(left: str, right: str) -> WordDiff:
    """Compare about :data:`SHOWN` characters of two texts, from the start or from shortly before
    the first difference.
    """
    pairs = zip(left[:_LOOKED_AT], right[:_LOOKED_AT], strict=False)
    common = next(
        (place for place, (ours, theirs) in enumerate(pairs) if ours != theirs),
        min(len(left), len(right), _LOOKED_AT),
    )
    identical = left == right
    start = 0 if identical or common < SHOWN * 2 // 3 else _line_start(left, common - _BEFORE)
    left_tokens, right_tokens = _tokens(left, start), _tokens(right, start)
    matcher = difflib.SequenceMatcher(None, left_tokens, right_tokens, autojunk=False)
    left_pieces: list[Piece] = []
    right_pieces: list[Piece] = []
    for kind, a, b, c, d in matcher.get_opcodes():
        if b > a:
            overhang = kind == "delete" and b == len(left_tokens) and len(left) > start + SHOWN
            left_pieces.append(("".join(left_tokens[a:b]), kind != "equal" and not overhang))
        if d > c:
            overhang = kind == "insert" and d == len(right_tokens) and len(right) > start + SHOWN
            right_pieces.append(("".join(right_tokens[c:d]), kind != "equal" and not overhang))
    return WordDiff(left_pieces, right_pieces, start, identical)


def _tokens(text: str, start: int) -> list[str]:
    """Tokens of the part that is compared; one that may have been cut in two is left out, unless it
    is no word but a stretch that would leave little to see.
    """
    tokens: list[str] = _TOKEN.findall(text[start : start + SHOWN])
    cut = len(text) > start + SHOWN and len(tokens[-1]) <= _LONGEST_WORD
    return tokens[:-1] if cut else tokens


def _line_start(text: str, place: int) -> int:
    """The start of the line around ``place`` where it is near, else of a word."""
    line = text.rfind("\n", max(0, place - _BEFORE), place)
    return line + 1 if line >= 0 else text.rfind(" ", 0, place) + 1
