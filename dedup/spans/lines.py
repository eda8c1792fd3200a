"""Lines and paragraphs that stood before, byte by byte: menus, notices, licence headers, footers.

A line ends at a line feed, a paragraph at a line that holds nothing but white space. Either is
compared from the start of its first line, indentation included, to its last byte that is no white
space. One of fewer than ``least`` words (:mod:`dedup.words`) is left alone, so that ``}`` and
``Yes.`` may come as often as they like.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.jit import kernel
from artifacts.text_buffers import text_buffers
from dedup.spans.exact_words import count_words, mixed
from dedup.spans.spans import Occurrences, Spans, join_runs, repeating, verified
from dedup.words import ALGORITHM as WORDS
from dedup.words import BASIS, PRIME, START, Bytes, Codes, Hashes, Rows, character_table

ALGORITHM = f"line spans/1 {WORDS}"
UNITS = ("line", "paragraph")
Unit = Literal["line", "paragraph"]

Mask = NDArray[np.bool_]

_LINE_FEED = np.uint8(10)


def repeated_lines(
    texts: pa.LargeStringArray, priority: Rows, unit: Unit = "line", least: int = 8, times: int = 1
) -> Spans:
    """Lines or paragraphs of at least ``least`` words that stood at least ``times`` times before,
    by text and place, in memory.

    priority: (n,) ranks of the texts, 0 = most wanted, all different. A span takes its line end
    with it, a paragraph the empty lines behind it, as far as they are equal; spans that follow one
    another in both texts become one.
    Raises: UserError for an unknown unit, or least or times below 1.
    """
    found = lines(texts, unit, least)
    check_times(times)
    spans = join_runs(repeating(found, np.asarray(priority, np.int64)[found.row], times))
    return verified(texts, spans, ends_with_line_feeds(texts, unit, spans.row, spans.end))


def lines(
    texts: pa.LargeStringArray, unit: Unit, least: int, wanted: Mask | None = None
) -> Occurrences:
    """All lines or paragraphs of the wanted texts (all by default) with at least ``least`` words,
    in order.
    """
    check_unit(unit)
    if isinstance(least, bool) or not isinstance(least, int) or least < 1:
        raise UserError(
            "repeated lines: not a number of words",
            parameter="least",
            found=least,
            fix="give a whole number from 1 on",
        )
    values, offsets = text_buffers(texts)
    wanted = np.ones(len(texts), np.bool_) if wanted is None else wanted
    most = int(offsets[-1] - offsets[0])
    found = Occurrences.room(most)
    paragraphs = unit == "paragraph"
    total = find_lines(
        values,
        offsets,
        wanted,
        character_table(),
        paragraphs,
        least,
        found.key,
        found.row,
        found.start,
        found.end,
    )
    return found.filled(total)


def ends_with_line_feeds(texts: pa.LargeStringArray, unit: Unit, row: Rows, end: Rows) -> Rows:
    """For lines or paragraphs that end in byte ``end`` of texts ``row``: behind their line end, or
    the last of the empty lines, (n,).
    """
    values, offsets = text_buffers(texts)
    reach = np.empty(len(row), np.int64)
    behind_line_feeds(values, offsets, row, end, check_unit(unit) == "paragraph", reach)
    return reach


def check_unit(unit: Unit) -> Unit:
    if unit not in UNITS:
        raise UserError("repeated lines: no such unit", parameter="unit", found=unit, allowed=UNITS)
    return unit


def check_times(times: int) -> None:
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        raise UserError(
            "repeated lines: not a number of times",
            parameter="times",
            found=times,
            fix="give a whole number from 1 on",
        )


@kernel
def is_space(byte: np.uint8) -> bool:
    """Space, tab, carriage return, vertical tab, form feed: white space inside a line."""
    return bool(byte == 32 or byte == 9 or 11 <= byte <= 13)


@kernel
def find_lines(
    values: Bytes,
    offsets: Rows,
    wanted: Mask,
    table: Codes,
    paragraphs: bool,
    least: int,
    keys: Hashes,
    rows: Rows,
    starts: Rows,
    ends: Rows,
) -> int:
    """Lines, or runs of lines that are not empty; returns how many."""
    total = START
    for row in range(offsets.size - 1):
        i, end = offsets[row], offsets[row + 1]
        first = last = i  # of the stretch being read; empty while they are equal
        while wanted[row] and i < end:
            start, visible = i, i
            while i < end and values[i] != _LINE_FEED:
                i += 1
                if not is_space(values[i - 1]):
                    visible = i
            i = min(i + 1, end)
            if visible > start:
                if first == last:
                    first = start
                last = visible
            if first < last and (not paragraphs or visible == start or i == end):
                if count_words(values, first, last, table) >= least:
                    state = BASIS
                    for k in range(first, last):
                        state = (state ^ np.uint64(values[k])) * PRIME
                    keys[total], rows[total] = mixed(state), row
                    starts[total], ends[total] = first - offsets[row], last - offsets[row]
                    total += 1
                first = last = i
    return total


@kernel
def behind_line_feeds(
    values: Bytes, offsets: Rows, row: Rows, end: Rows, all_of_them: bool, reach: Rows
) -> None:
    """Behind the next line feed, or the last of those with nothing but white space between them;
    the text's end if none comes.
    """
    for k in range(row.size):
        i, stop = offsets[row[k]] + end[k], offsets[row[k] + 1]
        place = i
        while i < stop and (is_space(values[i]) or values[i] == _LINE_FEED):
            i += 1
            if values[i - 1] == _LINE_FEED:
                place = i
                if not all_of_them:
                    break
        if i == stop:
            place = stop
        reach[k] = place - offsets[row[k]]
