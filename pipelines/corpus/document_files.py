"""Files of documents as a run keeps them: Parquet, with the texts compressed or as they are.

Compressed with zstd they take least room. ``lz4`` and ``none`` are for a run whose documents are
read again at once and then not for long, such as deduplication alone: compressing texts with zstd
costs as much time as finding their near-duplicates.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.publish import Publication
from artifacts.tables import TableWriter, open_parquet

Compression = Literal["zstd", "lz4", "none"]

# of a run, per byte of stored input, on zstd-compressed corpora
DISK_PER_INPUT_BYTE = {"zstd": 1.2, "lz4": 2.5, "none": 5.0}
# columns whose values come again and again
_REPEATED = ("source", "lang", "license", "date", "path")


@contextlib.contextmanager
def open_documents(
    unit: Publication, schema: pa.Schema, compression: Compression
) -> Iterator[TableWriter]:
    """Write a unit's ``documents.parquet``, a row group per call."""
    name = "documents.parquet"
    if compression == "zstd":
        with open_parquet(unit, name, schema) as documents:
            yield documents
        return
    options = {"use_dictionary": list(_REPEATED), "write_statistics": list(_REPEATED)}
    with (
        unit.file(name) as out,
        pq.ParquetWriter(
            pa.PythonFile(out.raw, mode="w"), schema, compression=compression, **options
        ) as writer,
    ):
        yield TableWriter(out, writer, schema)
