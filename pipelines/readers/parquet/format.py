"""The format ``parquet``: files are cut between row groups."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.readers.base import COMPRESSION_RATIO, Format, InputFile
from pipelines.readers.parquet.columns import check_columns
from pipelines.readers.parquet.groups import row_groups
from pipelines.readers.parquet.reading import read_parquet
from pipelines.readers.span import Span
from pipelines.readers.streams.opened import open_input


def _pieces(file: InputFile, chunk_bytes: int) -> Iterator[tuple[Span, int]]:
    """Files are cut between row groups."""
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
    return [group.bytes for group in row_groups(footer)]


PARQUET = Format(
    name="parquet",
    suffixes=(".parquet", ".pq"),
    compressed=False,
    pieces=_pieces,
    check_fields=check_columns,
    read=read_parquet,
    libraries=("pyarrow", "orjson", "xxhash"),
)
