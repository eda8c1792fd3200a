"""What the pages of a Parquet column chunk say of themselves, against what the footer says of them.

    footer ─▶ where a column chunk lies ─▶ its bytes ─▶ page headers ─▶ Pages

A footer is a claim: rows that it does not count are never read, and sizes that it understates fill
memory. Page headers stand beside the values (Thrift's compact protocol, see parquet.thrift of
apache/parquet-format), and a dictionary says how long its values become where a page repeats them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

# of a page's header: kind, and the field in which that kind holds its counts
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
_COUNTS = {_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}
_IN_DICTIONARY = (2, 8)  # encodings: PLAIN_DICTIONARY, RLE_DICTIONARY
_CODECS = {
    "SNAPPY": "snappy",
    "GZIP": "gzip",
    "BROTLI": "brotli",
    "ZSTD": "zstd",
    "LZ4_RAW": "lz4_raw",
}
_LONGEST_WALK = 1 << 20  # values of a dictionary that are looked at one by one
_STRUCTURE_BYTES = 8  # that a value takes in memory besides its own bytes
_LENGTH = struct.Struct("<I").unpack_from

BOMB_RATIO = 100  # bytes out of one stored byte, in what is large besides


class PagesError(Exception):
    """Pages that cannot be followed, or that do not agree with the footer."""


class TooLargeError(PagesError):
    """Pages that would fill memory out of next to nothing."""


@dataclass(frozen=True)
class Pages:
    """What the data pages of one column chunk come to.

    values: in all, nulls too. bytes: uncompressed, dictionary included. rows: where every page says
    it, None elsewhere. value_bytes: at most what a value takes in memory, on the average of the
    page where that is most. expanded: at most what all values take in memory. likely: the same
    where a dictionary's values are used alike.
    """

    values: int
    bytes: int
    rows: int | None
    value_bytes: int
    expanded: int
    likely: int


def extent(column: pq.ColumnChunkMetaData) -> tuple[int, int]:
    """Where a column chunk begins in the file, and its stored bytes."""
    start, dictionary = column.data_page_offset, column.dictionary_page_offset
    if dictionary is not None and 0 < dictionary < start:
        start = dictionary
    return start, column.total_compressed_size


def read_pages(chunk: bytes, column: pq.ColumnChunkMetaData, most_bytes: int) -> Pages:
    """Follow the pages of a column chunk.

    Raises: PagesError where a header cannot be read, a page goes beyond the chunk, or there are
    other values than the footer says; TooLargeError where a page of more than ``most_bytes`` comes
    from next to nothing.
    """
    at, values, total, longest, average = 0, 0, 0, 0, 0
    counted: int | None = 0
    densest, expanded, likely = 0, 0, 0
    while values < column.num_values or _has_page(chunk, at):
        page = _page(chunk, at)
        if page.size > max(most_bytes, BOMB_RATIO * page.stored):
            raise TooLargeError(f"a page of {page.stored:,} bytes becomes {page.size:,}")
        total += page.size + page.begin - at
        at = page.begin + page.stored
        if page.kind == _DICTIONARY:
            longest = _longest_value(chunk[page.begin : at], page, column)
            average = page.size // max(1, page.values)
        elif page.kind in (_DATA, _DATA_V2):
            values += page.values
            value = _STRUCTURE_BYTES + (longest if page.in_dictionary else 0)
            weight = page.size + page.values * value
            expanded += weight
            likely += page.size + page.values * (average if page.in_dictionary else 0)
            densest = max(densest, weight // max(1, page.values))
            counted = None if counted is None or page.rows is None else counted + page.rows
    if values != column.num_values:
        raise PagesError(f"the footer says {column.num_values:,} values, the pages hold {values:,}")
    return Pages(values, total, counted, densest, expanded, likely)


class _Page(NamedTuple):
    """A page by its header: its kind, where its bytes begin, how many they are uncompressed and as
    stored, its values and, where it says them, its rows.
    """

    kind: int
    begin: int
    size: int
    stored: int
    values: int
    rows: int | None
    in_dictionary: bool


def _page(chunk: bytes, at: int) -> _Page:
    header, begin = _struct(chunk, at, 0)
    try:
        kind, size, stored = header[1], header[2], header[3]
        counts = header[_COUNTS[kind]] if kind in _COUNTS else {1: 0}
        rows = counts[3] if kind == _DATA_V2 else None
        encoding = counts.get(4 if kind == _DATA_V2 else 2)
        numbers = [size, stored, counts[1], *([] if rows is None else [rows])]
    except (KeyError, TypeError, AttributeError):
        raise PagesError("a page header lacks its counts") from None
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise PagesError("a page header has counts that are none")
    if begin + stored > len(chunk):
        raise PagesError("a page goes beyond its column")
    return _Page(kind, begin, size, stored, counts[1], rows, encoding in _IN_DICTIONARY)


def _has_page(chunk: bytes, at: int) -> bool:
    """Whether a data page with values begins here; some writers leave other bytes there."""
    if at >= len(chunk):
        return False
    try:
        page = _page(chunk, at)
    except PagesError:
        return False
    return page.kind in (_DATA, _DATA_V2) and page.values > 0


def _longest_value(content: bytes, page: _Page, column: pq.ColumnChunkMetaData) -> int:
    """At most how long a value of a dictionary is; the whole page where that cannot be told."""
    if column.physical_type != "BYTE_ARRAY":
        return page.size // max(1, page.values)
    codec = _CODECS.get(column.compression)
    unknown = codec is None and column.compression != "UNCOMPRESSED"
    if unknown or page.values > _LONGEST_WALK:
        return page.size
    try:
        if codec is not None:
            content = pa.Codec(codec).decompress(content, page.size, asbytes=True)
        at = longest = 0
        for _ in range(page.values):
            (length,) = _LENGTH(content, at)
            at += 4 + length
            if length > longest:
                longest = length
    except (pa.ArrowException, OSError, struct.error) as error:
        raise PagesError(f"a dictionary cannot be read: {error}") from None
    return min(longest, page.size)


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """The fields of a Thrift struct by number, and the place after it."""
    fields: dict[int, Any] = {}
    number = 0
    while True:
        head, at = _byte(data, at)
        kind = head & 15
        if kind == 0:
            return fields, at
        if head >> 4:
            number += head >> 4
        else:
            number, at = _signed(data, at)
        fields[number], at = _value(data, at, kind, depth + 1)


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if depth > 8:
        raise PagesError("a page header is nested too deeply")
    if kind in (1, 2):
        return kind == 1, at
    if kind == 3:
        return _byte(data, at)
    if kind in (4, 5, 6):
        return _signed(data, at)
    if kind == 7:
        return None, at + 8
    if kind == 8:
        length, at = _varint(data, at)
        return None, at + length
    if kind in (9, 10):
        return _list(data, at, depth)
    if kind == 12:
        return _struct(data, at, depth)
    raise PagesError("a page header cannot be read")


def _list(data: bytes, at: int, depth: int) -> tuple[None, int]:
    head, at = _byte(data, at)
    length = head >> 4
    if length == 15:
        length, at = _varint(data, at)
    if length > len(data) - at:
        raise PagesError("a page header has a list beyond its column")
    for _ in range(length):
        if head & 15 in (1, 2):
            at += 1
        else:
            _, at = _value(data, at, head & 15, depth + 1)
    return None, at


def _byte(data: bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise PagesError("the pages end early")
    return data[at], at + 1


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte, at = _byte(data, at)
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise PagesError("a page header has a number that does not end")


def _signed(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at
