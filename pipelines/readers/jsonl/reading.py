"""JSON Lines read: plain, cut into spans by bytes, or compressed (gzip, zstd, bzip2, xz), whole.

A span [start, end) of a plain file owns the lines that START in it. Offsets are byte offsets in the
uncompressed stream, so they are the same for a file and its compressed copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from pipelines.readers.batch import Batch, Collector
from pipelines.readers.jsonl.arrays import elements_as_lines, may_be_array
from pipelines.readers.jsonl.bad_lines import BadLines
from pipelines.readers.jsonl.columns import read_columns
from pipelines.readers.jsonl.lines import (
    BrokenOff,
    Line,
    LineRun,
    blank_lines,
    first_line_start,
    split_lines,
)
from pipelines.readers.jsonl.numbers import wide_rows
from pipelines.readers.jsonl.records import DECLINED
from pipelines.readers.jsonl.values import parse_record
from pipelines.readers.rows.plain import SHORT_LINE, Columns, odd_rows, parsed, plain_columns
from pipelines.readers.rows.records import LINE_TOO_LONG, RecordRejectedError, row_of
from pipelines.readers.span import Fields, Limits, Span
from pipelines.readers.streams.decoding import blocks, plain_blocks
from pipelines.readers.streams.opened import compression_of, open_input

BLANK_STRETCH = 64  # blank lines in a row that are not looked at one by one
LINES_AT_ONCE = 1 << 18  # bounds the arrays of very short lines
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_json_lines(
    span: Span, source_name: str, fields: Fields, limits: Limits
) -> Iterator[Batch]:
    """Batches of one span of a JSON Lines file, or of a ``.json`` file that is one array.

    Every line that is no document is quarantined with its offset and reason: invalid_json,
    invalid_utf8, not_an_object, no_text, bad_id, bad_messages, content_not_text,
    unwanted_answer, number_too_large, lone_surrogate, line_too_long; where a compressed file is
    damaged, the line that it breaks off: truncated_stream or corrupt_stream. Very many bad lines
    are counted together (:mod:`pipelines.readers.jsonl.bad_lines`).

    Raises: UserError when the file cannot be opened, ValueError for a partial span of a compressed
    file.
    """
    collector = Collector(span, source_name, fields, limits)
    bad = BadLines(collector, limits.quarantine_bytes)
    for found in _owned_lines(span, limits):
        if isinstance(found, BrokenOff):
            line = found.line
            bad.close()
            collector.damaged(found.damage, line.offset, line.length, line.content)
            collector.advance(line.length)
        elif isinstance(found, Line):
            _collect(found, collector, bad, fields, limits)
        else:
            while len(found):
                # the last of these fills the batch
                fill = int(np.searchsorted(found.starts, found.starts[0] + collector.room))
                lines = min(fill, LINES_AT_ONCE)
                _collect_run(found.part(0, lines), collector, bad, fields, limits)
                if collector.full:
                    yield collector.take()
                found = found.part(lines, len(found))
        if collector.full:
            yield collector.take()
    bad.close()
    if not collector.empty:
        yield collector.take()


def _owned_lines(span: Span, limits: Limits) -> Iterator[LineRun | Line | BrokenOff]:
    compression = compression_of(span.url)
    if compression is not None and not span.whole:
        raise ValueError(
            f"{span.url}: a compressed file is read whole, not from {span.start} to {span.end}"
        )
    with open_input(span.url) as file:
        start = 0
        if span.start > 0:
            file.seek(span.start - 1)
            first = first_line_start(plain_blocks(file), span.start - 1, span.end)
            if first is None:
                return
            start = first
            file.seek(start)
        stream = blocks(file, compression, limits)
        if span.whole and may_be_array(span.url):
            stream = elements_as_lines(stream)
        for found in split_lines(stream, start, limits):
            if span.end is None or isinstance(found, BrokenOff):
                yield found
            elif isinstance(found, Line):
                if found.offset >= span.end:
                    return
                yield found
            else:
                yield found.before(span.end)
                if found.starts[-1] >= span.end:
                    return


def _collect_run(
    run: LineRun, collector: Collector, bad: BadLines, fields: Fields, limits: Limits
) -> None:
    """Stretches of blank lines are counted, the lines between them read."""
    blank = np.empty(len(run), np.bool_)
    blank_lines(np.frombuffer(run.held, np.uint8), run.starts - run.begin, blank)
    edges = [0, len(run)]
    if blank.any():
        changes = np.flatnonzero(np.diff(blank, prepend=not blank[0], append=not blank[-1]))
        long = np.flatnonzero((np.diff(changes) >= BLANK_STRETCH) & blank[changes[:-1]])
        edges = [0, *np.stack([changes[long], changes[long + 1]], axis=1).ravel(), len(run)]
    for number, (start, end) in enumerate(pairwise(int(edge) for edge in edges)):
        if number % 2:
            collector.blank(end - start)
            collector.advance(int(run.starts[end] - run.starts[start]))
        elif end > start:
            _collect_columns(run.part(start, end), collector, bad, fields, limits)


def _collect_columns(
    run: LineRun, collector: Collector, bad: BadLines, fields: Fields, limits: Limits
) -> None:
    """Columns of all lines at once; stretches that are not usual record by record."""
    read = read_columns(run.held, run.starts - run.begin, fields)
    if read is None:
        _collect_records(run, collector, bad, fields, limits)
        return
    columns, outcome = read
    usual = outcome != DECLINED
    changes = np.flatnonzero(np.diff(usual)) + 1
    # usual and unusual lines take turns: stretches would be of a few lines
    if len(changes) > len(run) // 16:
        _collect_records(run, collector, bad, fields, limits)
        return
    for start, end in pairwise([0, *changes.tolist(), len(run)]):
        if not usual[start]:
            _collect_records(run.part(start, end), collector, bad, fields, limits)
            continue
        part: Columns = {name: column.slice(start, end - start) for name, column in columns.items()}
        collector.extend(part, run.starts[start:end].tolist())
        collector.advance(int(run.starts[end] - run.starts[start]))


def _collect_records(
    run: LineRun, collector: Collector, bad: BadLines, fields: Fields, limits: Limits
) -> None:
    if fields.messages_field is not None:  # each is odd, and would be parsed twice
        for place in range(len(run)):
            _collect(run.line(place), collector, bad, fields, limits)
        return
    contents = run.contents()
    records = parsed(contents)
    wide = np.empty(len(run), np.bool_)
    wide_rows(np.frombuffer(run.held, np.uint8), run.starts - run.begin, wide)
    for row in np.flatnonzero(wide).tolist():
        records[row] = None
    starts = run.starts.tolist()
    start = 0
    known: dict[bytes, RecordRejectedError] = {}  # of short bad lines, which may come again
    for row in [*odd_rows(records, fields), len(records)]:
        columns = plain_columns(records[start:row], fields) if row > start else {}
        if columns is None:
            for place in range(start, row):
                _collect(run.line(place), collector, bad, fields, limits)
        elif columns:
            collector.extend(columns, starts[start:row])
            collector.advance(starts[row] - starts[start])
        if row < len(records):
            content, offset = contents[row], starts[row]
            rejection = known.get(content) if offset and len(content) < SHORT_LINE else None
            if rejection is None:
                rejection = _collect(run.line(row), collector, bad, fields, limits)
                if rejection is not None and len(content) < SHORT_LINE:
                    known[content] = rejection
            else:
                bad.reject(offset, len(content), content, rejection)
                collector.advance(starts[row + 1] - offset)
        start = row + 1


def _collect(
    line: Line, collector: Collector, bad: BadLines, fields: Fields, limits: Limits
) -> RecordRejectedError | None:
    """Collect one line; returns why it is no document, None for one that is, or that is blank."""
    content = line.content
    collector.advance(line.next - line.offset)
    if line.length > limits.record_bytes:
        detail = f"{line.length} bytes, the limit is {limits.record_bytes}"
        rejection = RecordRejectedError(LINE_TOO_LONG, detail)
        bad.reject(line.offset, line.length, content, rejection)
        return rejection
    if line.offset == 0 and content.startswith(_BYTE_ORDER_MARK):
        content = content[len(_BYTE_ORDER_MARK) :]
    if not content or content.isspace():
        collector.blank()
        return None
    try:
        row = row_of(parse_record(content), fields)
    except RecordRejectedError as rejection:
        bad.reject(line.offset, line.length, line.content, rejection)
        return rejection
    collector.add(row, line.offset)
    return None
