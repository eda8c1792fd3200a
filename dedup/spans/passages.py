"""Repeated passages: every run of at least L words that stood before in keep order, found exactly.

What Lee et al. 2021 (arXiv 2107.06499, section 4.1, ExactSubstr) do with a suffix array over bytes
is done here with runs of words, so that a span never begins or ends inside a word or a character
and a length means the same in every language; words are those of :mod:`dedup.spans.exact_words`,
equal byte by byte. A run of at least L words occurs twice if and only if its windows of L words do.
So it is enough to find windows that occur twice, and it takes a filter and a grouping, each of
which can be divided by hash:

1. :func:`anchors`: of the runs of L // 2 words in a window the one with the least hash is the
   window's anchor (winnowing: Schleimer, Wilkerson, Aiken, SIGMOD 2003). Equal windows have equal
   anchors. About one word in 13 is one for L = 50.
2. :func:`repeated`: anchors whose hash occurs twice. A window with another anchor occurs once and
   is not looked at again.
3. :func:`windows`: the windows that are left, with a hash of all their words.
4. :func:`dedup.spans.spans.repeats`: windows whose hash occurred before, and where.

A hash only proposes; bytes are compared before anything is cut. Were two different windows to share
all 64 bits, text would be kept.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.jit import kernel
from artifacts.text_buffers import text_buffers
from dedup.spans.exact_words import hash_runs, scan_exact, separators_after
from dedup.spans.spans import Occurrences, Spans, join_runs, repeating, verified
from dedup.words import ALGORITHM as WORDS
from dedup.words import START, Bytes, Codes, Hashes, Rows, character_table

ALGORITHM = f"repeated spans/1 {WORDS}"
SHORTEST, LONGEST = 8, 4096

Mask = NDArray[np.bool_]


def repeated_spans(texts: pa.LargeStringArray, priority: Rows, length: int = 50) -> Spans:
    """All spans of at least ``length`` words that stood before, by text and place: the steps one
    after the other, in memory.

    priority: (n,) ranks of the texts, 0 = most wanted, all different. A window stood before if it
    occurs in a more wanted text, or further up in the same one without overlapping. Spans of one
    text may overlap, where they repeat different texts. A span takes what separates it from the
    next word with it as far as that is equal too.
    Raises: UserError for a length outside 8 to 4096.
    """
    hashes, _ = anchors(texts, length)
    found = windows(texts, length, repeated(hashes))
    spans = join_runs(repeating(found, np.asarray(priority, np.int64)[found.row]))
    return verified(texts, spans, ends_with_separators(texts, spans.row, spans.end))


def anchors(
    texts: pa.LargeStringArray, length: int, wanted: Mask | None = None
) -> tuple[Hashes, Rows]:
    """Hashes of the anchors of the wanted texts (all by default) in order, and how many each text
    has, (n,).

    Raises: UserError for a length outside 8 to 4096.
    """
    check_length(length)
    values, offsets = text_buffers(texts)
    wanted = _all(texts) if wanted is None else wanted
    found = np.empty(_most_words(offsets), np.uint64)
    counts = np.zeros(len(texts), np.int64)
    total = find_anchors(
        values, offsets, wanted, character_table(), length, _longest(offsets), found, counts
    )
    return found[:total].copy(), counts


def repeated(hashes: Hashes) -> Mask:
    """Which of the hashes occur more than once, (n,)."""
    order = np.argsort(hashes)
    ordered = hashes[order]
    same = np.zeros(len(hashes) + 1, bool)
    same[1:-1] = ordered[1:] == ordered[:-1]
    mask = np.empty(len(hashes), bool)
    mask[order] = same[:-1] | same[1:]
    return mask


def windows(
    texts: pa.LargeStringArray, length: int, flags: Mask, wanted: Mask | None = None
) -> Occurrences:
    """The windows whose anchor is flagged, in order; ``flags`` are of the anchors of the same
    texts, as :func:`anchors` gives them.
    """
    values, offsets = text_buffers(texts)
    wanted = _all(texts) if wanted is None else wanted
    most = min(_most_words(offsets), int(flags.sum()) * (length - length // 2 + 1))
    found = Occurrences.room(most)
    total = find_windows(
        values,
        offsets,
        wanted,
        character_table(),
        length,
        _longest(offsets),
        flags,
        found.key,
        found.row,
        found.start,
        found.end,
    )
    return found.filled(total)


def ends_with_separators(texts: pa.LargeStringArray, row: Rows, end: Rows) -> Rows:
    """For spans that end in byte ``end`` of texts ``row``: where the next word begins, or the text
    ends, (n,).
    """
    values, offsets = text_buffers(texts)
    reach = np.empty(len(row), np.int64)
    next_words(values, offsets, row, end, character_table(), reach)
    return reach


def check_length(length: int) -> None:
    if isinstance(length, bool) or not isinstance(length, int) or not SHORTEST <= length <= LONGEST:
        fix = f"give {SHORTEST} to {LONGEST} words"
        raise UserError(
            "repeated spans: length out of range", parameter="length", found=length, fix=fix
        )


def _all(texts: pa.LargeStringArray) -> Mask:
    return np.ones(len(texts), np.bool_)


def _longest(offsets: Rows) -> int:
    return int(np.diff(offsets).max(initial=0))


def _most_words(offsets: Rows) -> int:
    """No text has more words than bytes; pages that are not written to take no memory."""
    return int(offsets[-1] - offsets[0])


@kernel
def choose_anchors(grams: Hashes, count: int, width: int, chosen: Rows) -> int:
    """For each of the windows of ``width`` among ``count`` grams, the place of the least, of equal
    ones the last; returns how many.
    """
    last = count - width + 1
    best = START - 1
    for window in range(last):
        if best < window:
            best = window
            for place in range(window + 1, window + width):
                if grams[place] <= grams[best]:
                    best = place
        elif grams[window + width - 1] <= grams[best]:
            best = window + width - 1
        chosen[window] = best
    return max(last, START)


@kernel
def find_anchors(
    values: Bytes,
    offsets: Rows,
    wanted: Mask,
    table: Codes,
    length: int,
    longest: int,
    found: Hashes,
    counts: Rows,
) -> int:
    """Anchors of every wanted text; returns how many."""
    starts, ends = np.empty(longest, np.int64), np.empty(longest, np.int64)
    chosen = starts  # where the words lie is not asked for
    bare, full, grams = (
        np.empty(longest, np.uint64),
        np.empty(longest, np.uint64),
        np.empty(longest, np.uint64),
    )
    gram = length // 2
    total = START
    for row in range(offsets.size - 1):
        if not wanted[row]:
            continue
        words = scan_exact(values, offsets[row], offsets[row + 1], table, starts, ends, bare, full)
        count = hash_runs(bare, full, words, gram, grams)
        last = choose_anchors(grams, count, length - gram + 1, chosen)
        before = total
        for window in range(last):
            if window == 0 or chosen[window] != chosen[window - 1]:
                found[total] = grams[chosen[window]]
                total += 1
        counts[row] = total - before
    return total


@kernel
def find_windows(
    values: Bytes,
    offsets: Rows,
    wanted: Mask,
    table: Codes,
    length: int,
    longest: int,
    flags: Mask,
    keys: Hashes,
    rows: Rows,
    first: Rows,
    behind: Rows,
) -> int:
    """Windows with a flagged anchor; returns how many."""
    starts, ends, chosen = (
        np.empty(longest, np.int64),
        np.empty(longest, np.int64),
        np.empty(longest, np.int64),
    )
    bare, full, grams = (
        np.empty(longest, np.uint64),
        np.empty(longest, np.uint64),
        np.empty(longest, np.uint64),
    )
    gram = length // 2
    anchor, total = START - 1, START
    for row in range(offsets.size - 1):
        if not wanted[row]:
            continue
        words = scan_exact(values, offsets[row], offsets[row + 1], table, starts, ends, bare, full)
        count = hash_runs(bare, full, words, gram, grams)
        last = choose_anchors(grams, count, length - gram + 1, chosen)
        hash_runs(bare, full, words, length, grams)
        for window in range(last):
            anchor += int(window == 0 or chosen[window] != chosen[window - 1])
            if flags[anchor]:
                keys[total], rows[total] = grams[window], row
                first[total], behind[total] = (
                    starts[window] - offsets[row],
                    ends[window + length - 1] - offsets[row],
                )
                total += 1
    return total


@kernel
def next_words(
    values: Bytes, offsets: Rows, row: Rows, end: Rows, table: Codes, reach: Rows
) -> None:
    for k in range(row.size):
        reach[k] = (
            separators_after(values, offsets[row[k]] + end[k], offsets[row[k] + 1], table)
            - offsets[row[k]]
        )
