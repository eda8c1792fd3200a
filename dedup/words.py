"""Words of a text as 64-bit hashes, straight from UTF-8 bytes.

Everything in this floor that compares documents compares *words*, and this file alone says what a
word is:

- Letters (L*), numbers (N*) and spacing vowel signs (Mc) build words; any run of other characters
  (white space, punctuation, symbols, emoji, control characters) separates them and is dropped.
- Case and accents do not count: a character folds to its case folding, compatibility-decomposed
  (NFKD), when that holds just one letter or digit (``É`` and ``e``, ``Ａ`` and ``a``, ``ς`` and
  ``σ``, ``İ`` and ``i``, ``ё`` and ``е`` agree); where it would be several, the character's own
  lower case stands (``ß``, ``ﬁ``, a Hangul syllable). Digits are kept.
- Marks that take no room (Mn, Me) and format characters (Cf: soft hyphen, zero-width space and
  joiner, byte order mark) are skipped: they neither build nor separate. So composed and decomposed
  accents agree.
- In scripts written without spaces between words (Han, kana, Hangul, Thai, Lao, Myanmar, Khmer)
  every character is a word of its own, in mixed texts too: ``Python中文`` is ``python``, ``中``,
  ``文``.
- Bytes that are not UTF-8 separate, one byte each; the reader never leaves the text.

The class and the folding of every character of the first two planes lie in one table built from
``unicodedata``; planes 2 and 3 are Han and stand for themselves. The Unicode version is part of
:data:`ALGORITHM`, which belongs into the fingerprint of everything computed from words.

A word's hash is FNV-1a over folded code points (64-bit, one multiplication per character), mixed by
one multiply-xorshift round. Cost on ASCII: a chain of xor, multiply and select, about 5 cycles per
byte, without a branch on word ends.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.jit import kernel
from artifacts.text_buffers import text_buffers

Bytes = NDArray[np.uint8]
Codes = NDArray[np.uint32]
Hashes = NDArray[np.uint64]
Rows = NDArray[np.int64]  # row numbers, and offsets into columns

ALGORITHM = f"words/1 unicode {unicodedata.unidata_version}"

SEPARATOR = np.uint32(0)  # ends a word, is dropped
SKIP = np.uint32(1)  # as if it were not there
UNIT = np.uint32(1 << 31)  # flag: a word of its own; the other bits are the folded code point

# words hashed at a time: bounds memory for any text and stays in the first-level cache
BLOCK = 2048

BASIS = np.uint64(0xCBF29CE484222325)  # FNV-1a, 64-bit: the state between words
PRIME = np.uint64(0x100000001B3)
MIX = np.uint64(0xD6E8FEB86659FD93)  # odd, for multiply-xorshift rounds
START = cast(int, np.int64(0))  # for numba: with a literal 0 every callee would be compiled twice
_ZERO = np.uint64(0)

_UNIT_RANGES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1100, 0x11FF),  # Hangul jamo
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # Han radicals
    (0x3005, 0x3007),  # Han iteration mark, closing mark, zero
    (0x3021, 0x30FF),  # Hangzhou numerals, kana
    (0x3105, 0x31BF),  # Bopomofo, Hangul compatibility jamo
    (0x31F0, 0x31FF),  # small katakana
    (0x3400, 0x4DBF),  # Han extension A
    (0x4E00, 0x9FFF),  # Han
    (0xA960, 0xA97F),  # Hangul jamo extended A
    (0xA9E0, 0xA9FF),  # Myanmar extended B
    (0xAA60, 0xAA7F),  # Myanmar extended A
    (0xAC00, 0xD7FF),  # Hangul syllables, jamo extended B
    (0xF900, 0xFAFF),  # Han compatibility
    (0x116D0, 0x116FF),  # Myanmar extended C
    (0x1AFF0, 0x1B16F),  # kana supplement and extensions
)


@cache
def character_table() -> Codes:
    """What each character of planes 0 and 1 is, (131072,): SEPARATOR, SKIP or its folded code
    point, perhaps with UNIT.
    """
    table = np.array([_character(chr(code)) for code in range(0x20000)], np.uint32)
    units = np.zeros(len(table), bool)
    for first, last in _UNIT_RANGES:
        units[first : last + 1] = True
    in_table = table < len(table)
    alone = ~in_table  # a few compatibility characters fold to Han of plane 2
    alone[in_table] = units[table[in_table]]
    table[alone & (table > SKIP)] |= UNIT
    table.flags.writeable = False
    return table


def _builds_words(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LN" or category == "Mc"


def _character(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return int(SKIP)
    if not _builds_words(character):
        return int(SEPARATOR)
    decomposed = unicodedata.normalize("NFKD", character.casefold()).casefold()
    bases = [base for base in decomposed if _builds_words(base)]
    if not bases:  # a mark in the guise of a letter
        return int(SKIP)
    return ord(bases[0]) if len(bases) == 1 else ord(character.lower()[0])


@kernel
def decode(values: Bytes, i: int, end: int) -> tuple[np.uint32, int]:
    """Code point at byte ``i`` (lead byte >= 128) and its width in bytes; (0, 1) where it is not
    UTF-8.
    """
    lead = np.uint32(values[i])
    width = 2 if lead < 0xE0 else (3 if lead < 0xF0 else 4)
    if lead < 0xC2 or lead > 0xF4 or i + width > end:
        return np.uint32(0), 1
    code = lead & np.uint32(0x7F >> width)
    for k in range(1, width):
        byte = np.uint32(values[i + k])
        if byte & np.uint32(0xC0) != np.uint32(0x80):
            return np.uint32(0), 1
        code = np.uint32((code << np.uint32(6)) | (byte & np.uint32(0x3F)))
    return code, width


@kernel
def classify(code: np.uint32, table: Codes) -> np.uint32:
    """Table entry of any code point, planes beyond the table by rule."""
    if code < np.uint32(0x20000):
        return np.uint32(table[code])
    if code < np.uint32(0x40000):
        return np.uint32(code | UNIT)
    return SKIP if np.uint32(0xE0000) <= code <= np.uint32(0xE01EF) else SEPARATOR


@kernel
def scan_words(
    values: Bytes, i: int, end: int, table: Codes, words: Hashes, count: int, state: np.uint64
) -> tuple[int, int, np.uint64]:
    """Hash words from byte ``i`` on until the text ends or ``words`` is nearly full.

    ``state`` is the hash of the word being read, or the FNV basis between words. Returns the next
    byte, the number of words and the state; at the end of the text the last word is closed.
    New words still want :func:`mix_words`.
    """
    stop = min(end, i + words.size - count - 2)  # a byte yields at most one word
    while i < stop:
        byte = values[i]
        if byte < 128:
            entry = np.uint64(table[byte])
            words[count] = state
            count += int(entry == _ZERO) & int(state != BASIS)
            state = BASIS if entry == _ZERO else (state ^ entry) * PRIME
            i += 1
            continue
        code, width = decode(values, i, end)
        i += width
        entry32 = classify(code, table)
        if entry32 & UNIT:
            words[count] = state
            count += int(state != BASIS)
            words[count] = (BASIS ^ np.uint64(entry32)) * PRIME
            count += 1
            state = BASIS
        elif entry32 == SEPARATOR:
            words[count] = state
            count += int(state != BASIS)
            state = BASIS
        elif entry32 != SKIP:
            state = (state ^ np.uint64(entry32)) * PRIME
    if i >= end and state != BASIS:
        words[count] = state
        count += 1
        state = BASIS
    return i, count, state


@kernel
def mix_words(words: Hashes, first: int, last: int) -> None:
    """Spread the hashes of words ``first`` to ``last - 1`` over all 64 bits, in place."""
    for k in range(first, last):
        word = words[k]
        word = (word ^ (word >> np.uint64(32))) * MIX
        words[k] = word ^ (word >> np.uint64(29))


@kernel
def hash_all_words(values: Bytes, offsets: Rows, table: Codes, hashes: Hashes, ends: Rows) -> None:
    """Hashes of all words of all texts, one after the other, and where each text's words end."""
    total = START
    for row in range(offsets.size - 1):
        first, i, end, state = total, offsets[row], offsets[row + 1], BASIS
        while i < end:
            i, total, state = scan_words(values, i, end, table, hashes, total, state)
        mix_words(hashes, first, total)
        ends[row] = total


def word_hashes(texts: pa.LargeStringArray) -> tuple[Rows, Hashes]:
    """Words of each text as hashes: offsets (n + 1,) and hashes (words,); text k's are
    ``hashes[offsets[k]:offsets[k + 1]]``.
    """
    values, offsets = text_buffers(texts)
    hashes = np.empty((offsets[-1] - offsets[0]) // 2 + len(offsets) + 4, np.uint64)
    bounds = np.zeros(len(offsets), np.int64)
    hash_all_words(values, offsets, character_table(), hashes, bounds[1:])
    return bounds, hashes[: bounds[-1]].copy()


@kernel
def word_start(values: Bytes, i: int, end: int, table: Codes, wanted: int) -> int:
    """Byte offset at which word number ``wanted`` (from 0) of the text begins; ``end`` if it has
    fewer words.
    """
    inside = False
    words = 0
    while i < end:
        code, width = (np.uint32(values[i]), 1) if values[i] < 128 else decode(values, i, end)
        entry = classify(code, table)
        if entry != SKIP:
            if entry != SEPARATOR and (entry & UNIT or not inside):
                if words == wanted:
                    return i
                words += 1
            inside = entry != SEPARATOR and not entry & UNIT
        i += width
    return end
