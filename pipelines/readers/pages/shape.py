"""How deep, how large and how costly a page is to a parser, in one pass over its bytes.

    shape = page_shape("<html>…")
    shape.depth, shape.nodes, shape.attributes, shape.work

Parsing and extraction take time that grows with more than a page's length: an end tag is looked for
through all open elements, text is looked at from each element around it, attributes are compared
with those of the same element. These numbers say how much that is *before* the page is parsed; they
follow the tokenizer of the HTML standard (section 13.2.5) and its rules of nesting
(:mod:`pipelines.readers.pages.tree_rules`), and rather say too much than too little.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from artifacts.jit import kernel
from pipelines.readers.pages.open_elements import COUNT, DEPTH, LISTED, NODES, TOP, Stack, new_stack
from pipelines.readers.pages.tags import (
    BITS,
    FORMATTING,
    FRAMES,
    HASH_PRIME,
    HASH_START,
    HASHES,
    PLAIN_LIST,
    PLAINTEXT,
    RAW,
    READING,
    SCRIPT,
)
from pipelines.readers.pages.tree_rules import end_tag, start_tag, text
from pipelines.readers.rows.records import RecordRejectedError
from pipelines.readers.span import Limits

NESTED_TOO_DEEPLY = "nested_too_deeply"
TOO_MANY_NODES = "too_many_nodes"
TOO_MANY_ATTRIBUTES = "too_many_attributes"
TOO_MUCH_WORK = "too_much_work"

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

_BLANK, _ENDS_NAME, _ENDS_VALUE, _LETTER, _OPENS, _ENDS_ATTRIBUTE = 1, 2, 4, 8, 16, 32


def _byte_kinds() -> Bytes:
    """What each byte is to the tokenizer, as the bits above."""
    kinds = np.zeros(256, np.uint8)
    for bits, members in (
        (_BLANK | _ENDS_NAME | _ENDS_VALUE | _ENDS_ATTRIBUTE, b" \n\t\r\f"),
        (_ENDS_NAME | _ENDS_ATTRIBUTE, b"/"),
        (_ENDS_NAME | _ENDS_VALUE | _ENDS_ATTRIBUTE, b">"),
        (_ENDS_ATTRIBUTE, b"="),
        (_OPENS, b"/!?"),
        (_LETTER | _OPENS, b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    ):
        for byte in members:
            kinds[byte] |= bits
    return kinds


_KINDS = _byte_kinds()
_SHORT_BYTES = 40  # of a text that the extractor may take for an icon, references spelled out
_OUTER = 2  # html and body, around all others
_PADDING = 16
_LT, _GT, _SLASH, _BANG, _QUESTION, _DASH = 0x3C, 0x3E, 0x2F, 0x21, 0x3F, 0x2D
_QUOTE, _APOSTROPHE, _EQUALS, _AMPERSAND = 0x22, 0x27, 0x3D, 0x26
_HASH, _SEMICOLON = 0x23, 0x3B
_ATTRIBUTES, _WORK, _IN_FRAMES, _SHORT, _KINDS_SEEN = range(5)  # in the kernel's numbers
_MOST_WORK = 1 << 62


class PageShape(NamedTuple):
    """``depth``: levels of elements. ``nodes``: elements, texts and attributes. ``attributes``: the
    most that one tag has. ``work``: bytes times the levels they lie under, and what else is looked
    through.
    """

    depth: int
    nodes: int
    attributes: int
    work: int


class Measured(NamedTuple):
    """A page in UTF-8 with its shape. ``short``: (n, 2) where its texts of a few bytes, not all of
    them ASCII, start and end. ``lists``: it has plain lists. Both are for
    :mod:`pipelines.readers.pages.markup` to look at. ``readings``: it has such of ruby characters.
    """

    raw: bytes
    shape: PageShape
    short: NDArray[np.int64]
    lists: bool
    readings: bool


def check_shape(shape: PageShape, limits: Limits) -> None:
    """Refuse a page that would take a parser long, or much memory.

    Raises: RecordRejectedError with nested_too_deeply, too_many_nodes, too_many_attributes or
    too_much_work, each with the setting that allows more.
    """
    for reason, found, most, setting, what in (
        (NESTED_TOO_DEEPLY, shape.depth, limits.page_depth, "page_depth", "levels of elements"),
        (TOO_MANY_NODES, shape.nodes, limits.page_nodes, "page_nodes", "nodes"),
        (
            TOO_MANY_ATTRIBUTES,
            shape.attributes,
            limits.page_attributes,
            "page_attributes",
            "attributes of one element",
        ),
        (TOO_MUCH_WORK, shape.work, limits.page_work, "page_work", "bytes times levels"),
    ):
        if found > most:
            raise RecordRejectedError(
                reason, f"more than {most:,} {what}; corpus.limits.{setting} allows more"
            )


def page_shape(markup: str, deepest: int) -> PageShape:
    """The shape of a page; the pass ends where it is deeper than ``deepest``."""
    return measured(markup, deepest).shape


def measured(markup: str, deepest: int, utf8: bytes | None = None) -> Measured:
    """A page with its shape, likewise; ``utf8``: the page in UTF-8 where that is known."""
    raw = markup.encode("utf-8", "surrogatepass") if utf8 is None else utf8
    padded = np.frombuffer(raw + bytes(_PADDING), np.uint8)
    numbers = np.zeros(5, np.int64)
    stack = new_stack(deepest)
    short = np.empty((len(raw) // 4 + 1, 2), np.int64)  # a text and a tag are 4 bytes at least
    _measure(padded, stack, HASHES, BITS, numbers, short)
    counts = stack[COUNT]
    depth, nodes = int(counts[DEPTH]) + _OUTER, int(counts[NODES])
    shape = PageShape(depth, nodes, int(numbers[_ATTRIBUTES]), int(numbers[_WORK]))
    seen = int(numbers[_KINDS_SEEN])
    return Measured(
        raw, shape, short[: numbers[_SHORT]], bool(seen & PLAIN_LIST), bool(seen & READING)
    )


@kernel
def _measure(
    data: Bytes, stack: Stack, hashes: Ints, bits: Ints, numbers: Ints, short: Ints
) -> None:
    room = stack.shape[1]
    end = len(data) - _PADDING
    at = 0
    while at < end and stack[COUNT, DEPTH] <= room:
        start = at
        while at < end and not (data[at] == _LT and _KINDS[data[at + 1]] & _OPENS):
            at += 1
        if at > start:
            text(stack)
            if at - start <= _SHORT_BYTES and _is_short(data, start, at):
                short[numbers[_SHORT], 0], short[numbers[_SHORT], 1] = start, at
                numbers[_SHORT] += 1
        if at < end:
            at = _tag(data, at, end, stack, hashes, bits, numbers)
        levels = stack[COUNT, TOP] + stack[COUNT, LISTED] + _OUTER
        numbers[_WORK] = min(_MOST_WORK, numbers[_WORK] + (at - start + 1) * levels)


@kernel
def _is_short(data: Bytes, start: int, end: int) -> bool:
    """Whether a text of a few bytes may be one character beyond ASCII: it is three bytes long, or
    has a reference and no more than that besides.
    """
    odd = reference = named = False
    besides = 0  # bytes that are neither blanks nor of a reference
    for at in range(start, end):
        byte = data[at]
        odd = odd or byte >= 0x80
        if byte == _AMPERSAND:
            reference = named = True
        elif named and _is_of_name(byte):
            named = byte != _SEMICOLON
        else:
            named = False
            besides += 1 if byte > 0x20 else 0
            if besides > 3:
                return False
    return reference or (odd and _length(data, start, end) == 3)


@kernel
def _is_of_name(byte: int) -> bool:
    """Whether a reference goes on with this byte."""
    letter = bool(_KINDS[byte] & _LETTER)
    return letter or 0x30 <= byte <= 0x39 or byte in (_HASH, _SEMICOLON)


@kernel
def _length(data: Bytes, start: int, end: int) -> int:
    """Of a text without the blanks around it."""
    while start < end and _KINDS[data[start]] & _BLANK:
        start += 1
    while start < end and _KINDS[data[end - 1]] & _BLANK:
        end -= 1
    return end - start


@kernel
def _behind(data: Bytes, at: int, end: int, byte: int) -> int:
    """Behind the next ``byte``, or the end."""
    while at < end and data[at] != byte:
        at += 1
    return min(at + 1, end)


@kernel
def _tag(
    data: Bytes, at: int, end: int, stack: Stack, hashes: Ints, bits: Ints, numbers: Ints
) -> int:
    """Take what begins with ``<`` there; returns where it ends."""
    closing = data[at + 1] == _SLASH
    name_at = at + 2 if closing else at + 1
    if not _KINDS[data[name_at]] & _LETTER:
        if data[at + 1] == _BANG and data[at + 2] == _DASH and data[at + 3] == _DASH:
            return _comment(data, at + 4, end)
        return _behind(data, at + 1, end, _GT)
    name = HASH_START
    place = name_at
    while place < end and not _KINDS[data[place]] & _ENDS_NAME:
        byte = int(data[place])
        name = (name ^ (byte | 0x20 if 0x41 <= byte <= 0x5A else byte)) * HASH_PRIME
        place += 1
    kind = _bits_of(name, hashes, bits)
    numbers[_KINDS_SEEN] |= kind
    name_end = place
    place, attributes = _attributes(data, place, end)
    numbers[_ATTRIBUTES] = max(numbers[_ATTRIBUTES], attributes)
    stack[COUNT, NODES] += attributes
    numbers[_WORK] = min(_MOST_WORK, numbers[_WORK] + attributes * attributes)
    # in a page of frames nearly all tags are ignored, which of them is not followed here
    if kind & FRAMES:
        numbers[_IN_FRAMES] = 1
    if closing:
        if not numbers[_IN_FRAMES]:
            end_tag(stack, name, kind)
        return place
    mark = name
    if kind & FORMATTING:
        for at in range(name_end, place):
            mark = (mark ^ int(data[at])) * HASH_PRIME
    html = start_tag(stack, name, kind, mark, data[place - 2] == _SLASH)
    if html and kind & RAW and not numbers[_IN_FRAMES]:
        return _raw_text(data, place, end, stack, name_at, name, kind)
    return place


@kernel
def _bits_of(name: int, hashes: Ints, bits: Ints) -> int:
    row = name & (len(hashes) - 1)
    while hashes[row] != name and hashes[row] != 0:
        row = (row + 1) & (len(hashes) - 1)
    return int(bits[row])


@kernel
def _attributes(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Behind a tag's name: where the tag ends, and how many attributes it has."""
    count = 0
    while at < end and data[at] != _GT:
        if _KINDS[data[at]] & _ENDS_NAME:
            at += 1
            continue
        count += 1
        at += 1
        while at < end and not _KINDS[data[at]] & _ENDS_ATTRIBUTE:
            at += 1
        while at < end and _KINDS[data[at]] & _BLANK:
            at += 1
        if data[at] != _EQUALS or at >= end:
            continue
        at += 1
        while at < end and _KINDS[data[at]] & _BLANK:
            at += 1
        if data[at] == _QUOTE or data[at] == _APOSTROPHE:
            at = _behind(data, at + 1, end, data[at])
        else:
            while at < end and not _KINDS[data[at]] & _ENDS_VALUE:
                at += 1
    return min(at + 1, end), count


@kernel
def _comment(data: Bytes, at: int, end: int) -> int:
    """Behind a comment, given where it begins behind ``<!--``."""
    if data[at] == _GT:
        return at + 1
    if data[at] == _DASH and data[at + 1] == _GT:
        return at + 2
    while at < end:
        if data[at] == _DASH and data[at + 1] == _DASH:
            place = at + 2
            if data[place] == _BANG:
                place += 1
            if data[place] == _GT:
                return min(place + 1, end)
        at += 1
    return end


@kernel
def _raw_text(
    data: Bytes, at: int, end: int, stack: Stack, name_at: int, name: int, kind: int
) -> int:
    """Pass over text up to the end tag of its element, which is taken too."""
    length = 0
    while not _KINDS[data[name_at + length]] & _ENDS_NAME:
        length += 1
    escaped = nested = False
    while at < end and not kind & PLAINTEXT:
        while at < end and data[at] != _LT and data[at] != _DASH:
            at += 1
        if data[at] == _DASH and data[at + 1] == _DASH and data[at + 2] == _GT:
            escaped = nested = False
        elif data[at] == _LT and kind & SCRIPT and data[at + 1] == _BANG:
            escaped = escaped or (data[at + 2] == _DASH and data[at + 3] == _DASH)
        elif data[at] == _LT and kind & SCRIPT and escaped and not nested:
            nested = _is_name(data, at + 1, name_at, length)
        if data[at] == _LT and data[at + 1] == _SLASH and _is_name(data, at + 2, name_at, length):
            if not nested:
                at, _ = _attributes(data, at + 2 + length, end)
                end_tag(stack, name, kind)
                return at
            nested = False
        at += 1
    return end


@kernel
def _is_name(data: Bytes, at: int, name_at: int, length: int) -> bool:
    for place in range(length):
        if (data[at + place] | 0x20) != (data[name_at + place] | 0x20):
            return False
    return bool(_KINDS[data[at + length]] & _ENDS_NAME)
