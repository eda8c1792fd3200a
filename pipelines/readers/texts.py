"""The texts of any files: records where a suffix tells a format, else lines.

    for file in text_files(["held-out/*.jsonl.zst", "notes.txt"]):
        for batch in texts_of(file):
            batch.texts, batch.unreadable

For looking at texts, not for keeping them: no ids, no quarantine, only a count of what was none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import pyarrow as pa

from artifacts.errors import UserError
from pipelines.readers import FORMATS, Fields, InputFile, Limits, discover, format_of, read
from pipelines.readers.chunks import plan_chunks
from pipelines.readers.source_fields import check_fields, check_records
from pipelines.readers.streams.bytestream import ByteStream
from pipelines.readers.streams.decoding import blocks
from pipelines.readers.streams.opened import compression_of, open_input

LINES = "lines"  # no format of records
CHUNK_BYTES = 64 << 20
LINES_AT_ONCE = 4096
LONGEST_LINE = 1 << 20  # bytes; a longer one is given in parts


class TextBatch(NamedTuple):
    """Texts of one file, and how many records or lines of it were none."""

    texts: pa.LargeStringArray
    unreadable: int


def text_files(patterns: Sequence[str], text_field: str = "text") -> list[InputFile]:
    """The files of paths or globs, in the order given, each once.

    Raises: UserError for one that is not there, or whose first records have no such field.
    """
    found: dict[str, InputFile] = {}
    for pattern in patterns:
        # any declared format: a suffix that tells none is no mistake here
        for file in discover(None, [pattern], next(iter(FORMATS))):
            found.setdefault(file.url, dataclasses.replace(file, format=_format(file.path)))
    files = list(found.values())
    records = [file for file in files if file.format != LINES]
    fields = Fields(text_field=text_field)
    check_fields(records, fields)
    check_records(records, fields)
    return files


def texts_of(file: InputFile, text_field: str = "text") -> Iterator[TextBatch]:
    """The texts of a file, a bounded number of bytes at a time; lines with their ends."""
    if file.format == LINES:
        yield from _lines(file)
        return
    for chunk in plan_chunks([file], CHUNK_BYTES):
        for span in chunk:
            for batch in read(span, file.format, "", Fields(text_field=text_field)):
                yield TextBatch(batch.documents["text"], batch.quarantine.num_rows)


def _format(path: str) -> str:
    try:
        return format_of(path)
    except UserError:
        return LINES


def _lines(file: InputFile) -> Iterator[TextBatch]:
    with open_input(file.url) as opened:
        stream = ByteStream(blocks(opened, compression_of(file.path), Limits()))
        lines = iter(lambda: _line(stream), None)
        while taken := list(islice(lines, LINES_AT_ONCE)):
            texts = [line for line in taken if isinstance(line, str)]
            yield TextBatch(pa.array(texts, pa.large_string()), len(taken) - len(texts))


def _line(stream: ByteStream) -> str | bytes | None:
    """The next line; bytes where it is no UTF-8 or the file is damaged there; None at the end."""
    line = stream.readline(LONGEST_LINE)
    if not line:
        if not stream.at_gap:
            return None
        stream.go_on()
        return b""
    if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
        line += _rest_of_character(stream)
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line


def _rest_of_character(stream: ByteStream) -> bytes:
    """What of a character follows where a long line was cut."""
    rest = b""
    while stream.ahead(1) and stream.window()[0][stream.window()[1]] & 0xC0 == 0x80:
        rest += stream.read(1)
    return rest
