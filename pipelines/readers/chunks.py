"""The chunk plan: spans of even size, a pure function of the files, never of the number of
workers.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.readers.base import InputFile
from pipelines.readers.formats import FORMATS
from pipelines.readers.span import Span


def plan_chunks(files: Iterable[InputFile], chunk_bytes: int) -> list[tuple[Span, ...]]:
    """Chunks of about ``chunk_bytes`` uncompressed bytes, each a tuple of spans, in the order of
    the files.

    Each file is cut as its format allows: plain JSON Lines at multiples of ``chunk_bytes``, Parquet
    between row groups; compressed files, archives and pages stay whole. Small pieces are grouped in
    order.

    Raises: UserError when a Parquet file cannot be opened, ValueError when ``chunk_bytes`` is not
    positive.
    """
    if chunk_bytes <= 0:
        raise ValueError("chunk_bytes must be positive")
    chunks: list[tuple[Span, ...]] = []
    group: list[Span] = []
    weight = 0
    for file in files:
        for span, span_bytes in FORMATS[file.format].pieces(file, chunk_bytes):
            if group and weight + span_bytes > chunk_bytes:
                chunks.append(tuple(group))
                group, weight = [], 0
            group.append(span)
            weight += span_bytes
    if group:
        chunks.append(tuple(group))
    return chunks
