"""The chunk plan: spans of even size, a pure function of the files, never of the number of
workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.readers.discover import InputFile
from pipelines.readers.span import Span
from pipelines.readers.streams import compression_of, open_input

COMPRESSION_RATIO = 4  # uncompressed bytes counted per stored byte of a compressed file


def plan_chunks(files: Iterable[InputFile], chunk_bytes: int) -> list[tuple[Span, ...]]:
    """Chunks of about ``chunk_bytes`` uncompressed bytes, each a tuple of spans, in the order of
    the files.

    Plain JSON Lines are cut at multiples of ``chunk_bytes``, Parquet between row groups; compressed
    files, archives and pages stay whole. Small pieces are grouped in order.

    Raises: UserError when a Parquet file cannot be opened, ValueError when ``chunk_bytes`` is not
    positive.
    """
    if chunk_bytes <= 0:
        raise ValueError("chunk_bytes must be positive")
    chunks: list[tuple[Span, ...]] = []
    group: list[Span] = []
    weight = 0
    for file in files:
        for span, span_bytes in _pieces(file, chunk_bytes):
            if group and weight + span_bytes > chunk_bytes:
                chunks.append(tuple(group))
                group, weight = [], 0
            group.append(span)
            weight += span_bytes
    if group:
        chunks.append(tuple(group))
    return chunks


def _pieces(file: InputFile, chunk_bytes: int) -> Iterator[tuple[Span, int]]:
    """Spans of a file with the uncompressed bytes each is counted for."""
    if file.format == "parquet":
        yield from _row_groups(file, chunk_bytes)
    elif compression_of(file.path) is not None:
        yield Span(file.url, file.path), COMPRESSION_RATIO * file.bytes
    elif file.format == "jsonl" and file.bytes > chunk_bytes:
        starts = range(0, file.bytes, chunk_bytes)
        for start in starts:
            last = start == starts[-1]
            yield (
                Span(file.url, file.path, start, None if last else start + chunk_bytes),
                min(chunk_bytes, file.bytes - start),
            )
    else:
        yield Span(file.url, file.path), file.bytes


def _row_groups(file: InputFile, chunk_bytes: int) -> Iterator[tuple[Span, int]]:
    sizes = _row_group_bytes(file)
    if sum(sizes) <= chunk_bytes:
        yield Span(file.url, file.path), sum(sizes) or COMPRESSION_RATIO * file.bytes
        return
    start, weight = 0, 0
    for group, size in enumerate(sizes):
        if group > start and weight + size > chunk_bytes:
            yield Span(file.url, file.path, start, group), weight
            start, weight = group, 0
        weight += size
    yield Span(file.url, file.path, start, None), weight


def _row_group_bytes(file: InputFile) -> list[int]:
    """Uncompressed bytes of each row group; none for a file that is no Parquet, which the reader
    will quarantine.
    """
    with open_input(file.url) as handle:
        try:
            footer = pq.read_metadata(handle)
        except (pa.ArrowInvalid, OSError):
            return []
    return [footer.row_group(group).total_byte_size for group in range(footer.num_row_groups)]
