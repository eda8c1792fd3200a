"""Gopher's quality measures of a text, all in one pass over the UTF-8 bytes.

The measures are those of Rae et al. 2021 (arXiv 2112.11446, appendix A.1.1) with the definitions of
datatrove's ``GopherQualityFilter``, except that a word is a maximal run of characters that are not
white space (``str.split()``), where datatrove segments with spaCy. Ratios are plain IEEE
divisions of integer counts, so they equal the filter's own figures to the last bit.

Nothing is judged here; :mod:`pipelines.signals.gopher_rules` holds the thresholds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from artifacts.jit import kernel
from pipelines.signals.characters import (
    ALPHABETIC,
    CJK,
    LINE_BREAK,
    MARK,
    PUNCTUATION,
    SPACE,
    Array,
    character_table,
    decode,
)
from pipelines.signals.text_buffers import Texts, text_buffers

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")

# Columns of the kernel's integer counts, one row per document.
(
    WORDS,
    SYMBOL_FREE_WORDS,
    SYMBOL_FREE_LETTERS,
    ALPHA_WORDS,
    STOPS,
    HASHES,
    ELLIPSES,
    LINES,
    BULLET_LINES,
    ELLIPSIS_LINES,
    CHARACTERS,
    CJK_CHARACTERS,
    ALPHA_CHARACTERS,
    VISIBLE_CHARACTERS,
) = range(14)
COUNTS = 14

COLUMNS = pa.schema(
    [
        pa.field("words", pa.int64(), nullable=False),
        pa.field("symbol_free_words", pa.int64(), nullable=False),
        pa.field("mean_word_length", pa.float64()),
        pa.field("hash_ratio", pa.float64()),
        pa.field("ellipsis_ratio", pa.float64()),
        pa.field("bullet_line_ratio", pa.float64()),
        pa.field("ellipsis_line_ratio", pa.float64()),
        pa.field("alpha_word_ratio", pa.float64()),
        pa.field("alpha_character_ratio", pa.float64()),
        pa.field("stop_words", pa.int64(), nullable=False),
        pa.field("hashes", pa.int64(), nullable=False),
        pa.field("ellipses", pa.int64(), nullable=False),
        pa.field("characters", pa.int64(), nullable=False),
        pa.field("cjk_characters", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("lines", pa.int64(), nullable=False),
    ]
)
"""What :func:`measure` returns; see there for each column."""


def measure(texts: Texts) -> pa.RecordBatch:
    """The measures of every text, one row per document in the order given (schema :data:`COLUMNS`).

    - ``words``: maximal runs of characters that are not white space.
    - ``symbol_free_words``: words with at least one character outside datatrove's punctuation set.
    - ``mean_word_length``: mean length in characters of those words.
    - ``hashes``, ``ellipses``: number of ``#``; of non-overlapping ``...`` plus U+2026.
    - ``hash_ratio``, ``ellipsis_ratio``: the same per word.
    - ``lines``: as ``str.splitlines`` counts them.
    - ``bullet_line_ratio``: share of lines whose first visible character is ``-`` or U+2022.
    - ``ellipsis_line_ratio``: share of lines that end, before trailing white space, in ``...`` or
      U+2026.
    - ``alpha_word_ratio``: share of words with a letter (Unicode category L).
    - ``alpha_character_ratio``: share of letters among characters that are not white space.
    - ``stop_words``: how many distinct ones of :data:`STOP_WORDS` occur as words, case-sensitive.
    - ``characters``, ``bytes``: length in code points and in UTF-8 bytes.
    - ``cjk_characters``: letters of Han, Kana, Bopomofo, Hangul and Thai, the size of a text whose
      words are not set apart by spaces.

    A mean or ratio over nothing (no words, no lines) is null.
    """
    values, offsets = text_buffers(texts)
    table = character_table()
    counts = np.zeros((len(offsets) - 1, COUNTS), np.int64)
    count_gopher(values, offsets, table.pages, table.flags, _STOP_KEYS, counts)
    words, lines = counts[:, WORDS], counts[:, LINES]
    columns = {
        "words": pa.array(words),
        "symbol_free_words": pa.array(counts[:, SYMBOL_FREE_WORDS]),
        "mean_word_length": _ratio(counts[:, SYMBOL_FREE_LETTERS], counts[:, SYMBOL_FREE_WORDS]),
        "hash_ratio": _ratio(counts[:, HASHES], words),
        "ellipsis_ratio": _ratio(counts[:, ELLIPSES], words),
        "bullet_line_ratio": _ratio(counts[:, BULLET_LINES], lines),
        "ellipsis_line_ratio": _ratio(counts[:, ELLIPSIS_LINES], lines),
        "alpha_word_ratio": _ratio(counts[:, ALPHA_WORDS], words),
        "alpha_character_ratio": _ratio(counts[:, ALPHA_CHARACTERS], counts[:, VISIBLE_CHARACTERS]),
        "stop_words": pa.array(counts[:, STOPS]),
        "hashes": pa.array(counts[:, HASHES]),
        "ellipses": pa.array(counts[:, ELLIPSES]),
        "characters": pa.array(counts[:, CHARACTERS]),
        "cjk_characters": pa.array(counts[:, CJK_CHARACTERS]),
        "bytes": pa.array(np.diff(offsets)),
        "lines": pa.array(lines),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in COLUMNS.names], schema=COLUMNS)


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> pa.DoubleArray:
    """part / whole, null where the whole is 0."""
    empty = whole == 0
    return pa.array(part / np.where(empty, 1, whole), mask=empty)


def _pack(word: bytes) -> int:
    """Up to four bytes as one integer, first byte lowest."""
    return int.from_bytes(word, "little")


_STOP_KEYS = np.array([_pack(word.encode()) for word in STOP_WORDS], np.uint32)
_STOP_KEYS.flags.writeable = False


@kernel
def _stop_word_bit(values: Array, start: Any, end: Any, keys: Array) -> int:
    """A bit per stop word: the one that equals the word ``values[start:end]``, else 0."""
    if end - start < 2 or end - start > 4:
        return 0
    key = np.uint32(0)
    for at in range(start, end):
        key |= np.uint32(values[at]) << np.uint32(8 * (at - start))
    for index in range(len(keys)):
        if keys[index] == key:
            return 1 << index
    return 0


@kernel
def _word(
    values: Array, start: Any, end: Any, flags: Any, characters: Any, stop_keys: Array
) -> tuple[Any, Any, Any, Any]:
    """What the word ``values[start:end]`` adds: alphabetic words, symbol-free words, their letters,
    a stop word bit.

    ``flags`` has ALPHABETIC if any character is alphabetic, PUNCTUATION if all are punctuation.
    """
    alphabetic = np.int64((flags & ALPHABETIC) != 0)
    if flags & PUNCTUATION:
        return alphabetic, 0, 0, 0
    return alphabetic, 1, characters, _stop_word_bit(values, start, end, stop_keys)


@kernel
def _count_document(
    values: Array, start: Any, end: Any, pages: Array, flags: Array, stop_keys: Array, counts: Array
) -> None:
    """Counts of the text ``values[start:end]``. Locals, not ``counts``, in the loop: that halves
    the time.
    """
    words = alpha_words = free_words = letters = stops = hashes = ellipses = 0
    lines = bullets = ellipsis_lines = characters = visible = alphabetic = cjk = 0
    # of the open word; none is open while it has no characters
    word_start, word_characters = start, 0
    word_flags: Any = 0
    dots = 0  # full stops in a row, up to here
    line_start, line_blank, line_ends_in_ellipsis = start, True, False
    at = start
    while at < end:
        code: Any = np.int64(values[at])
        width = 1
        if code < 0x80:
            flag: Any = np.int64(flags[code])
        else:
            code, width = decode(values, at, end)
            flag = np.int64(flags[np.int64(pages[code >> 8]) << 8 | (code & 0xFF)])
        characters += 1
        if flag & SPACE:
            if word_characters > 0:
                add = _word(values, word_start, at, word_flags, word_characters, stop_keys)
                words, alpha_words, free_words = (
                    words + 1,
                    alpha_words + add[0],
                    free_words + add[1],
                )
                letters, stops, word_characters = letters + add[2], stops | add[3], 0
            dots = 0
            if flag & LINE_BREAK:
                lines += 1
                ellipsis_lines += line_ends_in_ellipsis
                line_blank, line_ends_in_ellipsis = True, False
                if code == 0x0D and at + 1 < end and values[at + 1] == 0x0A:
                    at += 1
                    characters += 1
                line_start = at + width
        else:
            visible += 1
            alphabetic += (flag & ALPHABETIC) != 0
            cjk += (flag & CJK) != 0
            if word_characters == 0:
                word_start, word_flags = at, flag
                if line_blank:
                    line_blank = False
                    bullets += code == 0x2D or code == 0x2022
            else:
                word_flags = ((word_flags | flag) & ALPHABETIC) | (word_flags & flag & PUNCTUATION)
            word_characters += 1
            if flag & MARK:
                hashes += code == 0x23
                dots = dots + 1 if code == 0x2E else 0
                ellipses += code == 0x2026 or (dots > 0 and dots % 3 == 0)
                line_ends_in_ellipsis = code == 0x2026 or dots >= 3
            else:
                dots, line_ends_in_ellipsis = 0, False
        at += width
    if word_characters > 0:
        add = _word(values, word_start, end, word_flags, word_characters, stop_keys)
        words, alpha_words, free_words = words + 1, alpha_words + add[0], free_words + add[1]
        letters, stops = letters + add[2], stops | add[3]
    if line_start < end:
        lines += 1
        ellipsis_lines += line_ends_in_ellipsis
    counts[WORDS], counts[SYMBOL_FREE_WORDS], counts[SYMBOL_FREE_LETTERS], counts[ALPHA_WORDS] = (
        words,
        free_words,
        letters,
        alpha_words,
    )
    counts[HASHES], counts[ELLIPSES], counts[STOPS] = hashes, ellipses, _bits(stops)
    counts[LINES], counts[BULLET_LINES], counts[ELLIPSIS_LINES] = lines, bullets, ellipsis_lines
    counts[CHARACTERS], counts[CJK_CHARACTERS] = characters, cjk
    counts[ALPHA_CHARACTERS], counts[VISIBLE_CHARACTERS] = alphabetic, visible


@kernel
def _bits(mask: Any) -> int:
    """How many bits are set."""
    bits = 0
    while mask:
        bits += 1
        mask &= mask - 1
    return bits


@kernel
def count_gopher(
    values: Array, offsets: Array, pages: Array, flags: Array, stop_keys: Array, counts: Array
) -> None:
    """Fill ``counts`` int64[documents, COUNTS] (zeroed by the caller) from Arrow text buffers.

    ``pages`` and ``flags`` are the character table, ``stop_keys`` uint32 the packed stop words.
    """
    for document in range(len(offsets) - 1):
        _count_document(
            values,
            offsets[document],
            offsets[document + 1],
            pages,
            flags,
            stop_keys,
            counts[document],
        )
