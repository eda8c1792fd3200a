"""What kind of character is this? One compact table over all of Unicode, for kernels over UTF-8.

The table is built once per process (about a quarter of a second, on first use) from Python's own
``unicodedata`` and ``str`` predicates, so kernels agree with ``str.split``, ``str.splitlines``,
``str.isalpha`` and ``str.isupper`` of the running interpreter by construction. Punctuation is
that of datatrove (:mod:`pipelines.signals.punctuation`), so "symbol" means the same in both.

Legend: a code point's flags are ``flags[pages[code >> 8] << 8 | code & 255]``; page 0 is stored
first, so ``flags[byte]`` is the class of an ASCII byte.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xxhash

from artifacts.jit import kernel
from pipelines.signals.punctuation import PUNCTUATION_RANGES

Array: TypeAlias = npt.NDArray[Any]
"""An array as a kernel takes it; the element types stand in the docstrings."""

SPACE = 1  # str.isspace: separates words
LINE_BREAK = 2  # ends a line in str.splitlines
PUNCTUATION = 4  # in datatrove's PUNCTUATION_SET
ALPHABETIC = 8  # str.isalpha: Unicode categories L*
CJK = 16  # a letter of a script in CJK_RANGES
NOT_UPPER = 32  # lower or title case: the text is not all upper case
UPPER = 64  # str.isupper
COMPOSES = 128  # NFC quick check is not "yes": normalisation may change it or its neighbour
MARK = 512  # one of "#", "." and U+2026, which the Gopher measures count
COMBINING = 256  # non-zero canonical combining class: two in a row may be out of order

LINE_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"

CJK_RANGES = (
    (0x0E00, 0x0E7F),  # Thai
    (0x1100, 0x11FF),  # Hangul Jamo
    (0x2E80, 0x312F),  # radicals, 々 and 〇's block, Hiragana, Katakana, Bopomofo
    (0x3130, 0x318F),  # Hangul compatibility Jamo
    (0x31A0, 0x31FF),  # Bopomofo and Katakana extensions
    (0x3400, 0x4DBF),  # Han extension A
    (0x4E00, 0x9FFF),  # Han
    (0xA960, 0xA97F),  # Hangul Jamo extended A
    (0xAC00, 0xD7FF),  # Hangul syllables, Jamo extended B
    (0xF900, 0xFAFF),  # Han compatibility
    (0xFF66, 0xFFDC),  # half-width Katakana and Hangul
    (0x1AFF0, 0x1B16F),  # Kana supplements
    (0x20000, 0x3FFFF),  # Han extensions B and later
)
"""Scripts whose words are not set apart by spaces, plus Hangul, as (first, last) code points."""

# Planes 4 to 13 are unassigned; 15 and 16 are private use. Their flags are 0, as predicates say.
_PLANES = (0, 1, 2, 3, 14)
_JAMO = (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))  # vowels and tails join a syllable by rule


@dataclass(frozen=True)
class CharacterTable:
    """``pages``: uint16[4352]; ``flags``: uint16[256 * distinct pages]; both read-only."""

    pages: npt.NDArray[np.uint16]
    flags: npt.NDArray[np.uint16]

    @property
    def fingerprint(self) -> str:
        """Hash of the table: changes with the Unicode version and with datatrove's punctuation."""
        return xxhash.xxh3_128_hexdigest(self.pages.tobytes() + self.flags.tobytes())


@cache
def character_table() -> CharacterTable:
    """The table, built on first use."""
    flags = np.zeros(0x110000, np.uint16)
    for plane in _PLANES:
        first = plane << 16
        flags[first : first + 0x10000] = _plane_flags(first)
    _mark(flags, map(ord, LINE_BREAKS), LINE_BREAK)
    _mark(flags, _punctuation(), PUNCTUATION)
    _mark(flags, map(ord, "#.\u2026"), MARK)
    _mark(flags, _second_in_composition(), COMPOSES)
    cjk = np.zeros(len(flags), bool)
    for first, last in CJK_RANGES:
        cjk[first : last + 1] = True
    flags[cjk & (flags & ALPHABETIC > 0)] |= CJK
    distinct, first_seen, inverse = np.unique(
        flags.reshape(-1, 256), axis=0, return_index=True, return_inverse=True
    )
    # page 0 first, so that ASCII needs no page lookup
    order = np.argsort(first_seen, kind="stable")
    rank = np.empty(len(order), np.uint16)
    rank[order] = np.arange(len(order), dtype=np.uint16)
    table = CharacterTable(rank[inverse.ravel()], np.ascontiguousarray(distinct[order]).ravel())
    table.pages.flags.writeable = False
    table.flags.flags.writeable = False
    return table


def _plane_flags(first: int) -> npt.NDArray[np.uint16]:
    """Flags of 65,536 code points that follow from predicates on one character."""
    characters = [chr(code) for code in range(first, first + 0x10000)]

    def column(predicate: object, flag: int) -> npt.NDArray[np.uint16]:
        return np.fromiter(map(predicate, characters), np.bool_, len(characters)) * np.uint16(flag)  # type: ignore[call-overload]

    return (
        column(str.isspace, SPACE)
        | column(str.isalpha, ALPHABETIC)
        | column(str.isupper, UPPER)
        | column(_is_lower_or_title, NOT_UPPER)
        | column(unicodedata.combining, COMBINING)
        | column(_is_not_nfc, COMPOSES)
    )


def _is_lower_or_title(character: str) -> bool:
    return character.islower() or (character.istitle() and not character.isupper())


def _is_not_nfc(character: str) -> bool:
    return not unicodedata.is_normalized("NFC", character)


def _second_in_composition() -> set[int]:
    """Code points that NFC may join with the character before them (quick check "maybe")."""
    seconds = set(_JAMO)
    for plane in _PLANES:
        for code in range(plane << 16, (plane + 1) << 16):
            parts = unicodedata.decomposition(chr(code)).split()
            if len(parts) == 2 and not parts[0].startswith("<"):
                seconds.add(int(parts[1], 16))
    return seconds


def _punctuation() -> set[int]:
    return {code for first, last in PUNCTUATION_RANGES for code in range(first, last + 1)}


def _mark(flags: npt.NDArray[np.uint16], codes: object, flag: int) -> None:
    flags[np.fromiter(codes, np.int64)] |= np.uint16(flag)  # type: ignore[call-overload]


@kernel
def decode(values: Array, at: Any, end: Any) -> tuple[Any, Any]:
    """Code point and byte width of the character at ``values[at]``, for ``at < end``.

    Malformed bytes never read past ``end``: a byte that starts no whole character stands alone as
    code point 0xFFFD (no flags).
    """
    byte = np.int64(values[at])
    if byte < 0x80:
        return byte, 1
    if 0xC0 <= byte < 0xE0 and at + 2 <= end:
        return (byte & 0x1F) << 6 | (values[at + 1] & 0x3F), 2
    if 0xE0 <= byte < 0xF0 and at + 3 <= end:
        return (byte & 0x0F) << 12 | np.int64(values[at + 1] & 0x3F) << 6 | (
            values[at + 2] & 0x3F
        ), 3
    if 0xF0 <= byte < 0xF5 and at + 4 <= end:
        code = (
            (byte & 0x07) << 18
            | np.int64(values[at + 1] & 0x3F) << 12
            | np.int64(values[at + 2] & 0x3F) << 6
        )
        return min(code | (values[at + 3] & 0x3F), 0x10FFFF), 4
    return np.int64(0xFFFD), 1
