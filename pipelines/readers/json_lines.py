"""JSON Lines read: plain, cut into spans by bytes, or compressed (gzip, zstd, bzip2, xz), whole.

A span [start, end) of a plain file owns the lines that START in it. Offsets are byte offsets in the
uncompressed stream, so they are the same for a file and its compressed copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from pipelines.readers.batch import Batch, Collector
from pipelines.readers.decoding import blocks, plain_blocks
from pipelines.readers.json_columns import read_columns
from pipelines.readers.json_records import DECLINED
from pipelines.readers.lines import BrokenOff, Line, LineRun, first_line_start, split_lines
from pipelines.readers.plain import Columns, odd_rows, parsed, plain_columns
from pipelines.readers.records import LINE_TOO_LONG, RecordRejectedError, parse_record, row_of
from pipelines.readers.span import Fields, Limits, Span
from pipelines.readers.streams import compression_of, open_input

LINES_AT_ONCE = 1 << 18  # bounds the arrays of very short lines
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_json_lines(
    span: Span, source_name: str, fields: Fields, limits: Limits
) -> Iterator[Batch]:
    """Batches of one span of a JSON Lines file.

    Every line that is no document is quarantined with its offset and reason: invalid_json,
    invalid_utf8, not_an_object, no_text, bad_id, bad_messages, content_not_text, lone_surrogate,
    line_too_long; where a compressed file is damaged, the line that it breaks off: truncated_stream
    or corrupt_stream.

    Raises: UserError when the file cannot be opened, ValueError for a partial span of a compressed
    file.
    """
    collector = Collector(span, source_name, fields, limits)
    for found in _owned_lines(span, limits):
        if isinstance(found, BrokenOff):
            line = found.line
            collector.damaged(found.damage, line.offset, line.length, line.content)
            collector.advance(line.length)
        elif isinstance(found, Line):
            _collect(found, collector, fields, limits)
        else:
            while len(found):
                # the last of these fills the batch
                fill = int(np.searchsorted(found.starts, found.starts[0] + collector.room))
                lines = min(fill, LINES_AT_ONCE)
                _collect_run(found.part(0, lines), collector, fields, limits)
                if collector.full:
                    yield collector.take()
                found = found.part(lines, len(found))
        if collector.full:
            yield collector.take()
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
        for found in split_lines(blocks(file, compression, limits), start, limits):
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


def _collect_run(run: LineRun, collector: Collector, fields: Fields, limits: Limits) -> None:
    """Columns of all lines at once; stretches that are not usual record by record."""
    read = read_columns(run.held, run.starts - run.begin, fields)
    if read is None:
        _collect_records(run, collector, fields, limits)
        return
    columns, outcome = read
    usual = outcome != DECLINED
    changes = np.flatnonzero(np.diff(usual)) + 1
    # usual and unusual lines take turns: stretches would be of a few lines
    if len(changes) > len(run) // 16:
        _collect_records(run, collector, fields, limits)
        return
    for start, end in pairwise([0, *changes.tolist(), len(run)]):
        if not usual[start]:
            _collect_records(run.part(start, end), collector, fields, limits)
            continue
        part: Columns = {name: column.slice(start, end - start) for name, column in columns.items()}
        collector.extend(part, run.starts[start:end].tolist())
        collector.advance(int(run.starts[end] - run.starts[start]))


def _collect_records(run: LineRun, collector: Collector, fields: Fields, limits: Limits) -> None:
    if fields.messages_field is not None:  # each is odd, and would be parsed twice
        for place in range(len(run)):
            _collect(run.line(place), collector, fields, limits)
        return
    records = parsed(run.contents())
    starts = run.starts.tolist()
    start = 0
    for row in [*odd_rows(records, fields), len(records)]:
        columns = plain_columns(records[start:row], fields) if row > start else {}
        if columns is None:
            for place in range(start, row):
                _collect(run.line(place), collector, fields, limits)
        elif columns:
            collector.extend(columns, starts[start:row])
            collector.advance(starts[row] - starts[start])
        if row < len(records):
            _collect(run.line(row), collector, fields, limits)
        start = row + 1


def _collect(line: Line, collector: Collector, fields: Fields, limits: Limits) -> None:
    content = line.content
    collector.advance(line.next - line.offset)
    if line.length > limits.record_bytes:
        detail = f"{line.length} bytes, the limit is {limits.record_bytes}"
        collector.reject(
            line.offset, line.length, content, RecordRejectedError(LINE_TOO_LONG, detail)
        )
        return
    if line.offset == 0 and content.startswith(_BYTE_ORDER_MARK):
        content = content[len(_BYTE_ORDER_MARK) :]
    if not content or content.isspace():
        collector.blank()
        return
    try:
        row = row_of(parse_record(content), fields)
    except RecordRejectedError as rejection:
        collector.reject(line.offset, line.length, line.content, rejection)
    else:
        collector.add(row, line.offset)
